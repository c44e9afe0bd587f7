//! Finds a deployment and builds the clients that reach it.

mod cloudformation;
mod devstack;
mod stack;

use anyhow::bail;

pub(crate) use self::stack::{Deployment, Queue};
use crate::arguments::Target;

/// Finds the deployment that the arguments name.
///
/// # Errors
/// When the deployment does not exist or cannot be reached.
pub(crate) async fn find(target: &Target) -> anyhow::Result<Deployment> {
    match (&target.dev, &target.stack) {
        (Some(url), _) => devstack::find(url, target).await,
        (None, Some(name)) => cloudformation::find(name, target).await,
        (None, None) => bail!("no stack was named"),
    }
}
