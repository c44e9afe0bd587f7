//! A running stack.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use reelay_demo_app::DemoApp;
use reelay_embedded_aws::Engines;
use reelay_runtime::environment::{Clock, Environment};
use reelay_zoom_sim::Simulator;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::DevConfig;
use crate::poller::{Drained, Poller, Retries};
use crate::schedules::Schedules;

/// Time that running requests and functions get to finish when the stack stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A running system: engines, functions behind an HTTP API, pollers, a Zoom simulator and a demo app.
///
/// All servers listen on loopback addresses.
pub struct Stack {
    pub(super) url: String,
    pub(super) config: Arc<DevConfig>,
    pub(super) clock: Clock,
    pub(super) environment: Environment,
    pub(super) functions: BTreeMap<String, Environment>,
    pub(super) poller: Arc<Poller>,
    pub(super) schedules: Arc<Schedules>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) tasks: Vec<JoinHandle<()>>,
    pub(super) demo_app: Option<DemoApp>,
    pub(super) simulator: Option<Simulator>,
    pub(super) engines: Engines,
}

impl Stack {
    /// URL of the HTTP API, `http://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The response of `GET /_dev/config`.
    pub fn config(&self) -> &DevConfig {
        &self.config
    }

    /// The template's outputs.
    pub fn outputs(&self) -> &BTreeMap<String, String> {
        &self.config.stack.outputs
    }

    /// Clock of the functions, the engines, the simulator and the demo app.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Advances the clock at once; indexes that lag catch up. Messages keep their delays and visibility timeouts, so
    /// that a test decides when they are delivered. `POST /_dev/clock` also runs the work that becomes due.
    pub fn advance(&self, by: SignedDuration) {
        self.engines.queues().postpone(by);
        self.clock.advance(by);
        self.engines.read_lag().settle();
    }

    /// The embedded engines.
    pub fn engines(&self) -> &Engines {
        &self.engines
    }

    /// The simulator, unless the stack uses an external Zoom.
    pub fn simulator(&self) -> Option<&Simulator> {
        self.simulator.as_ref()
    }

    /// The demo app, if it runs.
    pub fn demo_app(&self) -> Option<&DemoApp> {
        self.demo_app.as_ref()
    }

    /// AWS clients for the engines, such as `stack.sdk().dynamodb()`.
    pub fn sdk(&self) -> &Environment {
        &self.environment
    }

    /// The environment of a function by the name of its binary, for tests that create another instance.
    pub fn function_environment(&self, binary: &str) -> Option<&Environment> {
        self.functions.get(binary)
    }

    /// Processes the queues until no message is visible and no function runs. Failed messages stay hidden.
    pub async fn drain(&self) -> Drained {
        self.poller.drain(Retries::Later).await
    }

    /// Like [`Self::drain`], but delivers failed messages again at once, until they succeed or reach the dead-letter
    /// queue.
    pub async fn drain_without_pauses(&self) -> Drained {
        self.poller.drain(Retries::AtOnce).await
    }

    /// Kills calls of the queues' functions as Lambda does when their process dies. At each call, `decide` gets the
    /// name of the function's binary and returns the number of polls after which the call is killed.
    pub fn kill_calls_with(&self, decide: impl FnMut(&str) -> Option<usize> + Send + 'static) {
        let mut current = self.poller.decide_kill.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Some(Box::new(decide));
    }

    /// Sends the messages of all scheduled rules now.
    ///
    /// # Errors
    /// If SQS rejects a message.
    pub async fn fire_schedules(&self) -> Result<(), String> {
        self.schedules.fire_all().await
    }

    /// Stops all servers and pollers. Running requests and functions get five seconds to finish.
    pub async fn shutdown(self) {
        if let Some(demo_app) = self.demo_app {
            demo_app.shutdown().await;
        }
        if let Some(simulator) = self.simulator {
            simulator.shutdown().await;
        }
        self.stop.send_replace(true);
        let deadline = tokio::time::Instant::now() + SHUTDOWN_TIMEOUT;
        for mut task in self.tasks {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
            }
        }
        self.engines.shutdown().await;
    }
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack").field("url", &self.url).finish_non_exhaustive()
    }
}
