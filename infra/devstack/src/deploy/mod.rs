//! Creates the template's resources in the engines, each after the resources that it names.

mod buckets;
mod error;
mod queues;
mod secrets;
mod tables;
mod vault;

use std::collections::BTreeSet;

use reelay_runtime::environment::Environment;

pub use self::error::DeployError;
pub(crate) use self::queues::queue_attributes;
pub(crate) use self::secrets::{current_secret, put_secret};
use crate::names;
use crate::template::{self, Declaration, Physical, Resolver, Template};

/// Creates all wanted resources and defines their identifiers in the resolver.
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
            resolver.define(logical, placeholder(logical, kind));
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
            tracing::debug!(logical, reference = physical.reference, "resource created");
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

/// Identifiers of a resource that exists only on AWS.
fn placeholder(logical: &str, kind: &str) -> Physical {
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
    let created = client.create_event_bus().name(name).send().await;
    created.map_err(|error| DeployError::engine(name, &error))?;
    let arn = format!("arn:aws:events:{}:{}:event-bus/{name}", names::REGION, names::ACCOUNT_ID);
    Ok(Physical::new(name, arn).with("Name", name))
}
