//! Typed properties of resources, as far as the engines and the function host need them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::error::TemplateError;
use super::value::{deserialize, text};

/// A resource that an embedded engine provides.
#[derive(Debug, Clone)]
pub(crate) enum Declaration {
    Table(Table),
    Queue(Queue),
    Bucket(Bucket),
    Key(Key),
    Secret(Secret),
    EventBus,
}

/// `AWS::DynamoDB::Table`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Table {
    pub(crate) key_schema: Vec<KeyElement>,
    pub(crate) attribute_definitions: Vec<Attribute>,
    #[serde(default)]
    pub(crate) global_secondary_indexes: Vec<Index>,
    pub(crate) time_to_live_specification: Option<TimeToLive>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct KeyElement {
    pub(crate) attribute_name: String,
    /// `HASH` or `RANGE`.
    pub(crate) key_type: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Attribute {
    pub(crate) attribute_name: String,
    /// `S`, `N` or `B`.
    pub(crate) attribute_type: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Index {
    pub(crate) index_name: String,
    pub(crate) key_schema: Vec<KeyElement>,
    pub(crate) projection: Projection,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Projection {
    /// `ALL`, `KEYS_ONLY` or `INCLUDE`.
    pub(crate) projection_type: String,
    pub(crate) non_key_attributes: Option<Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TimeToLive {
    pub(crate) attribute_name: String,
    #[serde(deserialize_with = "flag")]
    pub(crate) enabled: bool,
}

/// `AWS::SQS::Queue`. Times are in seconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Queue {
    #[serde(default, deserialize_with = "number")]
    pub(crate) visibility_timeout: Option<u32>,
    #[serde(default, deserialize_with = "number")]
    pub(crate) message_retention_period: Option<u32>,
    pub(crate) redrive_policy: Option<RedrivePolicy>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RedrivePolicy {
    pub(crate) dead_letter_target_arn: String,
    #[serde(deserialize_with = "number")]
    pub(crate) max_receive_count: Option<u32>,
}

/// `AWS::S3::Bucket`. The devstack ignores encryption and policies, and of lifecycle rules all but expiration.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Bucket {
    pub(crate) public_access_block_configuration: Option<PublicAccessBlock>,
    #[serde(default)]
    pub(crate) lifecycle_configuration: Lifecycle,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Lifecycle {
    pub(crate) rules: Vec<LifecycleRule>,
}

/// A lifecycle rule, enabled.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LifecycleRule {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) prefix: String,
    #[serde(default)]
    pub(crate) tag_filters: Vec<Tag>,
    #[serde(default, deserialize_with = "number")]
    pub(crate) expiration_in_days: Option<u32>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Tag {
    pub(crate) key: String,
    pub(crate) value: String,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct PublicAccessBlock {
    #[serde(deserialize_with = "flag")]
    pub(crate) block_public_acls: bool,
    #[serde(deserialize_with = "flag")]
    pub(crate) block_public_policy: bool,
    #[serde(deserialize_with = "flag")]
    pub(crate) ignore_public_acls: bool,
    #[serde(deserialize_with = "flag")]
    pub(crate) restrict_public_buckets: bool,
}

/// `AWS::KMS::Key`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Key {
    pub(crate) description: Option<String>,
}

/// `AWS::SecretsManager::Secret`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Secret {
    pub(crate) secret_string: Option<String>,
    pub(crate) generate_secret_string: Option<GeneratedSecret>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct GeneratedSecret {
    #[serde(deserialize_with = "number")]
    pub(crate) password_length: Option<u32>,
    pub(crate) exclude_characters: Option<String>,
    #[serde(deserialize_with = "flag")]
    pub(crate) exclude_punctuation: bool,
}

/// `AWS::Events::Rule`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Rule {
    /// For example `rate(1 hour)`.
    pub(crate) schedule_expression: Option<String>,
    #[serde(default)]
    pub(crate) targets: Vec<RuleTarget>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RuleTarget {
    /// ARN of a queue.
    pub(crate) arn: String,
    /// Body of the message.
    pub(crate) input: String,
}

/// `AWS::Serverless::Function`.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    /// Logical id.
    pub(crate) logical: String,
    /// Name of the binary and of its crate.
    pub(crate) binary: String,
    /// Timeout in seconds.
    pub(crate) timeout: u32,
    /// Environment variables.
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) routes: Vec<Route>,
    pub(crate) sources: Vec<QueueSource>,
}

/// A route of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// In upper case, or `ANY`.
    pub(crate) method: String,
    /// For example `/v1/{proxy+}`, or `$default`.
    pub(crate) path: String,
}

/// An event source mapping for SQS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueueSource {
    pub(crate) queue_arn: String,
    pub(crate) batch_size: u32,
    pub(crate) maximum_concurrency: Option<u32>,
    /// Whether the function reports failed messages (`ReportBatchItemFailures`).
    pub(crate) reports_failures: bool,
}

