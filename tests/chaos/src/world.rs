//! A whole stack, whose functions the simulation invokes instead of Lambda.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::SignedDuration;
use parking_lot::Mutex;
use reelay_devstack::{Options, Stack};
use reelay_embedded_aws::LaggingReads;
use reelay_store::links::LinkTable;
use reelay_store::sessions::SessionTable;
use reelay_store::vault::Vault;
use reelay_zoom_sim::Control;

use crate::aws::{AwsCondition, FaultInjector, RejectedCalls};
use crate::instances::Instances;
use crate::interleave::{Completion, Op, interleave};
use crate::journal::Journal;
use crate::rng::SeededRng;

/// Time after which all leases of a killed operation have expired.
pub(crate) const LEASE_EXPIRY: SignedDuration = SignedDuration::from_secs(31);

/// Time after which all access tokens have expired.
pub(crate) const ACCESS_TOKEN_EXPIRY: SignedDuration = SignedDuration::from_secs(3_700);

/// Upper bound of the calls after which an index receives a write.
const MAX_INDEX_LAG: usize = 60;

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
        let zoom = stack.simulator().context("the stack has no simulator")?.control().clone();
        hooks.decide_with(move |service, operation| {
            injector.lock().next_fault(service, operation, &zoom)
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

    /// Sets the conditions under which scenarios run.
    pub fn set_conditions(&self, conditions: &[AwsCondition]) {
        self.faults.lock().conditions = conditions.to_vec();
    }

    /// Starts the index lag of a case, if indexes lag.
    pub(crate) fn start_index_lag(&self, rng: &mut SeededRng) -> anyhow::Result<()> {
        if self.faults.lock().conditions.contains(&AwsCondition::IndexLag) {
            let max_calls = rng.below(MAX_INDEX_LAG) as u64;
            self.stack.engines().read_lag().start(LaggingReads::Indexes, rng.seed(), max_calls)?;
        }
        Ok(())
    }

    /// Rejects calls after a refresh, in the next run.
    pub(crate) fn reject_after_refresh(&self, calls: RejectedCalls) {
        self.faults.lock().rejected_calls = Some(calls);
    }

    /// Injects faults into AWS calls until [`World::stop_aws_faults`].
    pub(crate) fn start_aws_faults(&self, rng: SeededRng) {
        self.faults.lock().faults = Some(rng);
    }

    /// Stops injecting faults; returns the number of faulted calls.
    pub(crate) fn stop_aws_faults(&self) -> usize {
        let mut faults = self.faults.lock();
        faults.faults = None;
        std::mem::take(&mut faults.faulted_calls)
    }

    /// Interleaves operations; leases of killed ones expire when all only wait. Under the conditions, writes conflict and
    /// calls hang. Also returns the number of such calls.
    pub(crate) async fn run<T>(
        &self,
        ops: Vec<Op<'_, T>>,
        rng: &mut SeededRng,
        has_killed: bool,
    ) -> (Completion<T>, usize) {
        self.faults.lock().disturbance = Some(rng.fork());
        let writes = || self.journal.writes();
        let advance_time = || self.advance(LEASE_EXPIRY);
        let completion = interleave(ops, rng.fork(), has_killed, writes, advance_time).await;
        let mut faults = self.faults.lock();
        (faults.disturbance, faults.rejected_calls) = (None, None);
        (completion, std::mem::take(&mut faults.disturbed_calls))
    }
}
