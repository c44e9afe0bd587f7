//! Reports of reconciliations: the recordings that Zoom lists, those of them that are stored, and the differences.

use http::StatusCode;
use jiff::civil::Date;
use reelay_domain::ids::{AppUserId, LinkId};
use reelay_domain::link::{Link, LinkView};
use reelay_domain::reconciliation::{Report, Totals};
use reelay_domain::time::rfc3339;
use reelay_runtime::AwsError;
use reelay_runtime::http::response::{self, Problem};
use reelay_runtime::http::{Body, Response};
use reelay_store::links::ReconciliationItem;
use serde::Serialize;

use crate::{ApiError, AppApi};

#[derive(Serialize)]
struct ReportView {
    link_id: LinkId,
    reconciled_at: Option<String>,
    next_at: Option<String>,
    from: Option<Date>,
    to: Option<Date>,
    #[serde(flatten)]
    totals: Totals,
}

impl AppApi {
    /// Responds with the report of a link.
    pub(crate) async fn reconciliation(
        &self,
        user: &AppUserId,
        id: Option<LinkId>,
    ) -> Result<Response<Body>, ApiError> {
        let id = id.filter(|id| id.belongs_to(user)).ok_or(Problem::LinkNotFound)?;
        let links = self.links.visible_links(user).await?;
        let link = links.into_iter().find(|link| link.id == id).ok_or(Problem::LinkNotFound)?;
        let item = self.links.reconciliation(&link.zoom_user).await?;
        let is_compared = self.is_reconciling && link.reads_until().is_none();
        let next_at = item.as_ref().map(|item| item.next_at).filter(|_| is_compared);
        let report = report_for(&link, item);
        let (reconciled_at, from, to, totals) = match report {
            Some(Report { reconciled_at, from, to, totals }) => {
                (Some(reconciled_at), Some(from), Some(to), totals)
            }
            None => (None, None, None, Totals::default()),
        };
        let (reconciled_at, next_at) = (reconciled_at.map(rfc3339), next_at.map(rfc3339));
        let view = ReportView { link_id: link.id, reconciled_at, next_at, from, to, totals };
        Ok(response::json(StatusCode::OK, &view))
    }

    /// The link as the API shows it.
    pub(crate) async fn view_link(&self, link: &Link) -> Result<LinkView, AwsError> {
        let item = self.links.reconciliation(&link.zoom_user).await?;
        let last_reconciled_at = report_for(link, item).map(|report| report.reconciled_at);
        Ok(LinkView { last_reconciled_at, ..link.view() })
    }
}

/// The report, if it was made while the link received: other reports cover other consents.
fn report_for(link: &Link, item: Option<ReconciliationItem>) -> Option<Report> {
    let report = item?.report?;
    let at = report.reconciled_at;
    let is_about_link = link.activated_at.is_none_or(|active| active <= at)
        && link.reads_until().is_none_or(|until| at < until);
    is_about_link.then_some(report)
}
