//! Creates tables.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TableStatus, TimeToLiveSpecification,
};

use super::error::DeployError;
use crate::names;
use crate::template::{KeyElement, Physical, Table};

/// Number of polls for an active table: five seconds, for machines under load.
const MAX_POLLS: u32 = 200;
const POLL_INTERVAL: Duration = Duration::from_millis(25);

pub(super) async fn create(
    client: &Client,
    name: &str,
    table: &Table,
) -> Result<Physical, DeployError> {
    let mut request = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(Some(key(name, &table.key_schema)?));
    for attribute in &table.attribute_definitions {
        let definition = AttributeDefinition::builder()
            .attribute_name(&attribute.attribute_name)
            .attribute_type(ScalarAttributeType::from(attribute.attribute_type.as_str()))
            .build();
        request = request
            .attribute_definitions(definition.map_err(|error| DeployError::engine(name, &error))?);
    }
    for index in &table.global_secondary_indexes {
        let projection = Projection::builder()
            .projection_type(ProjectionType::from(index.projection.projection_type.as_str()))
            .set_non_key_attributes(index.projection.non_key_attributes.clone())
            .build();
        let index = GlobalSecondaryIndex::builder()
            .index_name(&index.index_name)
            .set_key_schema(Some(key(name, &index.key_schema)?))
            .projection(projection)
            .build();
        request = request
            .global_secondary_indexes(index.map_err(|error| DeployError::engine(name, &error))?);
    }
    let created = request.send().await;
    created.map_err(|error| DeployError::engine(name, &error))?;
    wait_until_active(client, name).await?;
    if let Some(ttl) = table.time_to_live_specification.as_ref().filter(|ttl| ttl.enabled) {
        enable_ttl(client, name, &ttl.attribute_name).await?;
    }
    let arn = format!("arn:aws:dynamodb:{}:{}:table/{name}", names::REGION, names::ACCOUNT_ID);
    Ok(Physical::new(name, arn))
}

fn key(name: &str, elements: &[KeyElement]) -> Result<Vec<KeySchemaElement>, DeployError> {
    let element = |element: &KeyElement| {
        KeySchemaElement::builder()
            .attribute_name(&element.attribute_name)
            .key_type(KeyType::from(element.key_type.as_str()))
            .build()
            .map_err(|error| DeployError::engine(name, &error))
    };
    elements.iter().map(element).collect()
}

async fn wait_until_active(client: &Client, name: &str) -> Result<(), DeployError> {
    for _ in 0..MAX_POLLS {
        let response = client.describe_table().table_name(name).send().await;
        let response = response.map_err(|error| DeployError::engine(name, &error))?;
        if response.table().and_then(|table| table.table_status()) == Some(&TableStatus::Active) {
            return Ok(());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Err(DeployError::response(name, "the table did not become active"))
}

async fn enable_ttl(client: &Client, name: &str, attribute: &str) -> Result<(), DeployError> {
    let wanted = TimeToLiveSpecification::builder().enabled(true).attribute_name(attribute).build();
    let wanted = wanted.map_err(|error| DeployError::engine(name, &error))?;
    let set = client
        .update_time_to_live()
        .table_name(name)
        .time_to_live_specification(wanted)
        .send()
        .await;
    set.map(|_| ()).map_err(|error| DeployError::engine(name, &error))
}
