//! An erasure removes rows and guards, but for `link.removed`, which contains ids alone.

use jiff::SignedDuration;
use serde_json::{Value, json};
use support::zoom_users::{ADA, BEN};

use super::{feed, linked, one_file};

#[tokio::test]
async fn erasure_removes_rows_and_guards_of_the_zoom_user() {
    let (system, _) = linked(&[("EraseAfterUnlinkDays", "1")]).await;
    system.link("bob", BEN).await;
    system.record(one_file()).await;
    let table = system.tables().notifications.clone();
    let traces = async || {
        let items = system.table_items(&table).await;
        items.into_iter().filter(|item| item.contains("alice") || item.contains(ADA)).count()
    };
    assert_eq!(traces().await, 8, "a row and a guard of each notification");
    system.app.disconnect_all("alice").await;
    system.process_queues().await;
    assert_eq!(traces().await, 4, "those of the link");
    system.advance(SignedDuration::from_hours(25));
    system.run_maintenance().await;
    let kept = system.table_items(&table).await;
    let kept: Vec<_> = kept.iter().filter(|item| item.contains("alice")).collect();
    assert_eq!(kept.len(), 2, "the row and the guard of its end");
    assert!(
        kept.iter().all(|item| item.contains("is_link_removed") || item.contains("link.removed"))
    );
    let bobs = system.table_items(&table).await;
    assert!(bobs.iter().any(|item| item.contains("bob")), "{bobs:?}");
}

#[tokio::test]
async fn link_removed_is_delivered_after_the_erasure() {
    let (system, app_webhook) = linked(&[("EraseAfterUnlinkDays", "0")]).await;
    system.record(one_file()).await;
    let link = system.app.links("alice").await[0].clone();
    app_webhook.respond_next([400; 1_000]);
    system.app.disconnect_all("alice").await;
    system.process_queues().await;
    system.advance(SignedDuration::from_hours(25));
    system.run_maintenance().await;
    assert_eq!(system.list_objects().await, [], "erased");

    let notifications = feed(&system, "alice").await;
    let [removed] = &notifications[..] else { panic!("{notifications:?}") };
    let ended = &removed["data"]["link"];
    assert_eq!((&ended["id"], &ended["status"]), (&link["id"], &json!("removed")));
    assert_eq!(ended["removed_reason"], "disconnected");
    assert!(ended["erase_at"].is_string(), "{ended}");
    for (field, value) in ended["zoom"].as_object().unwrap() {
        let is_id = field == "account_id" || field == "user_id";
        assert_eq!(
            *value,
            if is_id { link["zoom"][field].clone() } else { Value::Null },
            "{field}"
        );
    }
    app_webhook.recover();
    system.advance(SignedDuration::from_hours(4));
    system.run_maintenance().await;
    let last = app_webhook.received().pop().unwrap();
    assert_eq!((last.status, last.json()["type"].as_str()), (204, Some("link.removed")));
    assert_eq!(feed(&system, "alice").await, notifications);
}
