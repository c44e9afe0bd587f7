//! Resources, typed: what the engines and the function host need of their properties.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{TemplateError, read, text};

/// A resource of a kind that the engines have, or none of theirs.
#[derive(Debug, Clone)]
pub enum Declaration {
    /// `AWS::DynamoDB::Table`.
    Table(Table),
    /// `AWS::SQS::Queue`.
    Queue(Queue),
    /// `AWS::S3::Bucket`.
    Bucket(Bucket),
    /// `AWS::KMS::Key`.
    Key(Key),
    /// `AWS::SecretsManager::Secret`.
    Secret(Secret),
    /// `AWS::Events::EventBus`.
    EventBus(EventBus),
    /// Anything else: no engine here has it.
    Elsewhere,
}

/// A table.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Table {
    /// Partition and sort key.
    pub key_schema: Vec<KeyElement>,
    /// Types of all key attributes.
    pub attribute_definitions: Vec<Attribute>,
    /// Indexes.
    #[serde(default)]
    pub global_secondary_indexes: Vec<Index>,
    /// Which attribute tells when an item ends.
    pub time_to_live_specification: Option<TimeToLive>,
}

/// A part of a key.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyElement {
    /// The attribute.
    pub attribute_name: String,
    /// `HASH` or `RANGE`.
    pub key_type: String,
}

/// An attribute that is part of a key.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attribute {
    /// The attribute.
    pub attribute_name: String,
    /// `S`, `N` or `B`.
    pub attribute_type: String,
}

/// A global secondary index.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Index {
    /// Its name.
    pub index_name: String,
    /// Its key.
    pub key_schema: Vec<KeyElement>,
    /// What it holds.
    pub projection: Projection,
}

/// What an index holds.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Projection {
    /// `ALL`, `KEYS_ONLY` or `INCLUDE`.
    pub projection_type: String,
    /// For `INCLUDE`.
    #[serde(default)]
    pub non_key_attributes: Vec<String>,
}

/// When items end.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TimeToLive {
    /// The attribute, in epoch seconds.
    pub attribute_name: String,
    /// Whether it counts.
    #[serde(deserialize_with = "flag")]
    pub enabled: bool,
}

/// A queue.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Queue {
    /// Seconds.
    #[serde(default, deserialize_with = "number")]
    pub visibility_timeout: Option<u32>,
    /// Seconds.
    #[serde(default, deserialize_with = "number")]
    pub message_retention_period: Option<u32>,
    /// Seconds.
    #[serde(default, deserialize_with = "number")]
    pub delay_seconds: Option<u32>,
    /// Where messages go that are never done.
    #[serde(rename = "RedrivePolicy")]
    pub redrive: Option<Redrive>,
}

/// Where messages go that are never done.
#[derive(Debug, Clone, Deserialize)]
pub struct Redrive {
    /// The dead-letter queue.
    #[serde(rename = "deadLetterTargetArn")]
    pub dead_letter_arn: String,
    /// After how many deliveries.
    #[serde(rename = "maxReceiveCount", deserialize_with = "number")]
    pub max_receive_count: Option<u32>,
}

/// A bucket. Encryption, policies and life cycles are the cloud's.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Bucket {
    /// What keeps it from being opened to everybody.
    #[serde(rename = "PublicAccessBlockConfiguration")]
    pub public_access_block: Option<PublicAccessBlock>,
}

/// The four switches of a bucket's public access block.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs, reason = "the names are those of S3")]
pub struct PublicAccessBlock {
    #[serde(deserialize_with = "flag")]
    pub block_public_acls: bool,
    #[serde(deserialize_with = "flag")]
    pub block_public_policy: bool,
    #[serde(deserialize_with = "flag")]
    pub ignore_public_acls: bool,
    #[serde(deserialize_with = "flag")]
    pub restrict_public_buckets: bool,
}

/// A symmetric key.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Key {
    /// What it is for.
    pub description: Option<String>,
}

/// A secret.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Secret {
    /// Its value, if the template gives one.
    pub secret_string: Option<String>,
    /// How to make its value.
    pub generate_secret_string: Option<GeneratedSecret>,
}

