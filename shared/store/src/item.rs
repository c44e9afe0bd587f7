//! Conversion between DynamoDB items or attribute values and Rust types.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use reelay_domain::ids::ZoomUser;
use reelay_runtime::AwsError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_dynamo::aws_sdk_dynamodb_1 as serde_item;

pub(crate) type Item = HashMap<String, AttributeValue>;

/// Serializes a value as an item with the given key attributes.
pub(crate) fn to_item<T: Serialize, const N: usize>(
    table: &'static str,
    key: [(&str, String); N],
    value: &T,
) -> Result<Item, AwsError> {
    let mut item: Item = serde_item::to_item(value)
        .map_err(|_| AwsError::unexpected_response(table, "failed to serialize an item"))?;
    item.extend(key.map(|(name, value)| (name.to_owned(), AttributeValue::S(value))));
    Ok(item)
}

/// Deserializes an item. Stored items are input too, so the error names the table and the cause.
pub(crate) fn from_item<T: DeserializeOwned>(
    table: &'static str,
    item: Item,
) -> Result<T, AwsError> {
    serde_item::from_item(item).map_err(|error| {
        AwsError::unexpected_response(table, format!("failed to deserialize an item: {error}"))
    })
}

/// Serializes a value as the attributes of an update: the expression `SET …` and its placeholders.
pub(crate) fn set_attributes<T: Serialize>(
    table: &'static str,
    mut update: UpdateItemFluentBuilder,
    value: &T,
) -> Result<(String, UpdateItemFluentBuilder), AwsError> {
    let attributes = to_item(table, [], value)?;
    let mut assignments = Vec::with_capacity(attributes.len());
    for (index, (name, value)) in attributes.into_iter().enumerate() {
        assignments.push(format!("#n{index} = :v{index}"));
        update = update
            .expression_attribute_names(format!("#n{index}"), name)
            .expression_attribute_values(format!(":v{index}"), value);
    }
    Ok((format!("SET {}", assignments.join(", ")), update))
}

/// Serializes a value as an attribute.
pub(crate) fn to_attribute<T: Serialize>(value: &T) -> Result<AttributeValue, AwsError> {
    serde_item::to_attribute_value(value)
        .map_err(|_| AwsError::unexpected_response("DynamoDB", "failed to serialize an attribute"))
}

pub(crate) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(crate) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The string attribute of an item, or `None` if it is absent or of another type.
pub(crate) fn text_of<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// The Zoom user in an item's `zoom_user` attribute.
pub(crate) fn zoom_user_of(table: &'static str, item: &Item) -> Result<ZoomUser, AwsError> {
    text_of(item, "zoom_user")
        .and_then(|key| ZoomUser::from_key(key).ok())
        .ok_or_else(|| AwsError::unexpected_response(table, "an item has an invalid zoom_user"))
}
