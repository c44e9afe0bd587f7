//! What a stack is started with.

use std::time::Duration;

use reelay_runtime::environment::Clock;
use url::Url;

/// What a stack is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The port of the HTTP API; 0 takes a free one.
    pub port: u16,
    /// Parameters of the template, over the defaults that follow from the stack itself.
    pub parameters: Vec<(String, String)>,
    /// Which Zoom.
    pub zoom: ZoomChoice,
    /// Whether the demo app is started. Without it `ReturnUrls` has to be given.
    pub demo_app: bool,
    /// The clock of the functions.
    pub clock: Clock,
    /// Whether queues are polled all the time. Without it they are worked off by `Stack::drain` alone.
    pub poll: bool,
    /// What of single functions is to be other than the template says, for tests that cannot wait.
    pub functions: Vec<FunctionChange>,
}

/// A function that is hosted otherwise than the template says.
#[derive(Debug, Clone, Default)]
pub struct FunctionChange {
    /// The name of its binary.
    pub binary: String,
    /// After so long it is ended.
    pub timeout: Option<Duration>,
    /// Environment variables, over the template's.
    pub variables: Vec<(String, String)>,
    /// Calls of it at the same time that its queue leads to.
    pub maximum_concurrency: Option<u32>,
}

/// Which Zoom.
#[derive(Debug, Clone)]
pub enum ZoomChoice {
    /// A simulator in this process. Its addresses of webhooks and redirects are set by the stack.
    Simulator(Box<reelay_zoom_sim::Config>),
    /// Another one, at this base URL, below which are `oauth/authorize`, `oauth/token` and `v2/users/me`.
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
            functions: Vec::new(),
        }
    }
}
