use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, Delete, GlobalSecondaryIndex,
        KeySchemaElement, KeyType, Projection, ProjectionType, Put,
        ReturnValuesOnConditionCheckFailure, ScalarAttributeType, TableStatus,
        TimeToLiveSpecification, TransactWriteItem,
    },
};

use crate::cloud::{Cloud, code, fresh};

fn s(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn n(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// Key (`pk`, `sk`), index `by-user` (`user`, `sk`).
async fn table(dynamodb: &Client) -> String {
    let name = fresh("table");
    let attribute = |name: &str| {
        let definition = AttributeDefinition::builder().attribute_name(name);
        definition
            .attribute_type(ScalarAttributeType::S)
            .build()
            .unwrap()
    };
    let key = |name: &str, kind| {
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(kind)
            .build()
            .unwrap()
    };
    let index = GlobalSecondaryIndex::builder()
        .index_name("by-user")
        .key_schema(key("user", KeyType::Hash))
        .key_schema(key("sk", KeyType::Range))
        .projection(
            Projection::builder()
                .projection_type(ProjectionType::All)
                .build(),
        )
        .build()
        .unwrap();
    dynamodb
        .create_table()
        .table_name(&name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute("pk"))
        .attribute_definitions(attribute("sk"))
        .attribute_definitions(attribute("user"))
        .key_schema(key("pk", KeyType::Hash))
        .key_schema(key("sk", KeyType::Range))
        .global_secondary_indexes(index)
        .send()
        .await
        .unwrap();
    loop {
        let described = dynamodb
            .describe_table()
            .table_name(&name)
            .send()
            .await
            .unwrap();
        if described.table().unwrap().table_status() == Some(&TableStatus::Active) {
            return name;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_conditional_put_that_fails_shows_what_is_there() {
    let cloud = Cloud::start().await;
    let dynamodb = cloud.dynamodb();
    let table = table(&dynamodb).await;
    let put = |value: &str| {
        let put = dynamodb
            .put_item()
            .table_name(&table)
            .item("pk", s("p"))
            .item("sk", s("s"));
        put.item("v", s(value))
            .condition_expression("attribute_not_exists(pk)")
    };
    put("1").send().await.unwrap();
    let refused = put("2")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    let error = refused.send().await.unwrap_err().into_service_error();
    let aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(error) =
        error
    else {
        panic!("another error: {error:?}");
    };
    assert_eq!(error.item().unwrap()["v"], s("1"));
}

#[tokio::test]
async fn of_many_writers_one_wins_each_version() {
    let cloud = Cloud::start().await;
    let dynamodb = cloud.dynamodb();
    let table = table(&dynamodb).await;
    let put = dynamodb
        .put_item()
        .table_name(&table)
        .item("pk", s("p"))
        .item("sk", s("s"));
    put.item("version", n(0)).send().await.unwrap();
    let writers: Vec<_> = (0..20)
        .map(|_| {
            let update = dynamodb
                .update_item()
                .table_name(&table)
                .key("pk", s("p"))
                .key("sk", s("s"));
            let update = update
                .update_expression("SET version = :new")
                .condition_expression("version = :old")
                .expression_attribute_values(":new", n(1))
                .expression_attribute_values(":old", n(0));
            tokio::spawn(update.send())
        })
        .collect();
    let mut winners = 0;
    for writer in writers {
        winners += usize::from(writer.await.unwrap().is_ok());
    }
    assert_eq!(winners, 1);
}

#[tokio::test]
async fn a_cancelled_transaction_says_why_and_changes_nothing() {
    let cloud = Cloud::start().await;
    let dynamodb = cloud.dynamodb();
    let table = table(&dynamodb).await;
    let item = dynamodb
        .put_item()
        .table_name(&table)
        .item("pk", s("p"))
        .item("sk", s("old"));
    item.item("generation", n(7)).send().await.unwrap();
    let put = Put::builder()
        .table_name(&table)
        .item("pk", s("p"))
        .item("sk", s("new"))
        .build()
        .unwrap();
    let delete = Delete::builder()
        .table_name(&table)
        .key("pk", s("p"))
        .key("sk", s("old"))
        .condition_expression("generation = :g")
        .expression_attribute_values(":g", n(6))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build()
        .unwrap();
    let error = dynamodb
        .transact_write_items()
        .transact_items(TransactWriteItem::builder().put(put).build())
        .transact_items(TransactWriteItem::builder().delete(delete).build())
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
    let TransactWriteItemsError::TransactionCanceledException(error) = error else {
        panic!("another error: {error:?}");
    };
    let reasons = error.cancellation_reasons();
    let codes: Vec<_> = reasons
        .iter()
        .map(|reason| reason.code().unwrap())
        .collect();
    assert_eq!(codes, ["None", "ConditionalCheckFailed"]);
    assert_eq!(reasons[1].item().unwrap()["generation"], n(7));
    let new = dynamodb
        .get_item()
        .table_name(&table)
        .key("pk", s("p"))
        .key("sk", s("new"));
    assert!(new.send().await.unwrap().item.is_none());
}

#[tokio::test]
async fn an_index_holds_items_that_have_its_key() {
    let cloud = Cloud::start().await;
    let dynamodb = cloud.dynamodb();
    let table = table(&dynamodb).await;
    for sk in ["3", "1", "2"] {
        let put = dynamodb
            .put_item()
            .table_name(&table)
            .item("pk", s(sk))
            .item("sk", s(sk));
        put.item("user", s("u")).send().await.unwrap();
    }
    let put = dynamodb
        .put_item()
        .table_name(&table)
        .item("pk", s("4"))
        .item("sk", s("4"));
    put.send().await.unwrap();
    let query = || {
        let query = dynamodb.query().table_name(&table).index_name("by-user");
        query
            .key_condition_expression("#u = :u")
            .expression_attribute_names("#u", "user")
            .expression_attribute_values(":u", s("u"))
    };
    let mut start = None;
    let mut seen = Vec::new();
    loop {
        let page = query()
            .limit(2)
            .set_exclusive_start_key(start)
            .scan_index_forward(false);
        let page = page.send().await.unwrap();
        seen.extend(
            page.items()
                .iter()
                .map(|item| item["sk"].as_s().unwrap().clone()),
        );
        start = page.last_evaluated_key;
        if start.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["3", "2", "1"]);
}

#[tokio::test]
async fn expired_items_go_when_swept() {
    let cloud = Cloud::start().await;
    if std::env::var_os("EMBEDDED_AWS_TEST_DYNAMODB_ENDPOINT").is_some() {
        return;
    }
    let dynamodb = cloud.dynamodb();
    let table = table(&dynamodb).await;
    let ttl = TimeToLiveSpecification::builder()
        .enabled(true)
        .attribute_name("expires");
    let update = dynamodb.update_time_to_live().table_name(&table);
    update
        .time_to_live_specification(ttl.build().unwrap())
        .send()
        .await
        .unwrap();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    for (sk, expires) in [("past", now - 10), ("future", now + 3600)] {
        let put = dynamodb
            .put_item()
            .table_name(&table)
            .item("pk", s("p"))
            .item("sk", s(sk));
        put.item("expires", n(expires)).send().await.unwrap();
    }
    let all = || dynamodb.scan().table_name(&table);
    assert_eq!(all().send().await.unwrap().count(), 2, "late, as AWS is");
    assert_eq!(cloud.engines.sweep_expired().unwrap(), 1);
    let left = all().send().await.unwrap();
    assert_eq!(left.items()[0]["sk"], s("future"));
}

#[tokio::test]
async fn a_missing_table_is_told() {
    let cloud = Cloud::start().await;
    let get = cloud
        .dynamodb()
        .get_item()
        .table_name("none")
        .key("pk", s("p"))
        .key("sk", s("s"));
    assert_eq!(code(get.send().await), "ResourceNotFoundException");
}
