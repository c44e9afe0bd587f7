//! The whole system, started and stopped as one.

mod assemble;
mod credentials;
mod options;
mod parameters;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use reelay_demo_app::DemoApp;
use reelay_embedded_aws::Engines;
use reelay_runtime::environment::{Clock, ConfigError, Environment};
use reelay_zoom_sim::Simulator;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::options::{FunctionChange, Options, ZoomChoice};
use crate::config::DevConfig;
use crate::deploy::DeployError;
use crate::poller::{Drained, Poller, Retries};
use crate::schedules::Schedules;
use crate::template::TemplateError;

/// How long requests and functions under way may take when the stack is shut down.
const GRACE: Duration = Duration::from_secs(5);

/// Why a stack does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else listens there.
    #[error("port {0} is in use; choose another one with --port, or stop what uses it")]
    PortInUse(u16),
    /// The address cannot be had for another reason.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The template or the parameters.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// An engine does not start.
    #[error("the embedded engines do not start: {0}")]
    Engines(#[from] reelay_embedded_aws::StartError),
    /// A resource cannot be made.
    #[error("a resource of the template cannot be made: {0}")]
    Deploy(#[from] DeployError),
    /// The simulator does not start.
    #[error("the Zoom simulator does not start: {0}")]
    Simulator(#[from] reelay_zoom_sim::StartError),
    /// The demo app does not start.
    #[error("the demo app does not start: {0}")]
    DemoApp(#[from] reelay_demo_app::Error),
    /// A function's environment does not suffice.
    #[error("the function {function} does not start: {source}")]
    Function {
        /// Its binary.
        function: String,
        /// What is missing.
        source: ConfigError,
    },
    /// The template names a function, queue or resource that is not here.
    #[error("the template does not fit the devstack: {0}")]
    Mismatch(String),
}

/// A running system: engines, functions behind an HTTP API, pollers, a Zoom, a demo app. Loopback only.
pub struct Stack {
    url: String,
    config: Arc<DevConfig>,
    outputs: BTreeMap<String, String>,
    clock: Clock,
    environment: Environment,
    functions: BTreeMap<String, Environment>,
    poller: Arc<Poller>,
    schedules: Arc<Schedules>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    demo_app: Option<DemoApp>,
    simulator: Option<Simulator>,
    engines: Engines,
}

impl Stack {
    /// Starts everything; when this returns, everything serves.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(options: Options) -> Result<Self, StartError> {
        assemble::start(options).await
    }

    /// `http://127.0.0.1:<port>`, where the HTTP API is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What `GET /_dev/config` tells.
    pub fn config(&self) -> &DevConfig {
        &self.config
    }

    /// The template's outputs.
    pub fn outputs(&self) -> &BTreeMap<String, String> {
        &self.outputs
    }

    /// The clock of the functions.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Moves the functions' clock and the simulator's. What the engines time themselves (visibility,
    /// time to live) goes by the machine's clock.
    pub fn advance(&self, by: SignedDuration) {
        self.clock.advance(by);
        if let Some(simulator) = &self.simulator {
            simulator.control().clock().advance(by);
        }
    }

    /// The engines: endpoints, faults, counts of calls.
    pub fn engines(&self) -> &Engines {
        &self.engines
    }

    /// The simulator, unless another Zoom was chosen.
    pub fn simulator(&self) -> Option<&Simulator> {
        self.simulator.as_ref()
    }

    /// The demo app, if there is one.
    pub fn demo_app(&self) -> Option<&DemoApp> {
        self.demo_app.as_ref()
    }

    /// Clients of the engines: `stack.sdk().dynamodb()`, `stack.sdk().s3()` and so on.
    pub fn sdk(&self) -> &Environment {
        &self.environment
    }

    /// The environment of a function, by the name of its binary, for tests that make one more instance.
    pub fn function_environment(&self, binary: &str) -> Option<&Environment> {
        self.functions.get(binary)
    }

    /// Works off the queues until no message can be received and no function is at work. Messages that
    /// wait for being tried again are left waiting.
    pub async fn drain(&self) -> Drained {
        self.poller.drain(Retries::Later).await
    }

    /// As [`Self::drain`], but what is not done is delivered again at once, until it is done or in the
    /// dead-letter queue.
    pub async fn drain_without_pauses(&self) -> Drained {
        self.poller.drain(Retries::AtOnce).await
    }

    /// As [`Self::drain`], but what waits for being tried again is waited for, so long at most.
    pub async fn drain_within(&self, limit: Duration) -> Drained {
        self.poller.drain(Retries::Within(limit)).await
    }

    /// Sends at once what the template's scheduled rules send by the clock.
    ///
    /// # Errors
    /// If a queue does not take it.
    pub async fn fire_schedules(&self) -> Result<(), String> {
        self.schedules.fire_all().await
    }

    /// Stops everything: no new requests and messages, those under way come to their end.
    pub async fn shutdown(self) {
        if let Some(demo_app) = self.demo_app {
            demo_app.shutdown().await;
        }
        if let Some(simulator) = self.simulator {
            simulator.shutdown().await;
        }
        self.stop.send_replace(true);
        let deadline = tokio::time::Instant::now() + GRACE;
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
        f.debug_struct("Stack")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
