use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::{
    Client,
    operation::{
        get_item::builders::GetItemFluentBuilder,
        put_item::{PutItemError, builders::PutItemFluentBuilder},
        transact_write_items::TransactWriteItemsError,
    },
    types::{
        AttributeDefinition, AttributeValue, BillingMode, Delete, GlobalSecondaryIndex,
        KeySchemaElement, KeyType, Projection, ProjectionType, Put,
        ReturnValuesOnConditionCheckFailure, ScalarAttributeType, TableStatus,
        TimeToLiveSpecification, TransactWriteItem,
    },
};

use crate::cloud::{Cloud, code, fresh};

pub(crate) fn s(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(crate) fn n(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(crate) struct Table {
    pub(crate) client: Client,
    pub(crate) name: String,
}

impl Table {
    /// Creates a table with the key (`pk`, `sk`) and the index `by-user` (`user`, `sk`).
    pub(crate) async fn create(client: Client) -> Self {
        let name = fresh("table");
        let attribute = |name: &str| {
            let definition = AttributeDefinition::builder().attribute_name(name);
            let definition = definition.attribute_type(ScalarAttributeType::S);
            definition.build().unwrap()
        };
        let key = |name: &str, kind| {
            let element = KeySchemaElement::builder().attribute_name(name);
            element.key_type(kind).build().unwrap()
        };
        let projection = Projection::builder().projection_type(ProjectionType::All);
        let index = GlobalSecondaryIndex::builder()
            .index_name("by-user")
            .key_schema(key("user", KeyType::Hash))
            .key_schema(key("sk", KeyType::Range))
            .projection(projection.build())
            .build()
            .unwrap();
        client
            .create_table()
            .table_name(&name)
            .billing_mode(BillingMode::PayPerRequest)
            .set_attribute_definitions(Some(["pk", "sk", "user"].map(attribute).to_vec()))
            .key_schema(key("pk", KeyType::Hash))
            .key_schema(key("sk", KeyType::Range))
            .global_secondary_indexes(index)
            .send()
            .await
            .unwrap();
        loop {
            let described = client.describe_table().table_name(&name).send().await;
            let table = described.unwrap().table.unwrap();
            if table.table_status() == Some(&TableStatus::Active) {
                return Self { client, name };
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn put(&self, pk: &str, sk: &str) -> PutItemFluentBuilder {
        let put = self.client.put_item().table_name(&self.name);
        put.item("pk", s(pk)).item("sk", s(sk))
    }

    pub(crate) fn get(&self, pk: &str, sk: &str) -> GetItemFluentBuilder {
        let get = self.client.get_item().table_name(&self.name);
        get.key("pk", s(pk)).key("sk", s(sk))
    }
}

#[tokio::test]
async fn failed_condition_returns_the_existing_item() {
    let cloud = Cloud::start().await;
    let table = Table::create(cloud.dynamodb()).await;
    let put = |value: &str| {
        let put = table.put("p", "s").item("v", s(value));
        put.condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    };
    put("1").send().await.unwrap();
    let error = put("2").send().await.unwrap_err().into_service_error();
    let PutItemError::ConditionalCheckFailedException(error) = error else {
        panic!("another error: {error:?}");
    };
    assert_eq!(error.item().unwrap()["v"], s("1"));
}

#[tokio::test]
async fn one_of_many_concurrent_writers_succeeds() {
    let cloud = Cloud::start().await;
    let table = Table::create(cloud.dynamodb()).await;
    let put = table.put("p", "s").item("version", n(0));
    put.send().await.unwrap();
    let updates = (0..20).map(|_| {
        let update = table.client.update_item().table_name(&table.name);
        update
            .key("pk", s("p"))
            .key("sk", s("s"))
            .update_expression("SET version = :new")
            .condition_expression("version = :old")
            .expression_attribute_values(":new", n(1))
            .expression_attribute_values(":old", n(0))
            .send()
    });
    let results = futures_util::future::join_all(updates).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
}

#[tokio::test]
async fn cancelled_transaction_gives_reasons_and_changes_nothing() {
    let cloud = Cloud::start().await;
    let table = Table::create(cloud.dynamodb()).await;
    let put = table.put("p", "old").item("generation", n(7));
    put.send().await.unwrap();
    let put = Put::builder().table_name(&table.name);
    let put = put.item("pk", s("p")).item("sk", s("new")).build().unwrap();
    let delete = Delete::builder()
        .table_name(&table.name)
        .key("pk", s("p"))
        .key("sk", s("old"))
        .condition_expression("generation = :g")
        .expression_attribute_values(":g", n(6))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build()
        .unwrap();
    let write = table.client.transact_write_items();
    let write = write
        .transact_items(TransactWriteItem::builder().put(put).build())
        .transact_items(TransactWriteItem::builder().delete(delete).build());
    let error = write.send().await.unwrap_err().into_service_error();
    let TransactWriteItemsError::TransactionCanceledException(error) = error else {
        panic!("another error: {error:?}");
    };
    let reasons = error.cancellation_reasons();
    let codes: Vec<_> = reasons.iter().map(|reason| reason.code().unwrap()).collect();
    assert_eq!(codes, ["None", "ConditionalCheckFailed"]);
    assert_eq!(reasons[1].item().unwrap()["generation"], n(7));
    let new = table.get("p", "new").send().await.unwrap();
    assert!(new.item.is_none());
}

#[tokio::test]
async fn index_pages_over_items_that_have_its_key() {
    let cloud = Cloud::start().await;
    let table = Table::create(cloud.dynamodb()).await;
    for sk in ["3", "1", "2"] {
        let put = table.put(sk, sk).item("user", s("u"));
        put.send().await.unwrap();
    }
    table.put("4", "4").send().await.unwrap();
    let mut start = None;
    let mut seen = Vec::new();
    loop {
        let query = table.client.query().table_name(&table.name);
        let page = query
            .index_name("by-user")
            .key_condition_expression("#u = :u")
            .expression_attribute_names("#u", "user")
            .expression_attribute_values(":u", s("u"))
            .limit(2)
            .set_exclusive_start_key(start)
            .scan_index_forward(false);
        let page = page.send().await.unwrap();
        let keys = page.items().iter().map(|item| item["sk"].clone());
        seen.extend(keys);
        start = page.last_evaluated_key;
        if start.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["3", "2", "1"].map(s));
}

#[tokio::test]
async fn expired_items_are_deleted_on_demand() {
    let cloud = Cloud::embedded(1).await;
    let table = Table::create(cloud.dynamodb()).await;
    let ttl = TimeToLiveSpecification::builder().enabled(true);
    let ttl = ttl.attribute_name("expires").build().unwrap();
    let update = table.client.update_time_to_live().table_name(&table.name);
    let update = update.time_to_live_specification(ttl);
    update.send().await.unwrap();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    for (sk, expires) in [("past", -10), ("future", 3600)] {
        let expires = n(since.as_secs().saturating_add_signed(expires));
        let put = table.put("p", sk).item("expires", expires);
        put.send().await.unwrap();
    }
    let scan = || table.client.scan().table_name(&table.name).send();
    assert_eq!(scan().await.unwrap().count(), 2, "not deleted on expiry");
    assert_eq!(cloud.engines.time_to_live().delete_expired_items().unwrap(), 1);
    let left = scan().await.unwrap();
    assert_eq!(left.items()[0]["sk"], s("future"));
}

#[tokio::test]
async fn capacity_meter_counts_tables_and_indexes() {
    let cloud = Cloud::embedded(1).await;
    let table = Table::create(cloud.dynamodb()).await;
    let put = || table.put("p", "s").item("user", s("u"));
    put().send().await.unwrap();
    let meter = cloud.engines.capacity_meter();
    assert_eq!(meter.consumed().written, 0.0, "not started");
    meter.start();
    table.put("p", "other").item("user", s("u")).send().await.unwrap();
    let conflict = put().condition_expression("attribute_not_exists(pk)");
    conflict.send().await.unwrap_err();
    table.get("p", "s").consistent_read(true).send().await.unwrap();
    let consumed = meter.consumed();
    assert_eq!(consumed.written, 3.0, "table, index, failed condition");
    assert_eq!(consumed.read, 1.0);
    let index = format!("{}/by-user", table.name);
    assert_eq!(consumed.by_index[&index], 1.0);
}

#[tokio::test]
async fn absent_table_is_reported() {
    let cloud = Cloud::start().await;
    let table = Table { client: cloud.dynamodb(), name: "absent".to_owned() };
    let got = table.get("p", "s").send().await;
    assert_eq!(code(got), "ResourceNotFoundException");
}
