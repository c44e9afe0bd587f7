//! Errors of reading and resolving a template.

/// Failure to read a template, or parameters that do not match it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The text is not YAML or not a CloudFormation template.
    #[error("failed to parse the template: {0}")]
    Yaml(String),
    /// The template has no such parameter.
    #[error("there is no parameter {name}; the template has {known}")]
    UnknownParameter {
        /// Name of the parameter.
        name: String,
        /// Names of all parameters.
        known: String,
    },
    /// A parameter without a default has no value.
    #[error("the parameter {0} is required")]
    MissingParameter(String),
    /// The parameter's declaration does not allow the value.
    #[error("the parameter {name} has an invalid value: {reason}")]
    Parameter {
        /// Name of the parameter.
        name: String,
        /// The violated constraint.
        reason: String,
    },
    /// An intrinsic function is unsupported or has invalid arguments.
    #[error("{0}")]
    Intrinsic(String),
    /// A resource has invalid properties.
    #[error("failed to read the resource {resource}: {reason}")]
    Resource {
        /// Logical id of the resource.
        resource: String,
        /// The invalid property.
        reason: String,
    },
}
