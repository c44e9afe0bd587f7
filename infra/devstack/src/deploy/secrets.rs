//! Creates secrets.

use aws_sdk_secretsmanager::Client;

use super::error::DeployError;
use crate::template::{GeneratedSecret, Physical, Secret};

pub(super) async fn create(
    client: &Client,
    name: &str,
    secret: &Secret,
) -> Result<Physical, DeployError> {
    let value = match (&secret.generate_secret_string, &secret.secret_string) {
        (Some(rule), _) => Some(generate(client, name, rule).await?),
        (None, value) => value.clone(),
    };
    let created = client
        .create_secret()
        .name(name)
        .set_secret_string(value)
        .send()
        .await
        .map_err(|error| DeployError::engine(name, &error))?;
    let arn = created.arn;
    let arn = arn.ok_or_else(|| DeployError::response(name, "the secret has no ARN"))?;
    // A secret's `Ref` is its ARN.
    Ok(Physical::new(&arn, &arn).with("Id", &arn))
}

async fn generate(
    client: &Client,
    name: &str,
    rule: &GeneratedSecret,
) -> Result<String, DeployError> {
    let length = rule.password_length.map(i64::from);
    let made = client
        .get_random_password()
        .set_password_length(length)
        .set_exclude_characters(rule.exclude_characters.clone())
        .exclude_punctuation(rule.exclude_punctuation)
        .send()
        .await
        .map_err(|error| DeployError::engine(name, &error))?;
    made.random_password.ok_or_else(|| DeployError::response(name, "the response has no password"))
}

/// Reads the current value of a secret.
pub(crate) async fn current_secret(client: &Client, id: &str) -> Result<String, DeployError> {
    let response = client
        .get_secret_value()
        .secret_id(id)
        .send()
        .await
        .map_err(|error| DeployError::engine(id, &error))?;
    response.secret_string.ok_or_else(|| DeployError::response(id, "the secret has no text value"))
}

/// Sets the current value of a secret.
pub(crate) async fn put_secret(client: &Client, id: &str, value: &str) -> Result<(), DeployError> {
    let response = client.put_secret_value().secret_id(id).secret_string(value).send().await;
    response.map(|_| ()).map_err(|error| DeployError::engine(id, &error))
}
