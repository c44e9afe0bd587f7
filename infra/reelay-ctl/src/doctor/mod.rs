//! `doctor`: checks a deployment from outside and inside. Each problem is printed with its impact and its fix.
//!
//! Side effects: one connect session that expires, two rejected webhook requests in the metrics, and two test
//! notifications to the app, one of them forged.

mod account;
mod api;
mod app;
mod connect;
mod finding;
mod queues;
mod secrets;
mod storage;
mod users;

use reelay_domain::ids::AppUserId;
use serde_json::json;

use self::finding::Finding;
use crate::deployment::Deployment;
use crate::manifest::Registration;
use crate::output::{Outcome, Output};

/// Prints findings and counts them by status.
struct Report<'a> {
    output: &'a Output,
    counts: [usize; 3],
}

impl Report<'_> {
    fn add(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            self.counts[finding.status as usize] += 1;
            self.output.json(&finding);
            self.output.line(&finding.to_string());
        }
    }
}

pub(crate) async fn run(
    deployment: &Deployment,
    user: Option<&AppUserId>,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let registration = Registration::of(deployment)?;
    let mut report = Report { output, counts: [0; 3] };
    let (findings, zoom) = secrets::check(deployment).await?;
    report.add(findings);
    report.add(api::check(deployment, zoom.as_ref()).await?);
    report.add(connect::check(deployment, &registration, zoom.as_ref()).await?);
    report.add(app::check(deployment).await?);
    report.add(queues::check(deployment).await?);
    report.add(storage::check(deployment).await?);
    if !deployment.is_dev {
        report.add(vec![account::check(deployment).await]);
    }
    if let Some(user) = user {
        report.add(users::check(deployment, user).await?);
    }
    let [ok, warnings, failures] = report.counts;
    output.json(&json!({"registration": registration.json()}));
    output.line(&format!(
        "\nThe doctor cannot read the Zoom app's settings. They must be:\n  redirect URL and allow list  {}\n  event \
         endpoint               {}\n  deauthorization endpoint     {}\n  scopes and events            {}",
        registration.redirect_url,
        registration.webhook_url,
        registration.deauthorize_url,
        deployment.reelay_command("manifest"),
    ));
    output.line(&format!("\n{ok} ok, {warnings} warnings, {failures} failed"));
    Ok(Outcome::from_success(failures == 0))
}
