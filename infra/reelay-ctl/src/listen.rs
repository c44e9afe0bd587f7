//! `listen`: prints notifications as they are written, and forwards them to an app on this machine.
//!
//! It reads the rows of the feed and changes nothing: the stack delivers every notification all the same.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use reelay_domain::cursor::FeedPosition;
use reelay_domain::ids::AppUserId;
use reelay_domain::keys::SecretVersions;
use reelay_domain::operator_url;
use reelay_runtime::random;
use reelay_store::links::LinkTable;
use reelay_store::notifications::{FEED_DELAY, FeedRow, NotificationTable};
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use crate::deployment::Deployment;
use crate::http::{self, AppEndpoint};
use crate::output::{Outcome, Output, UsageError};

/// Interval between two reads.
const INTERVAL: Duration = Duration::from_secs(2);

/// Rows that one request reads.
const PAGE: usize = 100;

/// Time before the start whose rows are read, and not printed: another machine's clock may be late.
const OVERLAP: SignedDuration = SignedDuration::from_mins(5);

struct Listener<'a> {
    deployment: &'a Deployment,
    notifications: NotificationTable,
    links: LinkTable,
    /// The one app user, outside a devstack.
    user: Option<&'a AppUserId>,
    endpoint: Option<AppEndpoint>,
    start: FeedPosition,
    positions: BTreeMap<AppUserId, FeedPosition>,
    seen: HashSet<String>,
}

pub(crate) async fn run(
    deployment: &Deployment,
    user: Option<&AppUserId>,
    forward_to: Option<&Url>,
    output: &Output,
) -> anyhow::Result<Outcome> {
    if !deployment.is_dev && user.is_none() {
        return Err(UsageError("name one app user: --user".to_owned()).into());
    }
    let endpoint = match forward_to {
        Some(url) => Some(endpoint(deployment, url, output).await?),
        None => None,
    };
    let start = deployment.environment.clock.now() - OVERLAP;
    let mut listener = Listener {
        deployment,
        notifications: NotificationTable::new(&deployment.environment)?,
        links: LinkTable::new(&deployment.environment)?,
        user,
        endpoint,
        start: FeedPosition::at(start),
        positions: BTreeMap::new(),
        seen: HashSet::new(),
    };
    listener.read().await?;
    output.note("Listening for notifications; stop with Ctrl-C.");
    loop {
        for row in listener.read().await? {
            listener.handle(&row, output).await?;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// The local app. Outside a devstack it must be on this machine, and its signatures are made with a secret that is
/// worth nothing elsewhere.
async fn endpoint(
    deployment: &Deployment,
    url: &Url,
    output: &Output,
) -> anyhow::Result<AppEndpoint> {
    if deployment.is_dev {
        let secrets = http::notification_secrets(deployment).await?;
        return Ok(AppEndpoint::new(deployment, url.clone(), secrets));
    }
    if !operator_url::is_loopback(url) {
        let problem =
            "a stack's notifications are forwarded to this machine only: use http://localhost";
        return Err(UsageError(problem.to_owned()).into());
    }
    let secret = format!("whsec_{}", STANDARD.encode(random::bytes::<32>()));
    output.json(&json!({"secret": secret}));
    output.line(&format!("Signed with the secret of this run: {secret}"));
    let secrets = SecretVersions { current: SecretString::from(secret), previous: None };
    Ok(AppEndpoint::new(deployment, url.clone(), secrets))
}

impl Listener<'_> {
    /// Reads the rows that were written since the last call, oldest first for each app user.
    async fn read(&mut self) -> anyhow::Result<Vec<FeedRow>> {
        let users = match self.user {
            Some(user) => BTreeSet::from([user.clone()]),
            None => {
                let since = self.start.time().unwrap_or_default();
                let guards = self.notifications.guards_since(since).await?;
                guards.into_iter().map(|(_, guard)| guard.app_user_id).collect()
            }
        };
        let mut new = Vec::new();
        for user in users {
            let start = self.positions.get(&user).unwrap_or(&self.start).clone();
            let mut position = start;
            loop {
                // A devstack's clock may be ahead of this machine's.
                let until = jiff::Timestamp::MAX;
                let page = self.notifications.page(&user, &position, until, PAGE);
                let (rows, is_end) = page.await?;
                for row in rows {
                    position.clone_from(&row.position);
                    // A slower writer may still add rows before this one.
                    let safe = FeedPosition::at(row.stamp - FEED_DELAY);
                    let known = self.positions.entry(user.clone()).or_insert(safe.clone());
                    if *known < safe {
                        *known = safe;
                    }
                    if self.seen.insert(row.notification.id.clone()) {
                        new.push(row);
                    }
                }
                if is_end {
                    break;
                }
            }
        }
        Ok(new)
    }

    /// Prints and forwards a notification, if a link covers it.
    async fn handle(&self, row: &FeedRow, output: &Output) -> anyhow::Result<()> {
        let FeedRow { notification, stamp, .. } = row;
        if notification.recording_id.is_some() {
            let (user, zoom_user) = (&notification.app_user_id, &notification.zoom_user);
            let link = self.links.covering_link(user, zoom_user).await?;
            if !link.is_some_and(|link| link.covers_notification(zoom_user, *stamp)) {
                return Ok(());
            }
        }
        let answer = match &self.endpoint {
            Some(endpoint) => {
                let now = self.deployment.environment.clock.now();
                Some(http::describe(endpoint.post(notification, now).await?))
            }
            None => None,
        };
        let body: Value = serde_json::from_str(&notification.body).unwrap_or_default();
        output.json(&json!({"id": notification.id, "notification": body, "answer": answer}));
        output.line(&format!(
            "{}  {}  {}{}",
            notification.timestamp,
            notification.app_user_id,
            notification.event_type,
            answer.map(|answer| format!("  → {answer}")).unwrap_or_default()
        ));
        Ok(())
    }
}
