//! Reads that lag behind writes, and conflicts of transactions. These tests run on the embedded engines only.

use std::time::Duration;

use aws_sdk_dynamodb::{
    config::timeout::TimeoutConfig,
    error::SdkError,
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, ConditionCheck, Put, TransactWriteItem},
};
use reelay_embedded_aws::{Fault, LaggingReads, Service};

use crate::{
    cloud::{Cloud, code, status},
    dynamodb::{Table, n, s},
};

const MAX_CALLS: u64 = 10;

/// The versions of a user's items in the index, by sort key.
async fn indexed(table: &Table, user: &str) -> Vec<AttributeValue> {
    let query = table.client.query().table_name(&table.name).index_name("by-user");
    let query = query
        .key_condition_expression("#u = :u")
        .expression_attribute_names("#u", "user")
        .expression_attribute_values(":u", s(user));
    let page = query.send().await.unwrap();
    page.items().iter().map(|item| item["version"].clone()).collect()
}

/// A table with an item of the user `before` when the lag starts.
async fn lagging(cloud: &Cloud, reads: LaggingReads, seed: u64) -> Table {
    let table = Table::create(cloud.dynamodb()).await;
    table.put("p", "s").item("user", s("before")).item("version", n(0)).send().await.unwrap();
    cloud.engines.read_lag().start(reads, seed, MAX_CALLS).unwrap();
    table
}

#[tokio::test]
async fn index_lags_by_a_seeded_number_of_calls() {
    let mut lags = Vec::new();
    for seed in [1, 1, 2, 3, 4, 5] {
        let cloud = Cloud::embedded(1).await;
        let table = lagging(&cloud, LaggingReads::Indexes, seed).await;
        assert_eq!(indexed(&table, "before").await, [n(0)]);
        table.put("p", "s").item("user", s("after")).item("version", n(1)).send().await.unwrap();
        let item = table.get("p", "s").send().await.unwrap().item.unwrap();
        assert_eq!(item["version"], n(1), "reads of the table do not lag");
        let mut lag = 0;
        while indexed(&table, "before").await == [n(0)] {
            lag += 1;
        }
        assert_eq!(indexed(&table, "after").await, [n(1)]);
        lags.push(lag);
    }
    assert_eq!(lags[0], lags[1], "same seed");
    assert!(lags.iter().all(|lag| *lag <= MAX_CALLS));
    assert!(lags.iter().any(|lag| *lag > 0) && lags.iter().any(|lag| *lag != lags[0]), "{lags:?}");
}

#[tokio::test]
async fn every_kind_of_write_reaches_the_index() {
    let cloud = Cloud::embedded(1).await;
    let table = lagging(&cloud, LaggingReads::Indexes, 1).await;
    let lag = cloud.engines.read_lag();
    let put = Put::builder().table_name(&table.name).item("pk", s("p")).item("sk", s("t"));
    let put = put.item("user", s("before")).item("version", n(7)).build().unwrap();
    let write = table.client.transact_write_items();
    let write = write.transact_items(TransactWriteItem::builder().put(put).build());
    write.send().await.unwrap();
    let update = table.client.update_item().table_name(&table.name);
    let update = update.key("pk", s("p")).key("sk", s("s")).update_expression("SET version = :v");
    update.expression_attribute_values(":v", n(8)).send().await.unwrap();
    lag.settle();
    assert_eq!(indexed(&table, "before").await, [n(8), n(7)]);
    for sk in ["s", "t"] {
        let delete = table.client.delete_item().table_name(&table.name);
        delete.key("pk", s("p")).key("sk", s(sk)).send().await.unwrap();
    }
    lag.settle();
    assert_eq!(indexed(&table, "before").await, []);

    let created = Table::create(cloud.dynamodb()).await;
    created.put("p", "s").item("user", s("u")).item("version", n(1)).send().await.unwrap();
    lag.stop();
    assert_eq!(indexed(&created, "u").await, [n(1)]);
}

