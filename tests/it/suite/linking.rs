//! Linking, as it goes well.

use it::System;
use it::people::ADA;

#[tokio::test]
async fn a_user_links_zoom_and_the_app_confirms() {
    let system = System::start().await;
    let link = system.link("alice", ADA).await;
    assert_eq!(link["status"], "active");
    assert_eq!(link["zoom"]["user_id"], ADA);
    assert_eq!(system.app.links("alice").await, [link]);
}
