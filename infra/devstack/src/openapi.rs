//! The description of the HTTP interface: `docs/openapi.yaml` as JSON.

use serde_json::Value;

use crate::template::{TemplateError, yaml};

/// Returns the OpenAPI document of this repository.
///
/// # Errors
/// If it is not valid YAML.
pub fn document() -> Result<Value, TemplateError> {
    yaml::parse(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.yaml")))
}
