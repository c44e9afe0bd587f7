//! Faults: their kinds, their places, and the table of active ones.
//!
//! A request takes the first active fault that matches it. A fault with a count deactivates itself.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::responses::ErrorForm;
use crate::sync::lock;

/// A place where requests can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// `POST /oauth/token` with an authorization code.
    TokenExchange,
    /// `POST /oauth/token` with a refresh token.
    TokenRefresh,
    /// `POST /oauth/revoke`.
    Revoke,
    /// `GET /v2/users/me`.
    UsersMe,
    /// `GET /v2/users/me/recordings`.
    ListRecordings,
    /// `GET /v2/meetings/{uuid}/recordings`.
    MeetingRecordings,
    /// `DELETE /v2/meetings/{uuid}/recordings`.
    TrashRecording,
    /// The download URL of events and REST, before its redirect.
    Download,
    /// The content host, to which the redirect leads.
    Content,
}

/// Fault of a request or of its response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Responds with this status and Zoom's body for it.
    Status {
        /// HTTP status.
        status: u16,
    },
    /// Responds with exactly this.
    Respond {
        /// HTTP status.
        status: u16,
        /// `Content-Type`.
        content_type: String,
        /// Body.
        body: String,
    },
    /// Responds with one of Zoom's numbers. In the OAuth form it stands beside `invalid_grant`, so that a
    /// client which reads `error` alone is misled.
    ErrorCode {
        /// HTTP status.
        status: u16,
        /// Zoom's number.
        code: u32,
        /// Form of the body.
        form: ErrorForm,
    },
    /// Responds without this field of the profile.
    OmitField {
        /// Name of the field.
        field: String,
    },
    /// Leaves out the last meetings of a page and ends the list there, while `total_records` counts all.
    OmitMeetings {
        /// Number of meetings.
        count: usize,
    },
    /// Responds with the first page, and with a page token that leads to it again.
    RepeatPageToken,
    /// Treats `to` as exclusive. Assumed: reports about Zoom disagree.
    ExclusiveTo,
    /// Responds with 429: the daily limit if `retry_after_seconds` is set, with a date in `Retry-After`;
    /// otherwise the limit per second, which has no `Retry-After`.
    RateLimited {
        /// Seconds until the daily limit ends.
        #[serde(default)]
        retry_after_seconds: Option<i64>,
    },
    /// Responds with 429 and the headers of the daily limit, without `Retry-After`.
    DailyLimit,
    /// Responds with this status and this `Retry-After`.
    RetryAfter {
        /// HTTP status.
        status: u16,
        /// The header: seconds, an ISO 8601 date-time, an HTTP date, or an invalid value.
        retry_after: String,
    },
    /// Responds with 200 and a sign-in page.
    Html,
    /// Never responds.
    Hang,
    /// Closes the connection and does nothing else.
    Close,
    /// Processes the request and closes the connection instead of responding. After a token request the
    /// old tokens are invalid and the new ones are lost.
    LoseResponse,
    /// Responds with 302.
    Redirect {
        /// `Location`.
        to: String,
    },
    /// Closes the connection before the body is complete.
    Truncate {
        /// Bytes of this response's body that are sent.
        after: u64,
    },
    /// Resets the connection before the body is complete.
    Reset {
        /// Bytes of this response's body that are sent.
        after: u64,
    },
    /// Stops sending before the body is complete and keeps the connection open.
    Stall {
        /// Bytes of this response's body that are sent.
        after: u64,
    },
    /// Sends this `Content-Length` instead of the file's. A smaller one makes a complete, shorter body;
    /// after a larger one the connection closes before the body is complete.
    ContentLength {
        /// The declared length.
        length: u64,
    },
    /// Sends no `Content-Length`: the body is chunked.
    OmitLength,
    /// Ignores `Range` and responds with 200 and the whole file.
    IgnoreRange,
    /// Sends slowly, in real time.
    Slow {
        /// Bytes per second.
        bytes_per_second: u64,
    },
    /// Sends slowly and ignores `Range`.
    SlowStream {
        /// Bytes per second.
        bytes_per_second: u64,
    },
}

