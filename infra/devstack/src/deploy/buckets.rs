//! Creates buckets.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::BuildError;
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleAndOperator, LifecycleRuleFilter, PublicAccessBlockConfiguration, Tag,
};

use super::error::DeployError;
use crate::names;
use crate::template::{self, Bucket, Physical};

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
    let expirations = bucket.lifecycle_configuration.rules.iter().filter_map(expiration);
    let expirations = expirations.collect::<Result<Vec<_>, BuildError>>();
    let expirations = expirations.map_err(|error| DeployError::engine(name, &error))?;
    if !expirations.is_empty() {
        let lifecycle = BucketLifecycleConfiguration::builder().set_rules(Some(expirations));
        let lifecycle = lifecycle.build().map_err(|error| DeployError::engine(name, &error))?;
        let put = client.put_bucket_lifecycle_configuration().bucket(name);
        let put = put.lifecycle_configuration(lifecycle).send().await;
        put.map_err(|error| DeployError::engine(name, &error))?;
    }
    let domain = format!("{name}.s3.{}.amazonaws.com", names::REGION);
    Ok(Physical::new(name, format!("arn:aws:s3:::{name}")).with("RegionalDomainName", domain))
}

/// `None` for rules that expire no object.
fn expiration(rule: &template::LifecycleRule) -> Option<Result<LifecycleRule, BuildError>> {
    let days = i32::try_from(rule.expiration_in_days?).unwrap_or(i32::MAX);
    let tags = rule.tag_filters.iter();
    let tags = tags.map(|tag| Tag::builder().key(&tag.key).value(&tag.value).build());
    Some(tags.collect::<Result<Vec<_>, _>>().and_then(|tags| {
        let both = LifecycleRuleAndOperator::builder().prefix(&rule.prefix).set_tags(Some(tags));
        LifecycleRule::builder()
            .id(&rule.id)
            .status(ExpirationStatus::Enabled)
            .filter(LifecycleRuleFilter::builder().and(both.build()).build())
            .expiration(LifecycleExpiration::builder().days(days).build())
            .build()
    }))
}
