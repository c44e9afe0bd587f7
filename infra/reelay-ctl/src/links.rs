//! `links`: an app user's links, and the grants behind them.

use jiff::Timestamp;
use reelay_domain::ids::AppUserId;
use reelay_domain::link::{GrantStatus, Link, LinkStatus};
use reelay_domain::scope;
use reelay_store::links::LinkTable;
use serde_json::json;

use crate::Verdict;
use crate::deployment::Deployment;
use crate::output::{Output, printable, several, table};

/// A link with what stands behind it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) link: Link,
    /// The grant's state, if there is one.
    pub(crate) grant: Option<GrantStatus>,
    /// When its access token ends.
    access_expires_at: Option<Timestamp>,
    /// Needed scopes that it lacks.
    pub(crate) missing_scopes: Vec<&'static str>,
    /// Other app users who have the same Zoom user's recordings.
    shared_with: usize,
}

/// A user's links, each with its grant.
pub(crate) async fn seen(deployment: &Deployment, user: &AppUserId) -> anyhow::Result<Vec<Seen>> {
    let table = LinkTable::new(&deployment.environment)?;
    let mut found = Vec::new();
    for link in table.visible_links(user).await? {
        let holding = table.snapshot(&link.zoom_user).await?;
        let others = holding.app_users().filter(|other| *other != user).count();
        let grant = holding.grant.as_ref();
        let live = grant.filter(|grant| grant.tokens.is_some());
        found.push(Seen {
            link,
            grant: grant.map(|grant| grant.status),
            access_expires_at: live
                .and_then(|grant| Timestamp::from_second(grant.access_expires_at).ok()),
            missing_scopes: live
                .map(|grant| scope::missing(grant.scope.as_deref()))
                .unwrap_or_default(),
            shared_with: others,
        });
    }
    Ok(found)
}

pub(crate) async fn run(
    deployment: &Deployment,
    user: &AppUserId,
    output: &Output,
) -> anyhow::Result<Verdict> {
    let seen = seen(deployment, user).await?;
    let objects: Vec<_> = seen
        .iter()
        .map(|seen| {
            let mut object = json!(seen.link.view());
            object["grant"] = json!({
                "status": seen.grant,
                "access_expires_at": seen.access_expires_at,
                "missing_scopes": seen.missing_scopes,
                "shared_with": seen.shared_with,
            });
            object
        })
        .collect();
    output.object(&json!({"user": user, "links": objects}));
    if seen.is_empty() {
        output.text(&format!("{user} has no links."));
        return Ok(Verdict::Fine);
    }
    let rows: Vec<[String; 6]> = seen
        .iter()
        .map(|seen| {
            let zoom = &seen.link.zoom_user;
            [
                seen.link.id.to_string(),
                status(seen.link.status).to_owned(),
                format!("{} / {}", zoom.account_id, zoom.user_id),
                printable(&seen.link.display_name, 40),
                seen.link.created_at.to_string(),
                grant(seen),
            ]
        })
        .collect();
    let head = [
        "link",
        "status",
        "zoom account / user",
        "name",
        "connected",
        "grant",
    ];
    output.text(&table(head, &rows));
    Ok(Verdict::Fine)
}

fn status(status: LinkStatus) -> &'static str {
    match status {
        LinkStatus::Pending => "pending",
        LinkStatus::Active => "active",
        LinkStatus::ReauthorizationRequired => "must connect again",
    }
}

fn grant(seen: &Seen) -> String {
    let state = match seen.grant {
        None => "none",
        Some(GrantStatus::Live) => "works",
        Some(GrantStatus::ReauthorizationRequired) => "refused by Zoom",
        Some(GrantStatus::Revoking) => "being revoked",
    };
    let mut text = state.to_owned();
    if !seen.missing_scopes.is_empty() {
        text += &format!(", lacks {}", seen.missing_scopes.join(" "));
    }
    if seen.shared_with > 0 {
        text += &format!(", shared with {}", several(seen.shared_with, "other user"));
    }
    text
}
