//! Checks the links of one app user.

use reelay_domain::ids::AppUserId;
use reelay_domain::link::LinkStatus;

use super::finding::Finding;
use crate::deployment::Deployment;
use crate::links;

pub(super) async fn check(
    deployment: &Deployment,
    user: &AppUserId,
) -> anyhow::Result<Vec<Finding>> {
    let links = links::load(deployment, user).await?;
    let reconnect = format!(
        "let the user connect again with the app's button, or with the link of: {}",
        deployment.reelay_command(&format!("mint-link --user {user}"))
    );
    if links.is_empty() {
        return Ok(vec![Finding::warn(
            "user.links",
            format!("{user} has no links"),
            "Reelay stores no recordings for this user.",
            reconnect,
        )]);
    }
    let findings = links.iter().map(|link| {
        let check = "user.link";
        let id = &link.link.id;
        if link.link.reads_until().is_some() {
            Finding::fail(
                check,
                format!("{id}: the user has not connected again since Zoom revoked the grant"),
                "the link reads what was stored before, and receives nothing new.",
                &*reconnect,
            )
        } else if link.link.status == LinkStatus::ReauthorizationRequired {
            Finding::fail(
                check,
                format!("{id}: Zoom has revoked the grant"),
                "new recordings are still detected by events, but cannot be read from Zoom's API.",
                &*reconnect,
            )
        } else if !link.missing_scopes.is_empty() {
            Finding::fail(
                check,
                format!("{id}: the grant lacks {}", link.missing_scopes.join(" ")),
                "the Zoom app had other scopes when this user connected.",
                format!(
                    "add the scopes to the Zoom app ({}), then {reconnect}",
                    deployment.reelay_command("manifest")
                ),
            )
        } else {
            Finding::ok(check, format!("{id} is active and has all scopes"))
        }
    });
    Ok(findings.collect())
}
