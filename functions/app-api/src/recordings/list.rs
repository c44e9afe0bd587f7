//! The list of recordings: newest first, merged over all linked Zoom users, and filtered.

use futures_util::future::try_join_all;
use http::StatusCode;
use jiff::civil::Date;
use reelay_domain::cursor::{self, Position};
use reelay_domain::ids::AppUserId;
use reelay_domain::recording::{RecordingStatus, RecordingView};
use reelay_runtime::http::query::Query;
use reelay_runtime::http::response::{self, Problem};
use reelay_runtime::http::{Body, Response};
use reelay_store::recordings::{ListBounds, ListedRecording};
use serde::de::value::{Error as UnknownStatus, StrDeserializer};
use serde::{Deserialize as _, Serialize};

use super::Covered;
use crate::links::parse_date;
use crate::{ApiError, AppApi};

/// Page size without `limit`.
const DEFAULT_LIMIT: usize = 25;

/// Recordings that are read at once if a filter may exclude some of them.
const FILTERED_BATCH: usize = 50;

/// Maximum number of batches that one request reads. A page may therefore be shorter than `limit`; its cursor
/// continues.
const MAX_BATCHES: usize = 10;

/// Number of files after which a page ends: about 600 bytes each, and Lambda's responses have at most 6 MB.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_PAGE_FILES: usize = 5_000;

#[derive(Serialize)]
struct Page {
    recordings: Vec<RecordingView>,
    next_cursor: Option<String>,
}

/// The filters of a request.
struct Filter<'a> {
    status: Option<RecordingStatus>,
    /// First and last UTC date of the start, inclusive.
    from: Option<Date>,
    to: Option<Date>,
    meeting_id: Option<&'a str>,
}

impl<'a> Filter<'a> {
    fn parse(query: &'a Query) -> Result<Self, Problem> {
        let single = |name| {
            let repeated = |_| Problem::RequestInvalid("A query parameter is repeated.");
            query.single(name).map_err(repeated)
        };
        let status = single("status")?.map(|text| {
            let text: StrDeserializer<'_, UnknownStatus> = StrDeserializer::new(text);
            RecordingStatus::deserialize(text).map_err(|_| {
                Problem::RequestInvalid(
                    "status must be detected, transferring, stored, failed, empty or expired.",
                )
            })
        });
        let date = |name| {
            let invalid = "from and to must be dates that exist, as 2026-01-31.";
            single(name)?.map(|text| parse_date(text, invalid)).transpose()
        };
        let (from, to) = (date("from")?, date("to")?);
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            return Err(Problem::RequestInvalid("from must not be later than to."));
        }
        Ok(Self { status: status.transpose()?, from, to, meeting_id: single("meeting_id")? })
    }

    /// Whether a recording that was read from the index can match.
    fn admits(&self, listed: &ListedRecording) -> bool {
        self.meeting_id.is_none_or(|wanted| listed.meeting_id.as_deref() == Some(wanted))
    }

    fn matches(&self, view: &RecordingView) -> bool {
        self.status.is_none_or(|status| view.status == status)
    }
}

impl AppApi {
    /// Lists one page.
    pub(crate) async fn list_recordings(
        &self,
        user: &AppUserId,
        query: &Query,
    ) -> Result<Response<Body>, ApiError> {
        let limit = limit(query)?;
        let filter = Filter::parse(query)?;
        let cursor = query.single("cursor").map_err(|_| Problem::CursorInvalid)?;
        let after = match cursor {
            Some(cursor) => Some(self.decode_cursor(user, cursor).await?),
            None => None,
        };
        let (recordings, next) = self.matching(user, &filter, after, limit).await?;
        let next_cursor = match next {
            Some(position) => {
                Some(cursor::encode(&self.state_key.versions().await?, user, &position))
            }
            None => None,
        };
        Ok(response::json(StatusCode::OK, &Page { recordings, next_cursor }))
    }

    /// Reads batches until the page is full. Also returns the position after which the next page starts; `None` at
    /// the end.
    async fn matching(
        &self,
        user: &AppUserId,
        filter: &Filter<'_>,
        mut after: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<RecordingView>, Option<Position>), ApiError> {
        let covered = self.covered(user).await?;
        let is_filtered = filter.status.is_some() || filter.meeting_id.is_some();
        let batch = if is_filtered { FILTERED_BATCH } else { limit };
        let (mut recordings, mut files) = (Vec::new(), 0);
        for _ in 0..MAX_BATCHES {
            let bounds = ListBounds { after: after.as_ref(), from: filter.from, to: filter.to };
            // One item more than the batch shows whether another batch follows.
            let pages = covered.iter().map(|it| self.newest(it, &bounds, batch + 1));
            let mut found: Vec<_> = try_join_all(pages).await?.into_iter().flatten().collect();
            found.sort_unstable_by(|(a, ..), (b, ..)| b.cmp(a));
            let has_more = found.len() > batch;
            found.truncate(batch);
            let views = found.into_iter().map(async |(position, listed, covered)| {
                let view = match filter.admits(&listed) {
                    true => self.view(&position, covered).await?,
                    false => None,
                };
                Ok::<_, ApiError>((position, view))
            });
            for (position, view) in try_join_all(views).await? {
                if let Some(view) = view.filter(|view| filter.matches(view)) {
                    if recordings.len() == limit || files >= MAX_PAGE_FILES {
                        return Ok((recordings, after));
                    }
                    files += view.files.len();
                    recordings.push(view);
                }
                after = Some(position);
            }
            if !has_more {
                return Ok((recordings, None));
            }
            if recordings.len() == limit || files >= MAX_PAGE_FILES {
                break;
            }
        }
        Ok((recordings, after))
    }

    /// A Zoom user's newest recordings with their positions in the common order.
    async fn newest<'a>(
        &self,
        covered: &'a Covered,
        bounds: &ListBounds<'_>,
        limit: usize,
    ) -> Result<Vec<(Position, ListedRecording, &'a Covered)>, ApiError> {
        let listed = self.recordings.newest(&covered.zoom_user, bounds, limit).await?;
        let listed = listed.into_iter();
        Ok(listed.map(|it| (it.position(&covered.zoom_user), it, covered)).collect())
    }

    async fn view(
        &self,
        position: &Position,
        covered: &Covered,
    ) -> Result<Option<RecordingView>, ApiError> {
        let Some(id) = position.recording() else { return Ok(None) };
        let loaded = self.load(covered, &id).await?;
        Ok(loaded.map(|loaded| self.view_recording(&loaded, covered)))
    }

    async fn decode_cursor(&self, user: &AppUserId, text: &str) -> Result<Position, ApiError> {
        let decoded = self
            .state_key
            .verify_with_reread(|keys| cursor::decode(keys, user, text), |_| true)
            .await?;
        Ok(decoded.map_err(|_| Problem::CursorInvalid)?)
    }
}

/// Reads `limit`.
pub(crate) fn limit(query: &Query) -> Result<usize, Problem> {
    let invalid = || Problem::RequestInvalid("limit must be a number from 1 to 100.");
    match query.single("limit").map_err(|_| invalid())? {
        None => Ok(DEFAULT_LIMIT),
        Some(text) => Some(text)
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .filter(|limit| (1..=100).contains(limit))
            .ok_or_else(invalid),
    }
}
