//! Secrets.

use aws_sdk_secretsmanager::Client;
use serde_json::Value;

use super::DeployError;
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
        .await;
    let arn = created
        .map_err(|error| DeployError::engine(name, &error))?
        .arn
        .ok_or_else(|| DeployError::answer(name, "the secret has no ARN"))?;
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
        .exclude_numbers(rule.exclude_numbers)
        .exclude_lowercase(rule.exclude_lowercase)
        .exclude_uppercase(rule.exclude_uppercase)
        .include_space(rule.include_space)
        .send()
        .await
        .map_err(|error| DeployError::engine(name, &error))?;
    let password = made
        .random_password
        .ok_or_else(|| DeployError::answer(name, "no password was made"))?;
    match (&rule.secret_string_template, &rule.generate_string_key) {
        (Some(template), Some(key)) => {
            let mut template: Value = serde_json::from_str(template).map_err(|error| {
                DeployError::answer(name, &format!("SecretStringTemplate is no JSON: {error}"))
            })?;
            template[key.as_str()] = Value::String(password);
            Ok(template.to_string())
        }
        _ => Ok(password),
    }
}

/// The current value.
pub(crate) async fn current(client: &Client, id: &str) -> Result<String, DeployError> {
    let answer = client
        .get_secret_value()
        .secret_id(id)
        .send()
        .await
        .map_err(|error| DeployError::engine(id, &error))?;
    answer
        .secret_string
        .ok_or_else(|| DeployError::answer(id, "the secret holds no text"))
}

/// A new current value.
pub(crate) async fn put(client: &Client, id: &str, value: &str) -> Result<(), DeployError> {
    let answer = client
        .put_secret_value()
        .secret_id(id)
        .secret_string(value)
        .send()
        .await;
    answer
        .map(|_| ())
        .map_err(|error| DeployError::engine(id, &error))
}
