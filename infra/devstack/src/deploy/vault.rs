//! Creates KMS keys.

use aws_sdk_kms::Client;

use super::error::DeployError;
use crate::template::{Key, Physical};

pub(super) async fn create(
    client: &Client,
    name: &str,
    key: &Key,
) -> Result<Physical, DeployError> {
    let created = client
        .create_key()
        .set_description(key.description.clone())
        .send()
        .await
        .map_err(|error| DeployError::engine(name, &error))?;
    let (id, arn) = created
        .key_metadata()
        .and_then(|key| Some((key.key_id(), key.arn()?)))
        .ok_or_else(|| DeployError::response(name, "the key has no ARN"))?;
    Ok(Physical::new(id, arn).with("KeyId", id))
}
