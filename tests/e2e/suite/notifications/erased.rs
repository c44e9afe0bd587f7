//! An erasure removes rows and guards.

use jiff::SignedDuration;
use support::zoom_users::{ADA, BEN};

use super::{linked, one_file};

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
    assert_eq!(traces().await, 0);
    let bobs = system.table_items(&table).await;
    assert!(bobs.iter().any(|item| item.contains("bob")), "{bobs:?}");
}
