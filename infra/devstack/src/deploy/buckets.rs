//! Buckets.

use aws_sdk_s3::Client;

use super::{DeployError, is};
use crate::names;
use crate::template::Physical;

pub(super) async fn create(client: &Client, name: &str) -> Result<Physical, DeployError> {
    match client.create_bucket().bucket(name).send().await {
        Ok(_) => {}
        Err(error) if is(&error, "BucketAlreadyOwnedByYou") => {}
        Err(error) => return Err(DeployError::engine(name, &error)),
    }
    let domain = format!("{name}.s3.{}.amazonaws.com", names::REGION);
    Ok(Physical::new(name, format!("arn:aws:s3:::{name}")).with("RegionalDomainName", domain))
}
