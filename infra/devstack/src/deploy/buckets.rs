//! Creates buckets.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::PublicAccessBlockConfiguration;

use super::error::DeployError;
use crate::names;
use crate::template::{Bucket, Physical};

pub(super) async fn create(
    client: &Client,
    name: &str,
    bucket: &Bucket,
) -> Result<Physical, DeployError> {
    let created = client.create_bucket().bucket(name).send().await;
    created.map_err(|error| DeployError::engine(name, &error))?;
    if let Some(block) = bucket.public_access_block_configuration {
        let block = PublicAccessBlockConfiguration::builder()
            .block_public_acls(block.block_public_acls)
            .block_public_policy(block.block_public_policy)
            .ignore_public_acls(block.ignore_public_acls)
            .restrict_public_buckets(block.restrict_public_buckets)
            .build();
        let put = client.put_public_access_block().bucket(name);
        let put = put.public_access_block_configuration(block).send().await;
        put.map_err(|error| DeployError::engine(name, &error))?;
    }
    let domain = format!("{name}.s3.{}.amazonaws.com", names::REGION);
    Ok(Physical::new(name, format!("arn:aws:s3:::{name}")).with("RegionalDomainName", domain))
}