#[tokio::test]
async fn changes_of_one_item_keep_their_order() {
    let cloud = Cloud::embedded(1).await;
    let table = lagging(&cloud, LaggingReads::Indexes, 9).await;
    let mut last = n(0);
    for version in 10..40 {
        let put = table.put("p", "s").item("user", s("before")).item("version", n(version));
        put.send().await.unwrap();
        let seen = indexed(&table, "before").await;
        assert!(seen[0].as_n().ok() >= last.as_n().ok(), "{seen:?} after {last:?}");
        last = seen[0].clone();
    }
}

#[tokio::test]
async fn inconsistent_read_lags_if_requested() {
    let cloud = Cloud::embedded(1).await;
    let table = lagging(&cloud, LaggingReads::All, 1).await;
    let mut stale = 0;
    for version in 1..20 {
        table.put("p", "s").item("version", n(version)).send().await.unwrap();
        let consistent = table.get("p", "s").consistent_read(true).send().await.unwrap();
        assert_eq!(consistent.item.unwrap()["version"], n(version));
        let eventual = table.get("p", "s").send().await.unwrap();
        stale += u32::from(eventual.item.unwrap()["version"] != n(version));
    }
    assert!(stale > 0);
}

#[tokio::test]
async fn transaction_conflict_rejects_writes() {
    let cloud = Cloud::embedded(3).await;
    let table = Table::create(cloud.dynamodb()).await;
    let faults = cloud.engines.faults();
    let conflict = |item| {
        faults.fail_until_cleared(Service::DynamoDb, "*", Fault::transaction_conflict(item));
    };
    conflict(0);
    assert_eq!(code(table.put("p", "s").send().await), "TransactionConflictException");
    assert_eq!(status(table.put("p", "s").send().await), 400);
    assert_eq!(faults.calls(Service::DynamoDb, "PutItem"), 2, "the SDK does not retry it");
    assert!(table.get("p", "s").send().await.unwrap().item.is_none(), "reads do not conflict");

    conflict(3);
    let check = ConditionCheck::builder().table_name(&table.name).key("pk", s("p"));
    let check = check.key("sk", s("s")).condition_expression("attribute_not_exists(pk)");
    let put = Put::builder().table_name(&table.name).item("pk", s("p")).item("sk", s("t"));
    let write = table.client.transact_write_items();
    let check = TransactWriteItem::builder().condition_check(check.build().unwrap()).build();
    let put = TransactWriteItem::builder().put(put.build().unwrap()).build();
    let write = write.transact_items(check).transact_items(put);
    let error = write.clone().send().await.unwrap_err().into_service_error();
    let TransactWriteItemsError::TransactionCanceledException(error) = error else {
        panic!("another error: {error:?}");
    };
    let reasons = error.cancellation_reasons().iter();
    let codes: Vec<_> = reasons.map(|reason| reason.code().unwrap()).collect();
    assert_eq!(codes, ["None", "TransactionConflict"]);
    assert_eq!(faults.calls(Service::DynamoDb, "TransactWriteItems"), 1);
    assert!(table.get("p", "t").send().await.unwrap().item.is_none());
    faults.clear_all();
    write.send().await.unwrap();
}

#[tokio::test]
async fn hanging_call_ends_by_the_clients_timeout() {
    let cloud = Cloud::embedded(1).await;
    let table = Table::create(cloud.dynamodb()).await;
    let timeout = TimeoutConfig::builder().operation_timeout(Duration::from_secs(1)).build();
    let client = aws_sdk_dynamodb::Client::from_conf(
        cloud.dynamodb_config().timeout_config(timeout).build(),
    );
    let faults = cloud.engines.faults();
    for (sk, fault, is_written) in
        [("a", Fault::hang(), false), ("b", Fault::hang().after_effect(), true)]
    {
        faults.fail_next(Service::DynamoDb, "PutItem", 1, fault);
        let put = client.put_item().table_name(&table.name);
        let error = put.item("pk", s("p")).item("sk", s(sk)).send().await.unwrap_err();
        assert!(matches!(error, SdkError::TimeoutError(_)), "{error:?}");
        let written = table.get("p", sk).send().await.unwrap().item.is_some();
        assert_eq!(written, is_written);
    }
}
