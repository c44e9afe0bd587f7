//! A whole stack, whose functions the simulation invokes instead of Lambda.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::SignedDuration;
use parking_lot::Mutex;
use reelay_devstack::{Options, Stack};
use reelay_embedded_aws::{Fault, Service};
use reelay_store::links::LinkTable;
use reelay_store::sessions::SessionTable;
use reelay_store::vault::Vault;
use reelay_zoom_sim::Control;

use crate::instances::Instances;
use crate::interleave::{Completion, Op, interleave};
use crate::journal::Journal;
use crate::rng::SeededRng;

/// Time after which all leases of a killed operation have expired.
pub(crate) const LEASE_EXPIRY: SignedDuration = SignedDuration::from_secs(31);

/// Time after which all access tokens have expired.
pub(crate) const ACCESS_TOKEN_EXPIRY: SignedDuration = SignedDuration::from_secs(3_700);

/// Share of AWS calls that receive a fault while faults are injected.
const FAULT_PERCENT: usize = 6;

/// One stack with its journal; it runs one seed at a time.
#[derive(Debug)]
pub struct World {
    stack: Stack,
    pub(crate) journal: Arc<Journal>,
    faults: Arc<Mutex<FaultInjector>>,
    /// HTTP client without cookies and redirects.
    pub(crate) http: reqwest::Client,
    pub(crate) links: LinkTable,
    pub(crate) sessions: SessionTable,
    pub(crate) vault: Vault,
    /// Instances that live as long as the stack.
    pub(crate) warm: Instances,
    /// The `chaos` binary, started as a function's process.
    pub(crate) executable: PathBuf,
}

/// Selects the AWS calls that fail.
#[derive(Debug, Default)]
struct FaultInjector {
    /// Present while faults are injected.
    rng: Option<SeededRng>,
    faulted_calls: usize,
}

impl FaultInjector {
    /// Returns no fault, an error response or a closed connection, each before or after the call's effect.
    fn next_fault(&mut self) -> Option<Fault> {
        let rng = self.rng.as_mut()?;
        if !rng.percent(FAULT_PERCENT) {
            return None;
        }
        self.faulted_calls += 1;
        let fault = if rng.percent(50) {
            Fault::error(400, "AccessDeniedException")
        } else {
            Fault::connection_closed()
        };
        Some(if rng.percent(50) { fault.after_effect() } else { fault })
    }
}

impl World {
    /// Starts a stack from the `chaos` binary itself.
    ///
    /// # Errors
    /// If the stack fails to start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(std::env::current_exe()?).await
    }

    /// Starts a stack that does not poll its queues. `executable` is the path of the `chaos` binary.
    ///
    /// # Errors
    /// If the stack fails to start.
    pub async fn start_with(executable: PathBuf) -> anyhow::Result<Self> {
        let return_url = "http://localhost/return".to_owned();
        let stack = Stack::start(Options {
            poll: false,
            demo_app: false,
            parameters: vec![("ReturnUrls".to_owned(), return_url)],
            ..Options::default()
        })
        .await?;
        let queues = stack.config().queues.clone();
        let journal = Arc::new(Journal::new(queues, stack.clock().clone()));
        let faults = Arc::<Mutex<FaultInjector>>::default();
        let hooks = stack.engines().faults();
        let recorder = Arc::clone(&journal);
        hooks.observe_with(move |call| recorder.record(call));
        let injector = Arc::clone(&faults);
        hooks.decide_with(move |service, _| {
            // The number of S3 calls depends on timing, so faults in them are not reproducible.
            (service != Service::S3).then(|| injector.lock().next_fault()).flatten()
        });
        let warm = Instances::new(&stack)?;
        let environment = warm.environment("reconciler")?;
        Ok(Self {
            links: LinkTable::new(environment)?,
            sessions: SessionTable::new(environment)?,
            vault: Vault::new(environment)?,
            http: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .build()?,
            warm,
            executable,
            stack,
            journal,
            faults,
        })
    }

    pub(crate) fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Stops the stack.
    pub async fn shutdown(self) {
        self.stack.shutdown().await;
    }

    /// The Zoom simulator.
    pub(crate) fn zoom(&self) -> anyhow::Result<&Control> {
        let simulator = self.stack.simulator();
        Ok(simulator.context("the stack has no simulator")?.control())
    }

    /// Advances the clock of the stack, its functions and Zoom.
    pub(crate) fn advance(&self, by: SignedDuration) {
        self.stack.advance(by);
    }

    /// Injects faults into AWS calls until [`World::stop_aws_faults`].
    pub(crate) fn start_aws_faults(&self, rng: SeededRng) {
        self.faults.lock().rng = Some(rng);
    }

    /// Stops injecting faults; returns the number of faulted calls.
    pub(crate) fn stop_aws_faults(&self) -> usize {
        let mut faults = self.faults.lock();
        faults.rng = None;
        std::mem::take(&mut faults.faulted_calls)
    }

    /// Interleaves operations; leases expire when all of them only wait.
    pub(crate) async fn run<T>(&self, ops: Vec<Op<'_, T>>, rng: &mut SeededRng) -> Completion<T> {
        let writes = || self.journal.writes();
        interleave(ops, rng.fork(), writes, || self.advance(LEASE_EXPIRY)).await
    }
}