/// How a secret's value is made.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs, reason = "the names are those of Secrets Manager")]
pub struct GeneratedSecret {
    #[serde(deserialize_with = "number")]
    pub password_length: Option<u32>,
    pub exclude_characters: Option<String>,
    #[serde(deserialize_with = "flag")]
    pub exclude_punctuation: bool,
    #[serde(deserialize_with = "flag")]
    pub exclude_numbers: bool,
    #[serde(deserialize_with = "flag")]
    pub exclude_lowercase: bool,
    #[serde(deserialize_with = "flag")]
    pub exclude_uppercase: bool,
    #[serde(deserialize_with = "flag")]
    pub include_space: bool,
    pub secret_string_template: Option<String>,
    pub generate_string_key: Option<String>,
}

/// An event bus.
#[derive(Debug, Clone, Deserialize)]
pub struct EventBus {}

/// A rule of the default event bus, of which only schedules concern this machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Rule {
    /// Such as `rate(1 hour)`.
    pub schedule_expression: Option<String>,
    /// Where its input goes.
    #[serde(default)]
    pub targets: Vec<RuleTarget>,
}

/// Where a rule's input goes.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RuleTarget {
    /// A queue.
    pub arn: String,
    /// The message.
    pub input: String,
}

/// A function.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its logical id.
    pub logical: String,
    /// The binary, which is named like its crate.
    pub binary: String,
    /// Seconds.
    pub timeout: u32,
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// Which HTTP requests it answers.
    pub routes: Vec<Route>,
    /// Which queues it works off.
    pub sources: Vec<QueueSource>,
}

/// A route of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// In capitals, or `ANY`.
    pub method: String,
    /// Such as `/v1/{proxy+}`, or `$default`.
    pub path: String,
}

/// An event source mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSource {
    /// The queue.
    pub queue_arn: String,
    /// Messages in one call at most.
    pub batch_size: u32,
    /// Calls at the same time at most.
    pub maximum_concurrency: Option<u32>,
    /// Whether the function says which messages it has not done.
    pub reports_failures: bool,
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

