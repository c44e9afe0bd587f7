//! The template as it is written, before intrinsic functions are resolved.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::error::TemplateError;
use super::parameters::{Declared, Parameters};
use super::value::{deserialize, merge, take};
use super::{resources, yaml};

/// The template of this repository at build time.
const REPOSITORY_TEMPLATE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../template.yaml"));

const FUNCTION: &str = "AWS::Serverless::Function";

/// A template with unresolved intrinsic functions.
#[derive(Debug, Clone)]
pub struct Template {
    pub(super) parameters: BTreeMap<String, Declared>,
    pub(super) conditions: Map<String, Value>,
    pub(super) mappings: Value,
    pub(super) resources: BTreeMap<String, Resource>,
    pub(super) outputs: Map<String, Value>,
}

/// An entry of the `Resources` section.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    pub(super) kind: String,
    pub(super) condition: Option<String>,
    pub(super) properties: Value,
    pub(super) metadata: Value,
}

impl Template {
    /// Reads the template of this repository.
    ///
    /// # Errors
    /// If it is not a valid template.
    pub fn of_repository() -> Result<Self, TemplateError> {
        Self::parse(REPOSITORY_TEMPLATE)
    }

    /// Parses a template.
    ///
    /// # Errors
    /// If the text is not YAML or not a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let Value::Object(mut document) = yaml::parse(text)? else {
            return Err(TemplateError::Yaml("it is not a mapping".into()));
        };
        let mut section = |name: &str| match document.remove(name) {
            Some(Value::Object(section)) => Ok(section),
            None => Ok(Map::new()),
            Some(_) => Err(TemplateError::Yaml(format!("{name} is not a mapping"))),
        };
        let parameters = deserialize(Value::Object(section("Parameters")?), "Parameters")?;
        let globals = Value::Object(section("Globals")?);
        let mut resources = BTreeMap::new();
        for (logical, value) in section("Resources")? {
            let resource = Resource::parse(value, &globals)
                .ok_or_else(|| TemplateError::Yaml(format!("{logical} has no Type")))?;
            resources.insert(logical, resource);
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

    /// The values of all parameters: the given values, and defaults for the others.
    ///
    /// # Errors
    /// If a parameter is unknown, missing or invalid.
    pub fn parameters(
        &self,
        given: &BTreeMap<String, String>,
    ) -> Result<Parameters, TemplateError> {
        Parameters::new(&self.parameters, given)
    }

    /// The binary of every function, by the function's logical id.
    ///
    /// # Errors
    /// If a function does not name its binary.
    pub fn binaries(&self) -> Result<BTreeMap<String, String>, TemplateError> {
        let functions = self.resources.iter().filter(|(_, resource)| resource.kind == FUNCTION);
        functions
            .map(|(logical, resource)| {
                let binary = resources::binary(logical, &resource.metadata)?;
                Ok((logical.clone(), binary))
            })
            .collect()
    }

    /// A resource's properties with unresolved intrinsic functions.
    pub fn properties(&self, logical: &str) -> Option<&Value> {
        self.resources.get(logical).map(|resource| &resource.properties)
    }

    /// Logical id and type of every resource.
    pub fn resources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.resources.iter().map(|(logical, resource)| (logical.as_str(), resource.kind.as_str()))
    }
}

impl Resource {
    /// Parses a resource and merges SAM's `Globals` into it. `None` if it has no type.
    fn parse(mut value: Value, globals: &Value) -> Option<Self> {
        let kind = value.get("Type")?.as_str()?.to_owned();
        let mut properties = take(&mut value, "Properties");
        let shared = kind.strip_prefix("AWS::Serverless::").and_then(|kind| globals.get(kind));
        if let Some(shared) = shared {
            properties = merge(shared, properties);
        }
        let condition = value.get("Condition").and_then(Value::as_str);
        Some(Self {
            condition: condition.map(str::to_owned),
            metadata: take(&mut value, "Metadata"),
            kind,
            properties,
        })
    }
}
