//! What became of an authorization that was begun a quarter of an hour ago, or failed just now.

use crate::{OrderError, Reconciler};

impl Reconciler {
    pub(crate) async fn finish_connect(&self, exchange: &str) -> Result<(), OrderError> {
        // No exchange: Zoom refused, or somebody else was here.
        let Some(item) = self.sessions.exchange(exchange).await? else {
            return Ok(());
        };
        let app_user = item.app_user.clone();
        if let Some(zoom_user) = self.grants.finish_exchange(exchange, item).await? {
            let waits = self
                .grants
                .expire_pending_link(&zoom_user, app_user)
                .await?;
            if waits {
                // This order was sent because something had failed. The one that was sent ahead comes when
                // the claim has expired, and has to find whose link it is.
                return Ok(());
            }
        }
        Ok(self.sessions.delete_exchange(exchange).await?)
    }
}
