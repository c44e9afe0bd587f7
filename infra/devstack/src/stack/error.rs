//! Errors of starting a stack.

use std::net::SocketAddr;

use reelay_runtime::environment::ConfigError;

use crate::deploy::DeployError;
use crate::template::TemplateError;

/// Failure to start a stack.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process uses the port.
    #[error("port {0} is in use; choose another with --port, or stop the process that uses it")]
    PortInUse(u16),
    /// The address is unavailable for another reason.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The template or a parameter is invalid.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// An engine failed to start.
    #[error("failed to start the embedded engines")]
    Engines(#[from] reelay_embedded_aws::StartError),
    /// A resource could not be created.
    #[error("failed to create a resource of the template")]
    Deploy(#[from] DeployError),
    /// The simulator failed to start.
    #[error("failed to start the Zoom simulator")]
    Simulator(#[from] reelay_zoom_sim::StartError),
    /// The demo app failed to start.
    #[error("failed to start the demo app")]
    DemoApp(#[from] reelay_demo_app::Error),
    /// A function failed to start.
    #[error("failed to start the function {function}")]
    Function {
        /// Name of its binary.
        function: String,
        /// The invalid configuration.
        source: ConfigError,
    },
    /// The template contains something that the devstack does not support.
    #[error("the devstack does not support the template: {0}")]
    Mismatch(String),
}
