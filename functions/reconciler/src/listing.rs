//! Reads Zoom's lists page by page, and derives the link's issue from a failed request.

use reelay_domain::ids::ZoomUser;
use reelay_domain::link::LinkIssue;
use reelay_domain::listing::{Incomplete, List, ListedMeeting, NextPage, Reading};
use reelay_grants::{AccessToken, GrantError};
use reelay_store::links::GrantSnapshot;
use reelay_zoom::{ApiError, RecordingsPage};
use serde_json::Value;

use crate::attempt::Attempt;
use crate::{JobError, Reconciler};

/// Number of deliveries, over about three hours, after which an incomplete window is not read again, and a refusal is taken
/// as lasting.
pub(crate) const MAX_RECEIVES: u32 = 12;

/// Codes with which Zoom does not find the user of the token.
const USER_NOT_FOUND: [i64; 2] = [1001, 1010];

/// One reading of a list.
pub(crate) struct Pages {
    list: List,
    reading: Reading,
    next: Option<String>,
}

/// A page, and what follows.
pub(crate) struct Page {
    /// Meetings that no earlier page had.
    pub(crate) meetings: Vec<(ListedMeeting, Value)>,
    pub(crate) next: NextPage,
}

impl Pages {
    pub(crate) fn new(list: List) -> Self {
        Self { list, reading: Reading::default(), next: None }
    }
}

impl Reconciler {
    /// Reads the next page.
    pub(crate) async fn read_page(
        &self,
        zoom_user: &ZoomUser,
        pages: &mut Pages,
        token: &mut AccessToken,
    ) -> Result<Page, JobError> {
        let response = match self.request_page(pages, token).await {
            Err(ApiError::Unauthorized) => {
                *token = self.grants.replace_token(zoom_user, token).await?;
                self.request_page(pages, token).await
            }
            response => response,
        };
        let page = match response {
            Err(ApiError::InvalidPageToken) => {
                let next = NextPage::Incomplete(Incomplete::PageTokenRejected);
                return Ok(Page { meetings: Vec::new(), next });
            }
            page => page?,
        };
        let reading = &mut pages.reading;
        let meetings = page.meetings.into_iter();
        let meetings = meetings
            .map(|meeting| (ListedMeeting::parse(&meeting), meeting))
            .filter(|(listed, _)| reading.add(listed))
            .collect();
        let next = reading.end_page(page.total_records, page.next_page_token);
        if let NextPage::Token(token) = &next {
            pages.next = Some(token.clone());
        }
        Ok(Page { meetings, next })
    }

    async fn request_page(
        &self,
        pages: &Pages,
        token: &AccessToken,
    ) -> Result<RecordingsPage, ApiError> {
        let (zoom, next) = (self.grants.zoom(), pages.next.as_deref());
        match pages.list {
            List::Window(window) => {
                zoom.list_recordings(&token.token, window.from, window.to, next).await
            }
            List::Trash => zoom.list_trash(&token.token, next).await,
        }
    }

    /// Clears an issue that a successful listing disproves.
    pub(crate) async fn end_listing_issue(
        &self,
        zoom_user: &ZoomUser,
        snapshot: &GrantSnapshot,
    ) -> Result<(), JobError> {
        let mut issues = snapshot.links.iter().filter_map(|link| link.issue);
        if issues.any(LinkIssue::ends_with_listing) {
            self.grants.clear_issue(zoom_user).await?;
        }
        Ok(())
    }

    /// The issue that follows from a failed listing, if it concerns this Zoom user alone. Zoom sends the same
    /// response for a deleted user and for one who changed accounts, so `users/me` decides. A refusal that it does not
    /// explain may pass, so it becomes an issue only if the job keeps meeting it.
    pub(crate) async fn issue_of(
        &self,
        zoom_user: &ZoomUser,
        error: ApiError,
        attempt: Attempt,
    ) -> Result<Option<LinkIssue>, JobError> {
        let is_lasting = attempt.receive_count >= MAX_RECEIVES;
        let denied = is_lasting.then_some(LinkIssue::AccessDenied);
        let is_user_not_found = |error: &ApiError| matches!(error, ApiError::NotFound { code: Some(code) } if USER_NOT_FOUND.contains(code));
        Ok(match error {
            ApiError::Forbidden { status: 400, code: Some(200) } => {
                Some(LinkIssue::PlanWithoutCloudRecording)
            }
            ApiError::Forbidden { .. } => Some(LinkIssue::AccessDenied),
            ApiError::MissingScope => Some(LinkIssue::ScopeMissing),
            error if is_user_not_found(&error) => match self.grants.owner(zoom_user).await {
                Err(GrantError::Api(error)) if is_user_not_found(&error) => {
                    Some(LinkIssue::ZoomUserNotFound)
                }
                Err(error) => return Err(error.into()),
                Ok(_) => is_lasting.then_some(LinkIssue::ZoomUserNotFound),
            },
            // The second one was met by a refreshed token, too.
            ApiError::NotFound { .. } | ApiError::Unauthorized => denied,
            _ => None,
        })
    }
}
