//! `template.yaml`, read as CloudFormation and SAM read it, as far as this system needs.
//!
//! It is the only source of names, keys, queues and routes, so what runs here and what is deployed
//! cannot drift apart. What it takes a cloud to have (roles, alarms, log groups) is skipped.

mod parameters;
mod resolver;
mod resources;
mod yaml;

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use self::parameters::Declared;
pub use self::parameters::Parameters;
pub use self::resolver::{Physical, Resolver, Stage};
pub(crate) use self::resources::is_engine_resource;
pub use self::resources::{
    Attribute, Bucket, Declaration, EventBus, Function, GeneratedSecret, Index, Key, KeyElement,
    Projection, PublicAccessBlock, Queue, QueueSource, Redrive, Route, Rule, Secret, Table,
    TimeToLive,
};

/// The template of this repository, as it was when this crate was built.
const REPOSITORY: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../template.yaml"));

const FUNCTION: &str = "AWS::Serverless::Function";

/// A template that cannot be used, or parameters that do not fit it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It is no YAML, or no CloudFormation.
    #[error("the template does not read: {0}")]
    Yaml(String),
    /// A parameter that the template does not have.
    #[error("there is no parameter {name}; the template has {known}")]
    UnknownParameter {
        /// The parameter.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A parameter without a default was not given.
    #[error("the parameter {0} is required")]
    MissingParameter(String),
    /// A parameter's value is not allowed.
    #[error("the parameter {name} can't be used: {reason}")]
    Parameter {
        /// The parameter.
        name: String,
        /// Why.
        reason: String,
    },
    /// An intrinsic function that makes no sense, or is not known here.
    #[error("{0}")]
    Intrinsic(String),
    /// A resource with properties that do not read.
    #[error("the resource {resource} does not read: {reason}")]
    Resource {
        /// Its logical id.
        resource: String,
        /// Why.
        reason: String,
    },
}

/// A template, not resolved yet.
#[derive(Debug, Clone)]
pub struct Template {
    parameters: BTreeMap<String, Declared>,
    conditions: Map<String, Value>,
    mappings: Value,
    resources: BTreeMap<String, Resource>,
    outputs: Map<String, Value>,
}

#[derive(Debug, Clone)]
struct Resource {
    kind: String,
    condition: Option<String>,
    properties: Value,
    metadata: Value,
}

impl Template {
    /// The template of this repository.
    ///
    /// # Errors
    /// If it does not read.
    pub fn of_repository() -> Result<Self, TemplateError> {
        Self::parse(REPOSITORY)
    }

    /// Reads a template.
    ///
    /// # Errors
    /// If it is no YAML, or no template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let Value::Object(mut document) = yaml::read(text)? else {
            return Err(TemplateError::Yaml("it is no mapping".into()));
        };
        let mut section = |name: &str| match document.remove(name) {
            Some(Value::Object(section)) => Ok(section),
            None => Ok(Map::new()),
            Some(_) => Err(TemplateError::Yaml(format!("{name} is no mapping"))),
        };
        let parameters = read(Value::Object(section("Parameters")?), "Parameters")?;
        let globals = Value::Object(section("Globals")?);
        let mut resources = BTreeMap::new();
        for (logical, mut value) in section("Resources")? {
            let kind = value.get("Type").and_then(Value::as_str).map(str::to_owned);
            let kind = kind.ok_or_else(|| TemplateError::Yaml(format!("{logical} has no Type")))?;
            let mut properties = take(&mut value, "Properties");
            // SAM's Globals section: what stands at a resource wins.
            let shared = kind
                .strip_prefix("AWS::Serverless::")
                .and_then(|kind| globals.get(kind));
            if let Some(shared) = shared {
                properties = merged(shared, properties);
            }
            let condition = value
                .get("Condition")
                .and_then(Value::as_str)
                .map(str::to_owned);
            let metadata = take(&mut value, "Metadata");
            resources.insert(
                logical,
                Resource {
                    kind,
                    condition,
                    properties,
                    metadata,
                },
            );
        }
        Ok(Self {
            parameters,
            conditions: section("Conditions")?,
            mappings: Value::Object(section("Mappings")?),
            resources,
            outputs: section("Outputs")?,
        })
    }

    /// Whether the template has this parameter.
    pub fn has_parameter(&self, name: &str) -> bool {
        self.parameters.contains_key(name)
    }

    /// The values of all parameters: those given, for the others the defaults.
    ///
    /// # Errors
    /// If one is unknown, missing or not allowed.
    pub fn parameters(
        &self,
        given: &BTreeMap<String, String>,
    ) -> Result<Parameters, TemplateError> {
        Parameters::new(&self.parameters, given)
    }

    /// The binary of every function, by the function's logical id.
    ///
    /// # Errors
    /// If a function does not name one.
    pub fn binaries(&self) -> Result<BTreeMap<String, String>, TemplateError> {
        let functions = self
            .resources
            .iter()
            .filter(|(_, resource)| resource.kind == FUNCTION);
        functions
            .map(|(logical, resource)| {
                Ok((
                    logical.clone(),
                    resources::binary(logical, &resource.metadata)?,
                ))
            })
            .collect()
    }

    /// A resource's properties as they are written: intrinsic functions are not resolved.
    pub fn properties(&self, logical: &str) -> Option<&Value> {
        self.resources
            .get(logical)
            .map(|resource| &resource.properties)
    }

    /// Logical id and type of every resource.
    pub fn resources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.resources
            .iter()
            .map(|(logical, resource)| (logical.as_str(), resource.kind.as_str()))
    }
}

fn take(value: &mut Value, key: &str) -> Value {
    value
        .get_mut(key)
        .map(Value::take)
        .unwrap_or(Value::Object(Map::new()))
}

/// `over` laid upon `under`: maps are merged, everything else is replaced.
fn merged(under: &Value, over: Value) -> Value {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            let mut map = under.clone();
            for (key, value) in over {
                let value = match map.get(&key) {
                    Some(below) => merged(below, value),
                    None => value,
                };
                map.insert(key, value);
            }
            Value::Object(map)
        }
        (_, over) => over,
    }
}

fn read<T: DeserializeOwned>(value: Value, what: &str) -> Result<T, TemplateError> {
    serde_json::from_value(value).map_err(|error| TemplateError::Resource {
        resource: what.to_owned(),
        reason: error.to_string(),
    })
}

/// A scalar as CloudFormation writes it, whose values are all text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}
