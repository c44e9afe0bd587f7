//! Links: confirmed, given up, and what they bring with them.

use http::StatusCode;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::claim::Claim;
use reelay_domain::ids::{AppUserId, LinkId, ZoomUser};
use reelay_domain::link::{GrantChange, GrantStatus, Link};
use reelay_domain::message::{Job, JobMessage, SchemaV1};
use reelay_runtime::http::response::{self, Problem};
use reelay_runtime::http::{Body, Response};
use reelay_store::links::Confirmation;
use serde::Deserialize;
use serde_json::json;

use crate::{ApiError, AppApi};

/// What completed this long before the consent may have been announced to nobody: Zoom's events about
/// hosts who are not linked are not kept.
const BEFORE_CONSENT: SignedDuration = SignedDuration::from_hours(48);

/// Zoom keeps no more than this in its lists, as far as is known; it bounds what one call can order.
const LONGEST_BACKFILL: SignedDuration = SignedDuration::from_hours(24 * 366);

/// The order that is sent before a link is given up, so that no crash leaves a grant without an end.
const END_AFTER_SECONDS: i32 = 60;

#[derive(Deserialize)]
struct ConfirmRequest {
    claim: String,
}

#[derive(Deserialize)]
struct BackfillRequest {
    from: Date,
    to: Date,
}

impl AppApi {
    /// The last step of linking, and the one that proves who sits there: the app vouches, by the token of
    /// the user in whose session the claim arrived.
    pub(crate) async fn confirm_link(
        &self,
        user: &AppUserId,
        body: &Body,
    ) -> Result<Response<Body>, ApiError> {
        let request: ConfirmRequest = serde_json::from_slice(body.as_ref())
            .map_err(|_| Problem::RequestInvalid("The body must be JSON: {\"claim\": \"…\"}."))?;
        // A text that can't be a claim is as unknown as one that is none.
        let claim = Claim::parse(&request.claim).ok_or(Problem::ClaimExpired)?;
        let now = self.clock.now();
        let item = self
            .sessions
            .find_claim(&claim, now)
            .await?
            .ok_or(Problem::ClaimExpired)?;
        if item.app_user != *user {
            // Whoever brought it here, it is in the wrong hands: nobody shall use it.
            self.sessions.invalidate_claim(&claim).await?;
            return Err(Problem::ClaimBelongsToAnotherUser.into());
        }
        let zoom_user = item.zoom_user.clone();
        match self
            .links
            .confirm(&self.sessions, &claim, item, now)
            .await?
        {
            Confirmation::Expired => Err(Problem::ClaimExpired.into()),
            Confirmation::Active(link, outbox) => {
                self.links
                    .publish_outbox(&self.notifications, &zoom_user, &outbox)
                    .await?;
                self.order_what_was_missed(&link, now).await?;
                Ok(response::json(StatusCode::OK, &link.view()))
            }
        }
    }

    /// What completed before anybody listened, read from Zoom.
    async fn order_what_was_missed(&self, link: &Link, now: Timestamp) -> Result<(), ApiError> {
        let days = SignedDuration::from_hours(24)
            .saturating_mul(i32::try_from(self.backfill_days).unwrap_or(i32::MAX));
        let since = now.checked_sub(days.max(BEFORE_CONSENT)).unwrap_or(now);
        self.order_backfill(&link.zoom_user, utc_date(since), utc_date(now))
            .await
    }

    /// Gives up a link. `204` also when it is gone already; another user's is not found.
    pub(crate) async fn disconnect(
        &self,
        user: &AppUserId,
        id: Option<LinkId>,
    ) -> Result<Response<Body>, ApiError> {
        let id = id
            .filter(|id| id.belongs_to(user))
            .ok_or(Problem::LinkNotFound)?;
        let links = self.links.visible_links(user).await?;
        if let Some(link) = links.into_iter().find(|link| link.id == id) {
            let end = JobMessage {
                v: SchemaV1,
                job: Job::RevokeGrant {
                    zoom_user: link.zoom_user.clone(),
                },
            };
            let tenant = link.zoom_user.account_id.as_str();
            self.orders
                .send_delayed(&end, tenant, END_AFTER_SECONDS)
                .await?;
            let change = GrantChange::Disconnect {
                app_user: user.clone(),
            };
            let changed = self
                .links
                .change(&link.zoom_user, &change, self.clock.now())
                .await?;
            if changed.after.grant == Some(GrantStatus::Revoking) {
                self.orders.send(&end, tenant).await?;
            }
            self.links
                .publish_outbox(&self.notifications, &link.zoom_user, &changed.outbox)
                .await?;
        }
        Ok(response::empty(StatusCode::NO_CONTENT))
    }

    /// Has the recordings of a time read from Zoom, for every Zoom user whom this user has linked.
    pub(crate) async fn backfill(
        &self,
        user: &AppUserId,
        body: &Body,
    ) -> Result<Response<Body>, ApiError> {
        let request: BackfillRequest = serde_json::from_slice(body.as_ref()).map_err(|_| {
            Problem::RequestInvalid(
                "The body must be JSON: {\"from\": \"YYYY-MM-DD\", \"to\": \"YYYY-MM-DD\"}.",
            )
        })?;
        let BackfillRequest { from, to } = request;
        if from > to {
            return Err(Problem::RequestInvalid("`from` must not be after `to`.").into());
        }
        if to.duration_since(from) > LONGEST_BACKFILL {
            return Err(Problem::RequestInvalid("At most 366 days can be read at once.").into());
        }
        for link in self.links.visible_links(user).await? {
            self.order_backfill(&link.zoom_user, from, to).await?;
        }
        Ok(response::json(
            StatusCode::ACCEPTED,
            &json!({"status": "accepted"}),
        ))
    }

    async fn order_backfill(
        &self,
        zoom_user: &ZoomUser,
        from: Date,
        to: Date,
    ) -> Result<(), ApiError> {
        let job = Job::Backfill {
            zoom_user: zoom_user.clone(),
            from,
            to,
        };
        let message = JobMessage { v: SchemaV1, job };
        Ok(self
            .orders
            .send(&message, zoom_user.account_id.as_str())
            .await?)
    }
}

fn utc_date(at: Timestamp) -> Date {
    at.to_zoned_datetime(TimeZone::UTC).date()
}
