//! The feed: an app user's notifications in the order in which they were written.

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::cursor::{self, FeedPosition};
use reelay_domain::ids::AppUserId;
use reelay_domain::link::Link;
use reelay_runtime::http::query::Query;
use reelay_runtime::http::response::{self, Problem};
use reelay_runtime::http::{Body, Response};
use reelay_store::notifications::{FEED_DELAY, FEED_TTL, FeedRow};
use serde::Serialize;
use serde_json::Value;

use crate::recordings::limit;
use crate::{ApiError, AppApi};

/// Number of rows per read. Hidden rows are read too.
const ROWS_PER_READ: usize = 100;

/// Maximum number of reads of one request. A page may therefore be shorter than `limit`; its cursor continues.
const MAX_READS: usize = 10;

/// Bytes of notifications after which a page ends. Lambda's responses have at most 6 MB.
const MAX_PAGE_BYTES: usize = 3_000_000;

#[derive(Serialize)]
struct Page {
    notifications: Vec<Value>,
    next_cursor: String,
}

impl AppApi {
    /// Lists one page, oldest first. The last page has a cursor too, so that the app can poll with it.
    pub(crate) async fn list_notifications(
        &self,
        user: &AppUserId,
        query: &Query,
    ) -> Result<Response<Body>, ApiError> {
        let limit = limit(query)?;
        let now = self.clock.now();
        let first = FeedPosition::at(before(now, FEED_TTL));
        let until = before(now, FEED_DELAY);
        let mut position = match query.single("cursor").map_err(|_| Problem::CursorInvalid)? {
            None => first,
            Some(text) => {
                let position = self.open_feed_cursor(user, text).await?;
                if position.after < first.after {
                    return Err(Problem::CursorExpired.into());
                }
                position
            }
        };
        let (mut notifications, mut bytes) = (Vec::new(), 0);
        let mut links: Option<Vec<Link>> = None;
        'reads: for _ in 0..MAX_READS {
            let table = self.notifications.table();
            let (rows, is_end) = table.page(user, &position, until, ROWS_PER_READ).await?;
            for row in rows {
                if notifications.len() == limit || bytes > MAX_PAGE_BYTES {
                    break 'reads;
                }
                position.clone_from(&row.position);
                if row.notification.recording_id.is_some() && links.is_none() {
                    links = Some(self.links.visible_links(user).await?);
                }
                if is_shown(&row, links.as_deref().unwrap_or_default()) {
                    let body = row.notification.body_with_id();
                    bytes += body.len();
                    // Reelay wrote the body: it always parses.
                    notifications.extend(serde_json::from_str::<Value>(&body));
                }
            }
            if is_end {
                // All rows before `until` have been read, even if there are none.
                position = position.max(FeedPosition::at(until));
                break;
            }
        }
        let next_cursor = cursor::encode_feed(&self.state_key.versions().await?, user, &position);
        Ok(response::json(StatusCode::OK, &Page { notifications, next_cursor }))
    }

    async fn open_feed_cursor(
        &self,
        user: &AppUserId,
        text: &str,
    ) -> Result<FeedPosition, ApiError> {
        let decoded = self
            .state_key
            .verify_with_reread(|keys| cursor::decode_feed(keys, user, text), |_| true)
            .await?;
        Ok(decoded.map_err(|_| Problem::CursorInvalid)?)
    }
}

/// Notifications about recordings are shown only while a link covers them.
fn is_shown(row: &FeedRow, links: &[Link]) -> bool {
    let FeedRow { notification, stamp, .. } = row;
    notification.recording_id.is_none()
        || links.iter().any(|link| link.covers_notification(&notification.zoom_user, *stamp))
}

fn before(now: Timestamp, duration: SignedDuration) -> Timestamp {
    now.checked_sub(duration).unwrap_or(Timestamp::MIN)
}