pub(crate) fn is_engine_resource(kind: &str) -> bool {
    matches!(
        kind,
        "AWS::DynamoDB::Table"
            | "AWS::SQS::Queue"
            | "AWS::S3::Bucket"
            | "AWS::KMS::Key"
            | "AWS::SecretsManager::Secret"
            | "AWS::Events::EventBus"
    )
}

/// Deserializes the resolved properties of an engine resource.
pub(super) fn declaration(
    logical: &str,
    kind: &str,
    properties: Value,
) -> Result<Declaration, TemplateError> {
    Ok(match kind {
        "AWS::DynamoDB::Table" => Declaration::Table(deserialize(properties, logical)?),
        "AWS::SQS::Queue" => Declaration::Queue(deserialize(properties, logical)?),
        "AWS::S3::Bucket" => Declaration::Bucket(deserialize(properties, logical)?),
        "AWS::KMS::Key" => Declaration::Key(deserialize(properties, logical)?),
        "AWS::SecretsManager::Secret" => Declaration::Secret(deserialize(properties, logical)?),
        "AWS::Events::EventBus" => Declaration::EventBus,
        _ => {
            return Err(TemplateError::Resource {
                resource: logical.to_owned(),
                reason: format!("no engine provides {kind}"),
            });
        }
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FunctionProperties {
    #[serde(default, deserialize_with = "number")]
    timeout: Option<u32>,
    #[serde(default)]
    environment: EnvironmentProperties,
    events: BTreeMap<String, Event>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct EnvironmentProperties {
    variables: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(tag = "Type", content = "Properties")]
enum Event {
    HttpApi(HttpApiEvent),
    #[serde(rename = "SQS")]
    Sqs(SqsEvent),
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct HttpApiEvent {
    path: Option<String>,
    method: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SqsEvent {
    queue: String,
    #[serde(default, deserialize_with = "number")]
    batch_size: Option<u32>,
    #[serde(default)]
    function_response_types: Vec<String>,
    #[serde(default)]
    scaling_config: ScalingConfig,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ScalingConfig {
    #[serde(deserialize_with = "number")]
    maximum_concurrency: Option<u32>,
}

/// Lambda's default timeout in seconds.
const DEFAULT_TIMEOUT: u32 = 3;
/// Default batch size of an event source mapping for SQS.
const DEFAULT_BATCH_SIZE: u32 = 10;

/// Deserializes a function from its resolved properties.
pub(super) fn function(
    logical: &str,
    properties: Value,
    metadata: &Value,
) -> Result<Function, TemplateError> {
    let binary = binary(logical, metadata)?;
    let properties: FunctionProperties = deserialize(properties, logical)?;
    let mut variables = BTreeMap::new();
    for (name, value) in properties.environment.variables {
        let value = text(&value).ok_or_else(|| TemplateError::Resource {
            resource: logical.to_owned(),
            reason: format!("the variable {name} is not a scalar"),
        })?;
        variables.insert(name, value);
    }
    let (mut routes, mut sources) = (Vec::new(), Vec::new());
    for event in properties.events.into_values() {
        match event {
            Event::HttpApi(event) => routes.push(Route {
                method: event.method.as_deref().unwrap_or("ANY").to_uppercase(),
                path: event.path.unwrap_or_else(|| "$default".into()),
            }),
            Event::Sqs(event) => sources.push(QueueSource {
                queue_arn: event.queue,
                batch_size: event.batch_size.unwrap_or(DEFAULT_BATCH_SIZE),
                maximum_concurrency: event.scaling_config.maximum_concurrency,
                reports_failures: event
                    .function_response_types
                    .iter()
                    .any(|kind| kind == "ReportBatchItemFailures"),
            }),
        }
    }
    Ok(Function {
        logical: logical.to_owned(),
        binary,
        timeout: properties.timeout.unwrap_or(DEFAULT_TIMEOUT),
        variables,
        routes,
        sources,
    })
}

/// The binary that `sam build` builds for a function.
pub(super) fn binary(logical: &str, metadata: &Value) -> Result<String, TemplateError> {
    let binary = metadata.pointer("/BuildProperties/Binary").and_then(Value::as_str);
    let missing = || TemplateError::Resource {
        resource: logical.to_owned(),
        reason: "Metadata.BuildProperties.Binary is missing".to_owned(),
    };
    binary.map(str::to_owned).ok_or_else(missing)
}

/// Deserializes a number, which is text if it comes from `Ref`.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let number = text(&value).and_then(|text| text.trim().parse().ok());
    number
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom(format!("{value} is not a whole number")))
}

/// Deserializes a boolean, which is text if it comes from `Ref`.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let flag = text(&value).and_then(|text| text.parse().ok());
    flag.ok_or_else(|| serde::de::Error::custom(format!("{value} is not a boolean")))
}