impl Fault {
    fn is_possible_at(&self, point: Point) -> bool {
        match self {
            Self::Truncate { .. }
            | Self::Reset { .. }
            | Self::Stall { .. }
            | Self::ContentLength { .. }
            | Self::OmitLength
            | Self::IgnoreRange
            | Self::Slow { .. }
            | Self::SlowStream { .. } => point == Point::Content,
            Self::OmitField { .. } => point == Point::UsersMe,
            Self::OmitMeetings { .. } | Self::RepeatPageToken | Self::ExclusiveTo => {
                point == Point::ListRecordings
            }
            Self::Status { status }
            | Self::ErrorCode { status, .. }
            | Self::Respond { status, .. }
            | Self::RetryAfter { status, .. } => (200..=599).contains(status),
            _ => true,
        }
    }
}

/// A fault to activate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewFault {
    /// The place where the request fails.
    pub at: Point,
    /// The fault.
    #[serde(flatten)]
    pub fault: Fault,
    /// Number of requests that fail; `None` means all until it is cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Number of matching requests that succeed first.
    #[serde(default)]
    pub skip: u32,
    /// Limits it to requests about this user id, file id or meeting UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_for: Option<String>,
}

impl NewFault {
    /// Returns `fault` at `at` for the next `times` requests.
    #[must_use]
    pub fn times(at: Point, fault: Fault, times: u32) -> Self {
        Self { times: Some(times), ..Self::always(at, fault) }
    }

    /// Returns `fault` at `at` until it is cleared.
    #[must_use]
    pub fn always(at: Point, fault: Fault) -> Self {
        Self { at, fault, times: None, skip: 0, only_for: None }
    }

    /// Limits it to a user id, file id or meeting UUID.
    #[must_use]
    pub fn only_for(mut self, subject: impl Into<String>) -> Self {
        self.only_for = Some(subject.into());
        self
    }

    /// Lets `count` matching requests succeed first.
    #[must_use]
    pub fn skip_first(mut self, count: u32) -> Self {
        self.skip = count;
        self
    }
}

/// An active or used-up fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArmedFault {
    /// Number of the fault.
    pub id: u64,
    /// The fault; `times` counts down.
    #[serde(flatten)]
    pub fault: NewFault,
    /// Number of requests that failed.
    pub hits: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Faults {
    table: Mutex<Vec<ArmedFault>>,
    last_id: AtomicU64,
}

impl Faults {
    /// `None` if the fault is not possible at its point.
    pub(crate) fn arm(&self, fault: NewFault) -> Option<u64> {
        if !fault.fault.is_possible_at(fault.at) {
            return None;
        }
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        lock(&self.table).push(ArmedFault { id, fault, hits: 0 });
        Some(id)
    }

    pub(crate) fn list(&self) -> Vec<ArmedFault> {
        lock(&self.table).clone()
    }

    /// Removes one fault, or all.
    pub(crate) fn clear(&self, id: Option<u64>) {
        lock(&self.table).retain(|armed| id.is_some_and(|id| armed.id != id));
    }

    /// The fault for a request at `at` about `subjects`.
    pub(crate) fn take(&self, at: Point, subjects: &[&str]) -> Option<Fault> {
        let mut table = lock(&self.table);
        for ArmedFault { fault, hits, .. } in table.iter_mut() {
            let only_for = fault.only_for.as_deref();
            if fault.at != at
                || fault.times == Some(0)
                || only_for.is_some_and(|subject| !subjects.contains(&subject))
            {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            *hits += 1;
            if let Some(times) = &mut fault.times {
                *times -= 1;
            }
            return Some(fault.fault.clone());
        }
        None
    }
}
