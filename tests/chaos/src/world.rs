//! A whole system, whose functions are called by the simulation instead of by Lambda.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use jiff::SignedDuration;
use reelay_devstack::{Options, Stack};
use reelay_embedded_aws::{Fault, Service};
use reelay_store::links::LinkTable;
use reelay_store::sessions::SessionTable;
use reelay_store::vault::Vault;
use reelay_zoom_sim::Control;

use crate::dice::Dice;
use crate::instances::Instances;
use crate::interleave::{Op, Ran, interleave};
use crate::journal::Journal;

/// A lease, and whatever else somebody dead may hold, is over after this.
pub(crate) const LEASES_END: SignedDuration = SignedDuration::from_secs(31);

/// Longer than an access token lives.
pub(crate) const ACCESS_TOKENS_END: SignedDuration = SignedDuration::from_secs(3_700);

/// How many of a hundred AWS calls are spoiled while calls are being spoiled.
const SPOILED_PERCENT: usize = 6;

/// One stack with its journal, for one seed after the other.
#[derive(Debug)]
pub struct World {
    stack: Stack,
    /// What was carried out.
    pub(crate) journal: Arc<Journal>,
    spoiling: Arc<Spoiling>,
    /// Of no cookie and no redirect.
    pub(crate) http: reqwest::Client,
    /// The Links table, to look into.
    pub(crate) links: LinkTable,
    /// The Sessions table, to look into.
    pub(crate) sessions: SessionTable,
    /// The vault, to look into.
    pub(crate) vault: Vault,
    /// Instances that live as long as the stack.
    pub(crate) warm: Instances,
    /// This command, to be run as a function.
    pub(crate) executable: PathBuf,
}

/// Whether AWS calls are being spoiled, and which.
#[derive(Debug, Default)]
struct Spoiling {
    on: AtomicBool,
    dice: Mutex<Option<Dice>>,
    count: std::sync::atomic::AtomicUsize,
}

impl Spoiling {
    /// What becomes of a call: as it should be, refused, done and said to be refused, cut, done and cut.
    fn decide(&self) -> Option<Fault> {
        if !self.on.load(Ordering::SeqCst) {
            return None;
        }
        let mut dice = self.dice.lock().unwrap_or_else(|held| held.into_inner());
        let dice = dice.as_mut()?;
        if !dice.percent(SPOILED_PERCENT) {
            return None;
        }
        self.count.fetch_add(1, Ordering::SeqCst);
        let fault = if dice.percent(50) {
            Fault::error(400, "AccessDeniedException")
        } else {
            Fault::connection_closed()
        };
        Some(if dice.percent(50) {
            fault.after_effect()
        } else {
            fault
        })
    }
}

impl World {
    /// Starts a stack, from the command itself.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(std::env::current_exe()?).await
    }

    /// Starts a stack; `executable` is the command, which is run as a function where one is to be a process
    /// of its own. Nothing polls its queues: what SQS has taken is delivered by whoever runs the
    /// simulation, when and as often as they like.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_with(executable: PathBuf) -> anyhow::Result<Self> {
        let stack = Stack::start(Options {
            poll: false,
            demo_app: false,
            parameters: vec![(
                "ReturnUrls".to_owned(),
                "http://localhost/return".to_owned(),
            )],
            ..Options::default()
        })
        .await?;
        let queues = stack.config().queues.clone();
        let journal = Arc::new(Journal::new(queues, stack.clock().clone()));
        let spoiling = Arc::new(Spoiling::default());
        let faults = stack.engines().faults();
        let noted = Arc::clone(&journal);
        faults.observe_with(move |done| noted.note(done));
        let decides = Arc::clone(&spoiling);
        faults.decide_with(move |service, _| {
            // The simulation itself never calls SQS, and S3 has no part in this.
            (service != Service::S3).then(|| decides.decide()).flatten()
        });
        let warm = Instances::of(&stack)?;
        let around = warm.environment("reconciler")?;
        Ok(Self {
            links: LinkTable::new(around)?,
            sessions: SessionTable::new(around)?,
            vault: Vault::new(around)?,
            http: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .build()?,
            warm,
            executable,
            stack,
            journal,
            spoiling,
        })
    }

    /// The stack.
    pub(crate) fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Stops it.
    pub async fn shutdown(self) {
        self.stack.shutdown().await;
    }

    /// Zoom.
    ///
    /// # Errors
    /// If the stack has none of its own.
    pub(crate) fn zoom(&self) -> anyhow::Result<&Control> {
        Ok(self.stack.simulator().context("no simulator")?.control())
    }

    /// New instances, for whoever is to die.
    pub(crate) fn fresh(&self) -> Instances {
        self.warm.anew()
    }

    /// Lets time pass, for all.
    pub(crate) fn advance(&self, by: SignedDuration) {
        self.stack.advance(by);
    }

    /// Spoils AWS calls until told otherwise.
    pub(crate) fn spoil(&self, dice: Dice) {
        let mut held = self
            .spoiling
            .dice
            .lock()
            .unwrap_or_else(|held| held.into_inner());
        *held = Some(dice);
        self.spoiling.on.store(true, Ordering::SeqCst);
    }

    /// Spoils no more, and tells how many calls were.
    pub(crate) fn spare(&self) -> usize {
        self.spoiling.on.store(false, Ordering::SeqCst);
        self.spoiling.count.swap(0, Ordering::SeqCst)
    }

    /// Runs operations in an order of the dice's choice. Time passes when all wait in vain.
    pub(crate) async fn run<T>(&self, ops: Vec<Op<'_, T>>, dice: &mut Dice) -> Ran<T> {
        let written = || self.journal.written();
        interleave(ops, dice.split(), written, || self.advance(LEASES_END)).await
    }
}
