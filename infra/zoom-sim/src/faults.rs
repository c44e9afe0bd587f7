//! What can be made to go wrong, where, and how often.
//!
//! One table of armed faults. A request that reaches a point takes the first fault armed there that
//! fits it; faults with a count disarm themselves.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::lock;

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
    /// The download URL that events and REST name, before its redirect.
    Download,
    /// Where the redirect leads and the bytes are.
    Content,
}

/// What happens instead of, or to, the right answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// This status, with the body that Zoom sends along with it.
    Status {
        /// HTTP status.
        status: u16,
    },
    /// Exactly this answer.
    Answer {
        /// HTTP status.
        status: u16,
        /// `Content-Type`.
        content_type: String,
        /// Body.
        body: String,
    },
    /// The rate limit: the daily one with `retry_after_seconds`, whose `Retry-After` is a date, else the
    /// one per second, which has none.
    RateLimited {
        /// When the daily limit ends, from now.
        #[serde(default)]
        retry_after_seconds: Option<i64>,
    },
    /// The daily rate limit as the other headers tell of it, without a `Retry-After`.
    DailyLimit,
    /// This status, with this very `Retry-After`.
    ComeBack {
        /// HTTP status.
        status: u16,
        /// The header: seconds, an ISO 8601 date-time, an HTTP date, or nonsense.
        retry_after: String,
    },
    /// 200 with a login page.
    Html,
    /// Accepts the request and never answers.
    Hang,
    /// Closes the connection instead of answering; nothing has happened.
    Close,
    /// Does all it should and closes the connection instead of saying so. For a token call: the old
    /// tokens are dead, and the new ones are lost.
    LoseAnswer,
    /// 302 to any URL.
    Redirect {
        /// The `Location`.
        to: String,
    },
    /// Ends the body early; `Content-Length` promised more.
    Truncate {
        /// Bytes of this answer's body that are sent.
        after: u64,
    },
    /// Resets the connection in the middle of the body.
    Reset {
        /// Bytes of this answer's body that are sent.
        after: u64,
    },
    /// Stops sending in the middle of the body and holds the connection.
    Stall {
        /// Bytes of this answer's body that are sent.
        after: u64,
    },
    /// Sends `Content-Length: length`, whatever the file's is. A shorter one makes a whole but shorter
    /// answer, a longer one an answer that never becomes whole.
    ContentLength {
        /// The length that is claimed.
        length: u64,
    },
    /// No `Content-Length`: chunked.
    OmitLength,
    /// Ignores `Range` and sends it all with 200.
    IgnoreRange,
    /// Sends slowly, as seen in real time.
    Slow {
        /// Bytes per second.
        bytes_per_second: u64,
    },
    /// Sends slowly, and ignores `Range`.
    SlowStream {
        /// Bytes per second.
        bytes_per_second: u64,
    },
}

impl Fault {
    fn fits(&self, point: Point) -> bool {
        match self {
            Self::Truncate { .. }
            | Self::Reset { .. }
            | Self::Stall { .. }
            | Self::ContentLength { .. }
            | Self::OmitLength
            | Self::IgnoreRange
            | Self::Slow { .. }
            | Self::SlowStream { .. } => point == Point::Content,
            Self::Status { status }
            | Self::Answer { status, .. }
            | Self::ComeBack { status, .. } => (200..=599).contains(status),
            _ => true,
        }
    }
}

/// A fault to arm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewFault {
    /// Where.
    pub at: Point,
    /// What.
    #[serde(flatten)]
    pub fault: Fault,
    /// How often; without it until cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// How many fitting requests pass unharmed first.
    #[serde(default)]
    pub skip: u32,
    /// Only for requests about this user id, file id or meeting UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
}

impl NewFault {
    /// `fault` at `at`, for the next `times` requests.
    #[must_use]
    pub fn times(at: Point, fault: Fault, times: u32) -> Self {
        Self {
            at,
            fault,
            times: Some(times),
            skip: 0,
            about: None,
        }
    }

    /// `fault` at `at`, until cleared.
    #[must_use]
    pub fn always(at: Point, fault: Fault) -> Self {
        Self {
            at,
            fault,
            times: None,
            skip: 0,
            about: None,
        }
    }

    /// Restricts it to one user, file or meeting.
    #[must_use]
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.about = Some(subject.into());
        self
    }

    /// Lets some requests pass first.
    #[must_use]
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }
}

/// A fault in the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArmedFault {
    /// Its number.
    pub id: u64,
    /// The fault; `times` counts down.
    #[serde(flatten)]
    pub fault: NewFault,
    /// How often it has struck.
    pub struck: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Faults {
    table: Mutex<Vec<ArmedFault>>,
    next: AtomicU64,
}

impl Faults {
    /// `None` if such a fault has no meaning there.
    pub(crate) fn arm(&self, fault: NewFault) -> Option<u64> {
        if !fault.fault.fits(fault.at) {
            return None;
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        lock(&self.table).push(ArmedFault {
            id,
            fault,
            struck: 0,
        });
        Some(id)
    }

    pub(crate) fn list(&self) -> Vec<ArmedFault> {
        lock(&self.table).clone()
    }

    /// Disarms one, or all.
    pub(crate) fn clear(&self, id: Option<u64>) {
        lock(&self.table).retain(|armed| id.is_some_and(|id| armed.id != id));
    }

    /// The fault that strikes a request at `at` about `subjects`, if any.
    pub(crate) fn take(&self, at: Point, subjects: &[&str]) -> Option<Fault> {
        let mut table = lock(&self.table);
        for armed in table.iter_mut() {
            let about = armed.fault.about.as_deref();
            if armed.fault.at != at
                || armed.fault.times == Some(0)
                || about.is_some_and(|about| !subjects.contains(&about))
            {
                continue;
            }
            if armed.fault.skip > 0 {
                armed.fault.skip -= 1;
                continue;
            }
            armed.struck += 1;
            if let Some(times) = &mut armed.fault.times {
                *times -= 1;
            }
            return Some(armed.fault.fault.clone());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_count_down_skip_and_match() {
        let faults = Faults::default();
        faults.arm(NewFault::times(Point::UsersMe, Fault::Html, 1).after(1));
        faults.arm(NewFault::always(Point::Download, Fault::Close).about("file"));
        assert_eq!(faults.take(Point::UsersMe, &[]), None);
        assert_eq!(faults.take(Point::UsersMe, &[]), Some(Fault::Html));
        assert_eq!(faults.take(Point::UsersMe, &[]), None);
        assert_eq!(faults.take(Point::Download, &["other"]), None);
        assert_eq!(faults.take(Point::Download, &["file"]), Some(Fault::Close));
        faults.clear(None);
        assert!(faults.list().is_empty());
        assert!(
            faults
                .arm(NewFault::always(Point::UsersMe, Fault::OmitLength))
                .is_none()
        );
    }

    #[test]
    fn json_form() {
        let json = r#"{"at":"content","kind":"truncate","after":10,"times":2}"#;
        let fault: NewFault = serde_json::from_str(json).expect("valid");
        assert_eq!(
            fault,
            NewFault::times(Point::Content, Fault::Truncate { after: 10 }, 2)
        );
    }
}
