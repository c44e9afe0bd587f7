//! `report`: prints how much Zoom lists and how much of it is stored, per link and in all.

use std::collections::BTreeSet;

use reelay_domain::ids::AppUserId;
use reelay_domain::link::Link;
use reelay_domain::reconciliation::{Report, Totals};
use reelay_store::links::LinkTable;
use serde_json::{Value, json};

use crate::deployment::Deployment;
use crate::output::{Outcome, Output, size, table, time};

struct LinkReport {
    link: Link,
    report: Option<Report>,
}

pub(crate) async fn run(
    deployment: &Deployment,
    user: Option<&AppUserId>,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let links = LinkTable::new(&deployment.environment)?;
    let found = match user {
        Some(user) => links.visible_links(user).await?,
        None => links.all_visible_links().await?,
    };
    let mut reports = Vec::with_capacity(found.len());
    for link in found {
        let item = links.reconciliation(&link.zoom_user).await?;
        reports.push(LinkReport { link, report: item.and_then(|item| item.report) });
    }
    let total = total(&reports);
    let objects: Vec<Value> = reports.iter().map(LinkReport::json).collect();
    output.json(&json!({
        "links": objects,
        "total": {
            "zoom": total.zoom, "stored": total.stored, "found_missing": total.found_missing,
            "differences_total": total.differences_total,
        },
    }));
    if reports.is_empty() {
        output.line("There are no links.");
        return Ok(Outcome::Success);
    }
    let mut rows: Vec<[String; 7]> = reports.iter().map(LinkReport::row).collect();
    rows.push(row("in all".to_owned(), String::new(), String::new(), Some(&total)));
    let header =
        ["link", "app user", "reconciled", "at Zoom", "stored", "were missing", "differences"];
    output.line(&table(header, &rows));
    Ok(Outcome::Success)
}

impl LinkReport {
    fn json(&self) -> Value {
        let mut object = json!(self.report);
        if self.report.is_none() {
            object = json!({"reconciled_at": null});
        }
        object["link_id"] = json!(self.link.id);
        object["app_user_id"] = json!(self.link.app_user);
        object["zoom_user"] = json!(self.link.zoom_user);
        object
    }

    fn row(&self) -> [String; 7] {
        let at = self.report.as_ref().map(|report| time(report.reconciled_at));
        row(
            self.link.id.to_string(),
            self.link.app_user.to_string(),
            at.unwrap_or_else(|| "not yet".to_owned()),
            self.report.as_ref().map(|report| &report.totals),
        )
    }
}

fn row(link: String, app_user: String, at: String, totals: Option<&Totals>) -> [String; 7] {
    let text = |text: &dyn Fn(&Totals) -> String| totals.map(text).unwrap_or_default();
    [
        link,
        app_user,
        at,
        text(&|it| format!("{}, {}", it.zoom.recordings, size(it.zoom.bytes))),
        text(&|it| format!("{}, {}", it.stored.recordings, size(it.stored.bytes))),
        text(&|it| it.found_missing.recordings.to_string()),
        text(&|it| it.differences_total.to_string()),
    ]
}

/// The sum. Links that share a Zoom user have the same report, which counts once.
fn total(reports: &[LinkReport]) -> Totals {
    let mut total = Totals::default();
    let mut counted = BTreeSet::new();
    for LinkReport { link, report } in reports {
        if let Some(report) = report.as_ref().filter(|_| counted.insert(&link.zoom_user)) {
            total += &report.totals;
        }
    }
    total
}
