//! `doctor`: whether a stack works, from outside and from inside. Each check says what was found; where
//! something is wrong also what that means, and the command that mends it.
//!
//! It changes nothing but what looking changes: a session that nobody finishes, two counted refusals.

mod api;
mod connect;
mod finding;
mod queues;
mod secrets;
mod storage;
mod users;

use reelay_domain::ids::AppUserId;
use serde_json::json;

use self::finding::Finding;
use crate::Verdict;
use crate::deployment::Deployment;
use crate::manifest::Registration;
use crate::output::Output;

/// Everybody who can be asked, and what they say.
struct Examination<'a> {
    deployment: &'a Deployment,
    output: &'a Output,
    counts: [usize; 3],
}

impl Examination<'_> {
    fn found(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            self.counts[finding.status as usize] += 1;
            self.output.object(&finding);
            self.output.text(&finding.to_string());
        }
    }
}

pub(crate) async fn run(
    deployment: &Deployment,
    user: Option<&AppUserId>,
    output: &Output,
) -> anyhow::Result<Verdict> {
    let registration = Registration::of(deployment)?;
    let mut examination = Examination {
        deployment,
        output,
        counts: [0; 3],
    };
    let (findings, zoom) = secrets::examine(deployment).await?;
    examination.found(findings);
    examination.found(api::examine(deployment, zoom.as_ref()).await?);
    examination.found(connect::examine(deployment, &registration, zoom.as_ref()).await?);
    examination.found(queues::examine(deployment).await?);
    examination.found(storage::examine(deployment).await?);
    if let Some(user) = user {
        examination.found(users::examine(deployment, user).await?);
    }
    let [ok, warn, fail] = examination.counts;
    output.object(&json!({"registration": registration.json()}));
    output.text(&format!(
        "\nWhat is entered at Zoom nobody can read from here. It must be:\n  redirect URL and allow list  {}\n  event \
         endpoint               {}\n  deauthorization endpoint     {}\n  scopes and events            {}",
        registration.redirect_url,
        registration.webhook_url,
        registration.deauthorize_url,
        examination.deployment.reelay("manifest"),
    ));
    output.text(&format!("\n{ok} ok, {warn} to look at, {fail} wrong"));
    Ok(if fail == 0 {
        Verdict::Fine
    } else {
        Verdict::Wrong
    })
}
