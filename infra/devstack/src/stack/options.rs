//! Options of a stack.

use std::time::Duration;

use jiff::SignedDuration;
use reelay_runtime::environment::Clock;
use url::Url;

/// Options of a stack.
#[derive(Debug, Clone)]
pub struct Options {
    /// Port of the HTTP API; 0 selects a free port.
    pub port: u16,
    /// Template parameters. They override the devstack's own values.
    pub parameters: Vec<(String, String)>,
    /// The Zoom that the stack uses.
    pub zoom: ZoomChoice,
    /// Whether the demo app runs. Without it, `parameters` must contain `ReturnUrls`.
    pub demo_app: bool,
    /// Clock of the functions, the engines, the simulator and the demo app.
    pub clock: Clock,
    /// Whether queues and schedules run continuously. Otherwise call `Stack::drain` and `Stack::fire_schedules`.
    pub poll: bool,
    /// Interval of the schedules that are more frequent in the template. EventBridge may deliver late.
    pub min_schedule_interval: SignedDuration,
    /// Changes to functions, for tests.
    pub functions: Vec<FunctionChange>,
}

/// A change to a function's declaration in the template.
#[derive(Debug, Clone, Default)]
pub struct FunctionChange {
    /// Name of the function's binary.
    pub binary: String,
    /// Timeout.
    pub timeout: Option<Duration>,
    /// Additional environment variables. They override the template's.
    pub variables: Vec<(String, String)>,
    /// Maximum number of concurrent calls per queue.
    pub maximum_concurrency: Option<u32>,
}

/// The Zoom that a stack uses.
#[derive(Debug, Clone)]
pub enum ZoomChoice {
    /// A simulator in this process. The stack sets its webhook and redirect URLs.
    Simulator(Box<reelay_zoom_sim::Config>),
    /// Another Zoom at this base URL, with `oauth/authorize`, `oauth/token` and `v2/users/me` below it.
    External(Url),
}

impl Default for ZoomChoice {
    fn default() -> Self {
        Self::Simulator(Box::default())
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            parameters: Vec::new(),
            zoom: ZoomChoice::default(),
            demo_app: true,
            clock: Clock::default(),
            poll: true,
            min_schedule_interval: SignedDuration::ZERO,
            functions: Vec::new(),
        }
    }
}
