//! The whole system on one machine.
//!
//! [`Stack::start`] reads `template.yaml`, creates its resources in embedded engines, serves the functions behind an
//! HTTP API and polls their queues as Lambda does. A Zoom simulator and a demo app run beside them. The functions are
//! the deployed ones, and their events have the format of AWS. A process can run several stacks.
//!
//! ```no_run
//! # async fn example() -> Result<(), reelay_devstack::StartError> {
//! use reelay_devstack::{Options, Stack};
//!
//! let stack = Stack::start(Options { poll: false, ..Options::default() }).await?;
//! // Send requests to `stack.url()`, then process the queues:
//! let drained = stack.drain().await;
//! assert_eq!(drained.failed, 0);
//! stack.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod browser;
mod clock;
mod config;
mod deploy;
mod functions;
mod http_api;
mod names;
pub mod openapi;
mod poller;
mod schedules;
mod stack;
pub mod template;

pub use browser::{Browser, BrowserError, Page};
pub use config::{Credentials, DevConfig, Endpoints, Queues, Secrets, StackConfig, Tables};
pub use deploy::DeployError;
pub use poller::Drained;
pub use stack::{FunctionChange, Options, Stack, StartError, ZoomChoice};
