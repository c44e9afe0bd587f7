//! Reads `template.yaml` as CloudFormation and SAM do, as far as the devstack needs.
//!
//! The template is the only source of names, keys, queues and routes, so the devstack cannot differ from a
//! deployment. Resources that exist only on AWS, such as roles and alarms, are skipped.

mod document;
mod error;
mod intrinsics;
mod parameters;
mod resolver;
mod resources;
mod value;
pub(crate) mod yaml;

pub use self::document::Template;
pub use self::error::TemplateError;
pub use self::parameters::Parameters;
pub(crate) use self::resolver::{Physical, PseudoParameters, Resolver};
pub(crate) use self::resources::{
    Bucket, Declaration, Function, GeneratedSecret, Key, KeyElement, LifecycleRule, Queue, Route,
    Secret, Table, is_engine_resource,
};
