//! The whole system on one machine.
//!
//! [`Stack::start`] reads `template.yaml`, makes the resources that it declares in embedded engines,
//! puts the functions behind an API Gateway look-alike and polls their queues as Lambda does, beside a
//! Zoom simulator and a demo app. The functions are the very ones that are deployed; what they are
//! called with has the shape that AWS gives it. Nothing here is global, so that tests run as many stacks
//! in one process as they like.
//!
//! ```no_run
//! # async fn example() -> Result<(), reelay_devstack::StartError> {
//! use reelay_devstack::{Options, Stack};
//!
//! let stack = Stack::start(Options { poll: false, ..Options::default() }).await?;
//! // … send requests to `stack.url()`, then let the queues be worked off:
//! let drained = stack.drain().await;
//! assert_eq!(drained.failed, 0);
//! stack.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod browser;
mod config;
mod deploy;
mod functions;
mod http_api;
mod names;
mod poller;
mod schedules;
mod stack;
pub mod template;

pub use browser::{Browser, BrowserError, Page};
pub use config::{Credentials, DevConfig, Endpoints, Queues, Secrets, StackConfig, Tables};
pub use deploy::DeployError;
pub use poller::Drained;
pub use stack::{FunctionChange, Options, Stack, StartError, ZoomChoice};
