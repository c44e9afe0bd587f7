//! A whole system, whose functions are called by the simulation instead of by Lambda.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use app_api::AppApi;
use aws::environment::Environment;
use aws::links::LinkTable;
use aws::sessions::SessionTable;
use aws::vault::Vault;
use aws_config::retry::RetryConfig;
use devstack::{Options, Stack};
use embedded_aws::{Fault, Service};
use event_processor::EventProcessor;
use grants::Grants;
use jiff::SignedDuration;
use oauth_callback::OauthCallback;
use oauth_start::OauthStart;
use reconciler::Reconciler;
use zoom_sim::Control;

use crate::dice::Dice;
use crate::interleave::{Op, Ran, interleave};
use crate::journal::Journal;

/// A lease, and whatever else somebody dead may hold, is over after this.
pub const LEASES_END: SignedDuration = SignedDuration::from_secs(31);

/// Longer than an access token lives.
pub const ACCESS_TOKENS_END: SignedDuration = SignedDuration::from_secs(3_700);

/// How many of a hundred AWS calls are spoiled while calls are being spoiled.
const SPOILED_PERCENT: usize = 6;

/// One stack with its journal, for one seed after the other.
#[derive(Debug)]
pub struct World {
    stack: Stack,
    /// What was carried out.
    pub journal: Arc<Journal>,
    spoiling: Arc<Spoiling>,
    /// Of no cookie and no redirect.
    pub http: reqwest::Client,
    /// The Links table, to look into.
    pub links: LinkTable,
    /// The Sessions table, to look into.
    pub sessions: SessionTable,
    /// The vault, to look into.
    pub vault: Vault,
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
            Fault::connection_cut()
        };
        Some(if dice.percent(50) { fault.after_effect() } else { fault })
    }
}

impl World {
    /// Starts a stack. Nothing polls its queues: what SQS has taken is delivered by whoever runs the
    /// simulation, when and as often as they like.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start() -> anyhow::Result<Self> {
        let stack = Stack::start(Options {
            poll: false,
            demo_app: false,
            parameters: vec![("ReturnUrls".to_owned(), "http://localhost/return".to_owned())],
            ..Options::default()
        })
        .await?;
        let queues = stack.config().queues.clone();
        let journal = Arc::new(Journal::new(queues, stack.clock().clone()));
        let spoiling = Arc::new(Spoiling::default());
        let faults = stack.engines().faults();
        let noted = Arc::clone(&journal);
        faults.watch_with(move |done| noted.note(done));
        let decides = Arc::clone(&spoiling);
        faults.decide_with(move |service, _| {
            // The simulation itself never calls SQS, and S3 has no part in this.
            (service != Service::S3).then(|| decides.decide()).flatten()
        });
        let around = environment(&stack, "reconciler")?;
        Ok(Self {
            links: LinkTable::new(&around)?,
            sessions: SessionTable::new(&around)?,
            vault: Vault::new(&around)?,
            http: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .build()?,
            stack,
            journal,
            spoiling,
        })
    }

    /// The stack.
    pub fn stack(&self) -> &Stack {
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
    pub fn zoom(&self) -> anyhow::Result<&Control> {
        Ok(self.stack.simulator().context("no simulator")?.control())
    }

    /// Lets time pass, for all.
    pub fn advance(&self, by: SignedDuration) {
        self.stack.advance(by);
    }

    /// Spoils AWS calls until told otherwise.
    pub fn spoil(&self, dice: Dice) {
        let mut held = self.spoiling.dice.lock().unwrap_or_else(|held| held.into_inner());
        *held = Some(dice);
        self.spoiling.on.store(true, Ordering::SeqCst);
    }

    /// Spoils no more, and tells how many calls were.
    pub fn spare(&self) -> usize {
        self.spoiling.on.store(false, Ordering::SeqCst);
        self.spoiling.count.swap(0, Ordering::SeqCst)
    }

    /// Runs operations in an order of the dice's choice. Time passes when all wait in vain.
    pub async fn run<T>(&self, ops: Vec<Op<'_, T>>, dice: &mut Dice) -> Ran<T> {
        let written = || self.journal.written();
        interleave(ops, dice.split(), written, || self.advance(LEASES_END)).await
    }

    /// A new instance of `oauth-start`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn oauth_start(&self) -> anyhow::Result<OauthStart> {
        Ok(OauthStart::new(&environment(&self.stack, "oauth-start")?)?)
    }

    /// A new instance of `oauth-callback`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn oauth_callback(&self) -> anyhow::Result<OauthCallback> {
        Ok(OauthCallback::new(&environment(&self.stack, "oauth-callback")?)?)
    }

    /// A new instance of `app-api`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn app_api(&self) -> anyhow::Result<AppApi> {
        Ok(AppApi::new(&environment(&self.stack, "app-api")?)?)
    }

    /// A new instance of `reconciler`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn reconciler(&self) -> anyhow::Result<Reconciler> {
        Ok(Reconciler::new(&environment(&self.stack, "reconciler")?)?)
    }

    /// A new instance of `event-processor`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn event_processor(&self) -> anyhow::Result<EventProcessor> {
        Ok(EventProcessor::new(&environment(&self.stack, "event-processor")?)?)
    }

    /// A new instance of what all functions get their tokens from.
    ///
    /// # Errors
    /// If it does not start.
    pub fn grants(&self) -> anyhow::Result<Grants> {
        Ok(Grants::new(&environment(&self.stack, "reconciler")?)?)
    }
}

/// A function's environment; the SDK repeats cut calls as ever, and does not pause before.
fn environment(stack: &Stack, binary: &str) -> anyhow::Result<Environment> {
    let around = stack
        .function_environment(binary)
        .ok_or_else(|| anyhow!("the stack has no function {binary}"))?;
    let retries = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
    let sdk = around.sdk.to_builder().retry_config(retries).build();
    Ok(Environment {
        sdk,
        ..around.clone()
    })
}
