//! `links`: lists an app user's links and the status of their grants.

use jiff::Timestamp;
use reelay_domain::ids::AppUserId;
use reelay_domain::link::{GrantStatus, Link, LinkStatus};
use reelay_domain::scope;
use reelay_store::links::LinkTable;
use serde_json::json;

use crate::deployment::Deployment;
use crate::output::{Outcome, Output, plural, sanitize, table, time};

/// A link with its grant.
#[derive(Debug)]
pub(crate) struct LinkWithGrant {
    pub(crate) link: Link,
    pub(crate) grant: Option<GrantStatus>,
    access_expires_at: Option<Timestamp>,
    /// Required scopes that the grant lacks.
    pub(crate) missing_scopes: Vec<&'static str>,
    /// Number of other app users linked to the same Zoom user.
    shared_with: u64,
}

/// Loads a user's links with their grants.
///
/// # Errors
/// When DynamoDB rejects a request.
pub(crate) async fn load(
    deployment: &Deployment,
    user: &AppUserId,
) -> anyhow::Result<Vec<LinkWithGrant>> {
    let table = LinkTable::new(&deployment.environment)?;
    let mut links = Vec::new();
    for link in table.visible_links(user).await? {
        let snapshot = table.snapshot(&link.zoom_user).await?;
        let others = snapshot.app_users().filter(|other| *other != user).count() as u64;
        let grant = snapshot.grant.as_ref();
        let usable = grant.filter(|grant| grant.tokens.is_some());
        links.push(LinkWithGrant {
            link,
            grant: grant.map(|grant| grant.status),
            access_expires_at: usable
                .and_then(|grant| Timestamp::from_second(grant.access_expires_at).ok()),
            missing_scopes: usable
                .map(|grant| scope::missing(grant.scope.as_deref()))
                .unwrap_or_default(),
            shared_with: others,
        });
    }
    Ok(links)
}

pub(crate) async fn run(
    deployment: &Deployment,
    user: &AppUserId,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let links = load(deployment, user).await?;
    let objects: Vec<_> = links
        .iter()
        .map(|link| {
            let mut object = json!(link.link.view());
            object["grant"] = json!({
                "status": link.grant,
                "access_expires_at": link.access_expires_at,
                "missing_scopes": link.missing_scopes,
                "shared_with": link.shared_with,
            });
            object
        })
        .collect();
    output.json(&json!({"user": user, "links": objects}));
    if links.is_empty() {
        output.line(&format!("{user} has no links."));
        return Ok(Outcome::Success);
    }
    let rows: Vec<[String; 6]> = links
        .iter()
        .map(|link| {
            let zoom = &link.link.zoom_user;
            [
                link.link.id.to_string(),
                describe_status(link.link.status).to_owned(),
                format!("{}/{}", zoom.account_id, zoom.user_id),
                sanitize(&link.link.display_name, 40),
                time(link.link.created_at),
                describe_grant(link),
            ]
        })
        .collect();
    let header = ["link", "status", "zoom account/user", "name", "connected", "grant"];
    output.line(&table(header, &rows));
    Ok(Outcome::Success)
}

fn describe_status(status: LinkStatus) -> &'static str {
    match status {
        LinkStatus::Pending => "pending",
        LinkStatus::Active => "active",
        LinkStatus::ReauthorizationRequired => "reauthorization required",
    }
}

fn describe_grant(link: &LinkWithGrant) -> String {
    let state = match link.grant {
        None => "none",
        Some(GrantStatus::Live) => "live",
        Some(GrantStatus::ReauthorizationRequired) => "revoked by Zoom",
        Some(GrantStatus::Revoking) => "being revoked",
        Some(GrantStatus::Revoked) => "revoked",
    };
    let mut text = state.to_owned();
    if !link.missing_scopes.is_empty() {
        text += &format!(", lacks {}", link.missing_scopes.join(" "));
    }
    if link.shared_with > 0 {
        text += &format!(", shared with {}", plural(link.shared_with, "other user"));
    }
    text
}
