//! Creates KMS keys. An alias identifies an existing key.

use aws_sdk_kms::Client;

use super::error::DeployError;
use crate::template::{Key, Physical};

pub(super) async fn create(
    client: &Client,
    name: &str,
    key: &Key,
) -> Result<Physical, DeployError> {
    let failed = |reason: &str| DeployError::response(name, reason);
    let alias = format!("alias/{name}");
    let aliases = client
        .list_aliases()
        .send()
        .await
        .map_err(|error| DeployError::engine(name, &error))?;
    let known = aliases
        .aliases()
        .iter()
        .find(|entry| entry.alias_name() == Some(alias.as_str()));
    let id = match known.and_then(|entry| entry.target_key_id()) {
        Some(id) => id.to_owned(),
        None => {
            let made = client
                .create_key()
                .set_description(key.description.clone())
                .send()
                .await;
            let made = made.map_err(|error| DeployError::engine(name, &error))?;
            let id = made
                .key_metadata()
                .ok_or_else(|| failed("the response has no key metadata"))?
                .key_id()
                .to_owned();
            let named = client
                .create_alias()
                .alias_name(&alias)
                .target_key_id(&id)
                .send()
                .await;
            named.map_err(|error| DeployError::engine(name, &error))?;
            id
        }
    };
    let described = client
        .describe_key()
        .key_id(&id)
        .send()
        .await
        .map_err(|error| DeployError::engine(name, &error))?;
    let arn = described
        .key_metadata()
        .and_then(|key| key.arn())
        .ok_or_else(|| failed("the key has no ARN"))?;
    Ok(Physical::new(&id, arn).with("KeyId", &id))
}
