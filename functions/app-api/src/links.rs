//! Confirmation and removal of links, and backfills.

use std::collections::BTreeMap;

use http::StatusCode;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::claim::Claim;
use reelay_domain::coverage::DayRange;
use reelay_domain::ids::{AppUserId, LinkId};
use reelay_domain::link::{GrantChange, GrantStatus, Link, LinkStatus};
use reelay_domain::listing::{Backfill, BackfillRequest};
use reelay_domain::message::{Job, JobMessage};
use reelay_runtime::http::response::{self, Problem};
use reelay_runtime::http::{Body, Response};
use reelay_runtime::random;
use reelay_store::links::{Confirmation, LinkError, RequestedBackfill};
use reelay_store::sessions::ClaimItem;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::json;

use crate::{ApiError, AppApi};

/// Maximum range of one backfill request.
const MAX_BACKFILL: SignedDuration = SignedDuration::from_hours(24 * 366);

#[derive(Deserialize)]
struct ConfirmRequest {
    claim: String,
}

#[derive(Deserialize)]
struct RequestedDays {
    from: String,
    to: String,
}

/// Parses a JSON body that has only known fields. `form` says what the body must be.
pub(crate) fn parse_body<T: DeserializeOwned>(
    body: &Body,
    known: &[&str],
    form: &'static str,
) -> Result<T, Problem> {
    let invalid = |_| Problem::RequestInvalid(form);
    let fields: BTreeMap<String, IgnoredAny> =
        serde_json::from_slice(body.as_ref()).map_err(invalid)?;
    match fields.into_keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(Problem::UnknownField(unknown, form)),
        None => serde_json::from_slice(body.as_ref()).map_err(invalid),
    }
}

/// Parses `YYYY-MM-DD`.
pub(crate) fn parse_date(text: &str, invalid: &'static str) -> Result<Date, Problem> {
    let is_date =
        text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    text.parse().ok().filter(|_| is_date).ok_or(Problem::RequestInvalid(invalid))
}

impl AppApi {
    /// Confirms a claim, the last step of linking. The API token proves in which app user's session the
    /// claim arrived.
    pub(crate) async fn confirm_link(
        &self,
        user: &AppUserId,
        body: &Body,
    ) -> Result<Response<Body>, ApiError> {
        let form = "The body must be JSON: {\"claim\": \"…\"}.";
        let request: ConfirmRequest = parse_body(body, &["claim"], form)?;
        let claim = Claim::parse(&request.claim).ok_or(Problem::ClaimExpired)?;
        let now = self.clock.now();
        let item = self.sessions.find_claim(&claim, now).await?.ok_or(Problem::ClaimExpired)?;
        if item.app_user != *user {
            // The claim has leaked to another user.
            self.invalidate_claim(&claim, &item).await?;
            return Err(Problem::ClaimBelongsToAnotherUser.into());
        }
        let zoom_user = item.zoom_user.clone();
        match self.links.confirm(&self.sessions, &claim, item, now).await? {
            Confirmation::Expired => Err(Problem::ClaimExpired.into()),
            Confirmation::Active(link, outbox, jobs) => {
                self.links.publish_outbox(&self.notifications, &zoom_user, &outbox).await?;
                self.links.enqueue_pending_jobs(&self.jobs, &zoom_user, &jobs).await?;
                Ok(response::json(StatusCode::OK, &self.view_link(&link).await?))
            }
        }
    }

    /// Deletes a claim and the pending link that waits for it. A grant that no other link uses is revoked.
    async fn invalidate_claim(&self, claim: &Claim, item: &ClaimItem) -> Result<(), ApiError> {
        self.sessions.invalidate_claim(claim).await?;
        let until = Timestamp::from_second(item.expires_at).unwrap_or(Timestamp::MIN);
        let change = GrantChange::ExpirePending { app_user: item.app_user.clone(), until };
        let changed = self.links.change(&item.zoom_user, &change, self.clock.now()).await?;
        if changed.after.grant == Some(GrantStatus::Revoking) {
            let job = Job::RevokeGrant { zoom_user: item.zoom_user.clone() };
            let tenant = item.zoom_user.account_id.as_str();
            self.jobs.send(&JobMessage::new(job), tenant).await?;
        }
        Ok(())
    }

    /// Removes a link. 204 also if it has been removed before; another user's link is not found.
    pub(crate) async fn disconnect(
        &self,
        user: &AppUserId,
        id: Option<LinkId>,
    ) -> Result<Response<Body>, ApiError> {
        let id = id.filter(|id| id.belongs_to(user)).ok_or(Problem::LinkNotFound)?;
        let own = |links: Vec<Link>| links.into_iter().find(|link| link.id == id);
        while let Some(link) = own(self.links.visible_links(user).await?) {
            let change = GrantChange::Disconnect { app_user: user.clone() };
            let now = self.clock.now();
            // Again, until none is left: the link may have moved to another key since it was read, and after two moves
            // there may be one under each key.
            self.links.end_link(&link, &change, &self.jobs, &self.notifications, now).await?;
        }
        Ok(response::empty(StatusCode::NO_CONTENT))
    }

    /// Enqueues a backfill of a date range for every active link of this user.
    pub(crate) async fn backfill(
        &self,
        user: &AppUserId,
        body: &Body,
    ) -> Result<Response<Body>, ApiError> {
        let form = "The body must be JSON: {\"from\": \"YYYY-MM-DD\", \"to\": \"YYYY-MM-DD\"}.";
        let days: RequestedDays = parse_body(body, &["from", "to"], form)?;
        let from = parse_date(&days.from, "`from` is not a date that exists (YYYY-MM-DD).")?;
        let to = parse_date(&days.to, "`to` is not a date that exists (YYYY-MM-DD).")?;
        if from > to {
            return Err(Problem::RequestInvalid("`from` must not be after `to`.").into());
        }
        if to.duration_since(from) > MAX_BACKFILL {
            return Err(Problem::RequestInvalid("The range must be at most 366 days.").into());
        }
        let mut links = self.links.visible_links(user).await?;
        links.retain(|link| link.status == LinkStatus::Active);
        if links.is_empty() {
            return Err(Problem::NoActiveLink.into());
        }
        let backfill_id = format!("bf_{}", random::hex_id());
        let requested_at = self.clock.now();
        let requested = RequestedBackfill {
            backfill_id: backfill_id.clone(),
            app_user_id: user.clone(),
            from,
            to,
        };
        for link in &links {
            let change = GrantChange::RequestBackfill {
                app_user: user.clone(),
                days: DayRange { from, to },
            };
            match self.links.change(&link.zoom_user, &change, self.clock.now()).await {
                // The link is no longer active; its job finds that and ends.
                Ok(_) | Err(LinkError::Rejected(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let ids = links.iter().map(|link| &link.id);
        self.links.begin_backfill(&requested, ids, self.clock.now()).await?;
        for link in links {
            let tenant = link.zoom_user.account_id.clone();
            let job = Job::Backfill(Backfill {
                zoom_user: link.zoom_user,
                from,
                to,
                completed_since: None,
                request: Some(BackfillRequest {
                    backfill_id: backfill_id.clone(),
                    app_user_id: user.clone(),
                    link_id: link.id,
                    requested_at,
                }),
                progress: None,
            });
            self.jobs.send(&JobMessage::new(job), tenant.as_str()).await?;
        }
        let accepted = json!({"status": "accepted", "backfill_id": backfill_id});
        Ok(response::json(StatusCode::ACCEPTED, &accepted))
    }
}