pub(super) fn declaration(
    logical: &str,
    kind: &str,
    properties: Value,
) -> Result<Declaration, TemplateError> {
    Ok(match kind {
        "AWS::DynamoDB::Table" => Declaration::Table(read(properties, logical)?),
        "AWS::SQS::Queue" => Declaration::Queue(read(properties, logical)?),
        "AWS::S3::Bucket" => Declaration::Bucket(read(properties, logical)?),
        "AWS::KMS::Key" => Declaration::Key(read(properties, logical)?),
        "AWS::SecretsManager::Secret" => Declaration::Secret(read(properties, logical)?),
        "AWS::Events::EventBus" => Declaration::EventBus(read(properties, logical)?),
        _ => Declaration::Elsewhere,
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
#[serde(rename_all = "PascalCase")]
struct EnvironmentProperties {
    #[serde(default)]
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
#[serde(rename_all = "PascalCase")]
struct ScalingConfig {
    #[serde(default, deserialize_with = "number")]
    maximum_concurrency: Option<u32>,
}

/// Lambda's own default.
const TIMEOUT: u32 = 3;
/// The event source mapping's own default.
const BATCH_SIZE: u32 = 10;

pub(super) fn function(
    logical: &str,
    properties: Value,
    metadata: &Value,
) -> Result<Function, TemplateError> {
    let wrong = |reason: &str| TemplateError::Resource {
        resource: logical.to_owned(),
        reason: reason.to_owned(),
    };
    let binary = binary(logical, metadata)?;
    let properties: FunctionProperties = read(properties, logical)?;
    let mut variables = BTreeMap::new();
    for (name, value) in properties.environment.variables {
        let value =
            text(&value).ok_or_else(|| wrong(&format!("the variable {name} is no text")))?;
        variables.insert(name, value);
    }
    let (mut routes, mut sources) = (Vec::new(), Vec::new());
    for event in properties.events.into_values() {
        match event {
            Event::HttpApi(event) => routes.push(Route {
                method: event
                    .method
                    .unwrap_or_else(|| "ANY".into())
                    .to_ascii_uppercase(),
                path: event.path.unwrap_or_else(|| "$default".into()),
            }),
            Event::Sqs(event) => sources.push(QueueSource {
                queue_arn: event.queue,
                batch_size: event.batch_size.unwrap_or(BATCH_SIZE),
                maximum_concurrency: event.scaling_config.maximum_concurrency,
                reports_failures: event
                    .function_response_types
                    .iter()
                    .any(|kind| kind == "ReportBatchItemFailures"),
            }),
        }
    }
    let timeout = properties.timeout.unwrap_or(TIMEOUT);
    Ok(Function {
        logical: logical.to_owned(),
        binary,
        timeout,
        variables,
        routes,
        sources,
    })
}

/// The binary that `sam build` makes for a function.
pub(super) fn binary(logical: &str, metadata: &Value) -> Result<String, TemplateError> {
    let binary = metadata
        .pointer("/BuildProperties/Binary")
        .and_then(Value::as_str);
    let missing = || TemplateError::Resource {
        resource: logical.to_owned(),
        reason: "Metadata.BuildProperties.Binary is missing".to_owned(),
    };
    binary.map(str::to_owned).ok_or_else(missing)
}

/// A number, which a parameter's `Ref` gives as text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let number = text(&value).and_then(|text| text.trim().parse().ok());
    number
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom(format!("{value} is no whole number")))
}

/// A flag, which a parameter's `Ref` gives as text.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let flag = text(&value).and_then(|text| text.parse().ok());
    flag.ok_or_else(|| serde::de::Error::custom(format!("{value} is neither true nor false")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::template::{Physical, Resolver, Stage, Template};

    const TEMPLATE: &str = "
Parameters:
  Wait: {Type: Number, Default: 60}
Globals:
  Function:
    Timeout: 10
    Environment: {Variables: {SHARED: yes-please, ROW: shared}}
Resources:
  Work:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: rust-cargolambda, BuildProperties: {Binary: work}}
    Properties:
      Timeout: !Ref Wait
      Policies: [{Statement: [{Resource: !GetAtt Unknown.Arn}]}]
      Environment: {Variables: {ROW: own, QUEUE: !Ref Queue, COUNT: 3}}
      Events:
        Any: {Type: HttpApi, Properties: {ApiId: !Ref Api, Path: '/v1/{proxy+}', Method: any}}
        Jobs: {Type: SQS, Properties: {Queue: !GetAtt Queue.Arn, BatchSize: 1,
          FunctionResponseTypes: [ReportBatchItemFailures], ScalingConfig: {MaximumConcurrency: 4}}}
        Nightly: {Type: ScheduleV2, Properties: {RoleArn: !GetAtt Role.Arn}}
  Queue: {Type: 'AWS::SQS::Queue'}
  Api: {Type: 'AWS::Serverless::HttpApi'}
";

    #[test]
    fn a_function_has_globals_below_its_own() {
        let template = Template::parse(TEMPLATE).unwrap();
        let parameters = template.parameters(&BTreeMap::new()).unwrap();
        let stage = Stage {
            region: "r".into(),
            account_id: "1".into(),
            stack_name: "s".into(),
        };
        let mut resolver = Resolver::new(&template, &parameters, stage);
        resolver.define("Queue", Physical::new("http://q", "arn:q"));
        resolver.define("Api", Physical::default());
        let function = resolver.function("Work").unwrap();
        assert_eq!((function.binary.as_str(), function.timeout), ("work", 60));
        let expected = [
            ("COUNT", "3"),
            ("QUEUE", "http://q"),
            ("ROW", "own"),
            ("SHARED", "yes-please"),
        ];
        assert_eq!(
            function.variables,
            BTreeMap::from(expected.map(|(name, value)| (name.to_owned(), value.to_owned())))
        );
        assert_eq!(
            function.routes,
            [Route {
                method: "ANY".into(),
                path: "/v1/{proxy+}".into()
            }]
        );
        assert_eq!(
            function.sources,
            [QueueSource {
                queue_arn: "arn:q".into(),
                batch_size: 1,
                maximum_concurrency: Some(4),
                reports_failures: true
            }]
        );
    }
}
