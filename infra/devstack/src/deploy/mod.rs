//! Makes the engines have what the template declares, as CloudFormation would: each resource once
//! those exist that it names. What is there already, from an earlier run, stays as it is.

mod buckets;
mod queues;
mod secrets;
mod tables;
mod vault;

use std::collections::BTreeSet;

use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata};
use reelay_runtime::environment::Environment;

pub(crate) use self::queues::attributes_of as queue_attributes;
pub(crate) use self::secrets::{current as current_secret, put as put_secret};
use crate::names;
use crate::template::{self, Declaration, Physical, Resolver, Template, TemplateError};

/// Why a resource could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The template does not resolve.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// An engine refused.
    #[error("{resource}: {reason}")]
    Engine {
        /// The resource's name.
        resource: String,
        /// What the engine said.
        reason: String,
    },
    /// Resources wait for one another.
    #[error("these resources wait for one another: {0}")]
    Circular(String),
}

impl DeployError {
    fn engine<E>(resource: &str, error: &E) -> Self
    where
        E: std::error::Error,
    {
        Self::Engine {
            resource: resource.to_owned(),
            reason: DisplayErrorContext(error).to_string(),
        }
    }

    fn answer(resource: &str, reason: &str) -> Self {
        Self::Engine {
            resource: resource.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

/// Whether a service refused with this code.
fn is<E, R>(error: &aws_sdk_sqs::error::SdkError<E, R>, code: &str) -> bool
where
    E: ProvideErrorMetadata,
{
    error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code)
        .is_some_and(|found| found.ends_with(code))
}

/// Creates all wanted resources and tells the resolver what they are called.
pub(crate) async fn deploy(
    environment: &Environment,
    template: &Template,
    resolver: &mut Resolver<'_>,
) -> Result<(), DeployError> {
    let mut waiting = BTreeSet::new();
    for (logical, kind) in template.resources() {
        if !resolver.is_wanted(logical)? {
            continue;
        }
        if template::is_engine_resource(kind) {
            waiting.insert(logical);
        } else {
            resolver.define(logical, elsewhere(logical, kind));
        }
    }
    while !waiting.is_empty() {
        let ready: Vec<&str> = waiting
            .iter()
            .copied()
            .filter(|logical| resolver.references(logical).is_disjoint(&waiting))
            .collect();
        if ready.is_empty() {
            let names: Vec<&str> = waiting.into_iter().collect();
            return Err(DeployError::Circular(names.join(", ")));
        }
        for logical in ready {
            let physical = create(environment, resolver, logical).await?;
            tracing::debug!(logical, reference = physical.reference, "resource is there");
            resolver.define(logical, physical);
            waiting.remove(logical);
        }
    }
    Ok(())
}

async fn create(
    environment: &Environment,
    resolver: &Resolver<'_>,
    logical: &str,
) -> Result<Physical, DeployError> {
    let name = names::physical(logical);
    match resolver.declaration(logical)? {
        Declaration::Table(table) => tables::create(&environment.dynamodb(), &name, &table).await,
        Declaration::Queue(queue) => queues::create(&environment.sqs(), &name, &queue).await,
        Declaration::Bucket(bucket) => buckets::create(&environment.s3(), &name, &bucket).await,
        Declaration::Key(key) => vault::create(&environment.kms(), &name, &key).await,
        Declaration::Secret(secret) => {
            secrets::create(&environment.secretsmanager(), &name, &secret).await
        }
        Declaration::EventBus => event_bus(&environment.eventbridge(), &name).await,
    }
}

/// A resource that only a cloud has, by a name that nobody will look up.
fn elsewhere(logical: &str, kind: &str) -> Physical {
    let name = names::physical(logical);
    let (region, account) = (names::REGION, names::ACCOUNT_ID);
    let arn = match kind {
        "AWS::Serverless::Function" => format!("arn:aws:lambda:{region}:{account}:function:{name}"),
        "AWS::IAM::Role" => format!("arn:aws:iam::{account}:role/{name}"),
        _ => format!("arn:aws:local:{region}:{account}:{name}"),
    };
    Physical::new(name, arn)
}

async fn event_bus(
    client: &aws_sdk_eventbridge::Client,
    name: &str,
) -> Result<Physical, DeployError> {
    match client.create_event_bus().name(name).send().await {
        Ok(_) => {}
        Err(error) if is(&error, "ResourceAlreadyExistsException") => {}
        Err(error) => return Err(DeployError::engine(name, &error)),
    }
    let arn = format!(
        "arn:aws:events:{}:{}:event-bus/{name}",
        names::REGION,
        names::ACCOUNT_ID
    );
    Ok(Physical::new(name, arn).with("Name", name))
}
