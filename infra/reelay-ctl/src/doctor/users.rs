//! One app user: whether their links work.

use reelay_domain::ids::AppUserId;
use reelay_domain::link::LinkStatus;

use super::finding::Finding;
use crate::deployment::Deployment;
use crate::links;

pub(super) async fn examine(
    deployment: &Deployment,
    user: &AppUserId,
) -> anyhow::Result<Vec<Finding>> {
    let seen = links::seen(deployment, user).await?;
    let again = format!(
        "have the user connect again, by the app's button or by: {}",
        deployment.reelay(&format!("mint-link --user {user}"))
    );
    if seen.is_empty() {
        return Ok(vec![Finding::warn(
            "user.links",
            format!("{user} has no links"),
            "no recording of anybody is brought to this user.",
            again,
        )]);
    }
    let findings = seen.iter().map(|seen| {
        let check = "user.link";
        let id = &seen.link.id;
        if seen.link.status == LinkStatus::ReauthorizationRequired {
            Finding::fail(
                check,
                format!("{id}: Zoom does not honour the grant any more"),
                "new recordings are noticed as long as Zoom sends events, and can't be read from its API.",
                &*again,
            )
        } else if !seen.missing_scopes.is_empty() {
            Finding::fail(
                check,
                format!("{id}: the grant lacks {}", seen.missing_scopes.join(" ")),
                "the app at Zoom had other scopes when this user connected.",
                format!("enter the scopes at Zoom (`reelay manifest`), then {again}"),
            )
        } else {
            Finding::ok(check, format!("{id} works, and its grant has all scopes"))
        }
    });
    Ok(findings.collect())
}
