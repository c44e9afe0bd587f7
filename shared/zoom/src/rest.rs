//! The REST calls that Reelay needs. All are reads, on paths with `me`: a user's own token opens no
//! others.

use std::fmt;

use jiff::civil::Date;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reelay_domain::ids::{MeetingUuid, ZoomUser};
use reqwest::StatusCode;
use reqwest::header::AUTHORIZATION;
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use crate::client::{TransientError, ZoomClient, bearer, read_json_bytes};
use crate::error_code::{code_in_broken_json, code_of};
use crate::rate_limit::RateLimit;

/// Zoom's code for "no recording for this meeting" **or** "still being processed": only its message,
/// which is localised, tells these apart. Found in [`ApiError::NotFound`].
pub const CODE_RECORDING_NOT_FOUND: i64 = 3301;

/// The longest life that Zoom gives a `download_access_token`, in seconds (7 days).
pub const MAX_DOWNLOAD_TOKEN_TTL: u32 = 604_800;

/// Meetings per page; Zoom's maximum.
const PAGE_SIZE: &str = "300";

/// What a path segment may hold as it stands (RFC 3986's unreserved characters).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A REST call that gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// 401, or code 124: the access token is expired or dead. Refresh once, try once more.
    #[error("zoom does not accept the access token")]
    Unauthorized,
    /// Codes 4711, 4700, 104: the user did not grant a scope that is needed.
    #[error("a scope is missing")]
    MissingScope,
    /// 404, or codes 1001, 1010 (user), 3001 (meeting), 3301 (see [`CODE_RECORDING_NOT_FOUND`]).
    #[error("zoom does not find it ({})", Code(*code))]
    NotFound {
        /// Zoom's code.
        code: Option<i64>,
    },
    /// 403, or code 200, which may come with HTTP 200: a role or a setting forbids it.
    #[error("no permission ({})", Code(*code))]
    Forbidden {
        /// Zoom's code.
        code: Option<i64>,
    },
    /// 429.
    #[error("too many requests")]
    RateLimited(RateLimit),
    /// Code 300 to a request with a page token: it is good for 15 minutes. Start the list over.
    #[error("the page token is no longer valid")]
    InvalidPageToken,
    /// Zoom could not be reached or not be understood.
    #[error(transparent)]
    Transient(TransientError),
    /// Any other refusal.
    #[error("zoom answered {status} ({})", Code(*code))]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// Zoom's code.
        code: Option<i64>,
    },
}

struct Code(Option<i64>);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(code) => write!(f, "code {code}"),
            None => f.write_str("no code"),
        }
    }
}

/// The user that a token belongs to. The e-mail address is not kept: it changes, and is no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentUser {
    /// Account and user.
    pub user: ZoomUser,
    /// `display_name`, else first and last name, else empty.
    pub display_name: String,
}

/// One page of a user's cloud recordings.
pub struct RecordingsPage {
    /// Zoom's objects as they came, one a meeting instance. They hold passcodes, play and share URLs
    /// and download URLs: do not store or log them whole.
    pub meetings: Vec<Value>,
    /// For the next page, good for 15 minutes; `None` on the last page.
    pub next_page_token: Option<String>,
}

impl fmt::Debug for RecordingsPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordingsPage")
            .field("meetings", &self.meetings.len())
            .field("next_page_token", &self.next_page_token.is_some())
            .finish()
    }
}

/// One meeting instance's recordings.
pub struct MeetingRecordings {
    /// Zoom's object without its `download_access_token`. See [`RecordingsPage::meetings`].
    pub object: Value,
    /// Opens the object's download URLs. Zoom leaves it out without a word if a role or setting
    /// forbids viewing.
    pub download_access_token: Option<SecretString>,
}

impl fmt::Debug for MeetingRecordings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeetingRecordings")
            .field(
                "download_access_token",
                &self.download_access_token.is_some(),
            )
            .finish_non_exhaustive()
    }
}

impl ZoomClient {
    /// `GET /users/me`: whose token this is. Within [`Timeouts::oauth`](crate::Timeouts::oauth), for a
    /// browser waits. An answer without usable ids is [`TransientError::MalformedResponse`].
    pub async fn get_current_user(
        &self,
        access_token: &SecretString,
    ) -> Result<CurrentUser, ApiError> {
        let url = self.endpoints.api("v2/users/me");
        let answer = self
            .get(url, access_token, self.timeouts.oauth, false)
            .await?;
        let text = |key: &str| {
            answer
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .trim()
        };
        let unreadable = ApiError::Transient(TransientError::MalformedResponse);
        let user = ZoomUser {
            account_id: text("account_id").parse().map_err(|_| unreadable)?,
            user_id: text("id").parse().map_err(|_| unreadable)?,
        };
        let display_name = match text("display_name") {
            "" => format!("{} {}", text("first_name"), text("last_name"))
                .trim()
                .to_owned(),
            name => name.to_owned(),
        };
        Ok(CurrentUser { user, display_name })
    }

    /// `GET /users/me/recordings`: a page of what was recorded from `from` to `to`, both in UTC and
    /// included. Zoom takes at most a month; a wider span it may silently trim.
    pub async fn list_recordings(
        &self,
        access_token: &SecretString,
        from: Date,
        to: Date,
        next_page_token: Option<&str>,
    ) -> Result<RecordingsPage, ApiError> {
        let mut url = self.endpoints.api("v2/users/me/recordings");
        url.query_pairs_mut()
            .append_pair("from", &from.to_string())
            .append_pair("to", &to.to_string())
            .append_pair("page_size", PAGE_SIZE)
            .extend_pairs(next_page_token.map(|token| ("next_page_token", token)));
        let paged = next_page_token.is_some();
        let mut answer = self
            .get(url, access_token, self.timeouts.rest, paged)
            .await?;
        // A list that cannot be found is not an empty list: nobody would look again.
        let Some(Value::Array(meetings)) = answer.get_mut("meetings").map(Value::take) else {
            return Err(ApiError::Transient(TransientError::MalformedResponse));
        };
        let next_page_token = answer
            .get("next_page_token")
            .and_then(Value::as_str)
            .filter(|token| !token.is_empty())
            .map(str::to_owned);
        Ok(RecordingsPage {
            meetings,
            next_page_token,
        })
    }

    /// `GET /meetings/{uuid}/recordings` with a `download_access_token` that lives `ttl_seconds`, at
    /// most [`MAX_DOWNLOAD_TOKEN_TTL`].
    pub async fn get_meeting_recordings(
        &self,
        access_token: &SecretString,
        uuid: &MeetingUuid,
        ttl_seconds: u32,
    ) -> Result<MeetingRecordings, ApiError> {
        let path = format!("v2/meetings/{}/recordings", uuid_segment(uuid));
        let mut url = self.endpoints.api(&path);
        url.query_pairs_mut()
            .append_pair("include_fields", "download_access_token")
            .append_pair("ttl", &ttl_seconds.min(MAX_DOWNLOAD_TOKEN_TTL).to_string());
        let mut object = self
            .get(url, access_token, self.timeouts.rest, false)
            .await?;
        let token = object
            .as_object_mut()
            .and_then(|o| o.remove("download_access_token"));
        let download_access_token = match token {
            Some(Value::String(token)) if !token.is_empty() => Some(SecretString::from(token)),
            _ => None,
        };
        Ok(MeetingRecordings {
            object,
            download_access_token,
        })
    }

    async fn get(
        &self,
        url: Url,
        access_token: &SecretString,
        timeout: std::time::Duration,
        paged: bool,
    ) -> Result<Value, ApiError> {
        let unavailable = |error: reqwest::Error| ApiError::Transient(TransientError::of(&error));
        let response = self
            .http
            .get(url)
            .timeout(timeout)
            .header(
                AUTHORIZATION,
                bearer(access_token).ok_or(ApiError::Unauthorized)?,
            )
            .send()
            .await
            .map_err(unavailable)?;
        let status = response.status();
        if status.is_server_error() {
            return Err(ApiError::Transient(TransientError::ServerError {
                status: status.as_u16(),
            }));
        }
        let limit = RateLimit::read(response.headers());
        let body = match read_json_bytes(response).await {
            Ok(body) => body,
            Err(outage) if status.is_success() => return Err(ApiError::Transient(outage)),
            // The status says enough.
            Err(_) => Vec::new(),
        };
        let answer: Option<Value> = serde_json::from_slice(&body).ok();
        let code = match &answer {
            Some(answer) => code_of(answer),
            None => code_in_broken_json(&body),
        };
        if !status.is_success() || code.is_some() {
            return Err(refusal(status, code, limit, paged));
        }
        answer
            .filter(Value::is_object)
            .ok_or(ApiError::Transient(TransientError::MalformedResponse))
    }
}

/// The table of refusals. `code` may come with HTTP 200.
fn refusal(status: StatusCode, code: Option<i64>, limit: RateLimit, paged: bool) -> ApiError {
    match (status.as_u16(), code) {
        (429, _) | (_, Some(429)) => ApiError::RateLimited(limit),
        (_, Some(4711)) => ApiError::MissingScope,
        // With 401, 4700 and 104 may as well mean a dead token, and a refresh shows.
        (401, _) | (_, Some(124)) => ApiError::Unauthorized,
        (_, Some(4700 | 104)) => ApiError::MissingScope,
        (_, Some(1001 | 1010 | 3001 | CODE_RECORDING_NOT_FOUND)) => ApiError::NotFound { code },
        (403, _) | (_, Some(200)) => ApiError::Forbidden { code },
        (404, _) => ApiError::NotFound { code },
        (_, Some(300)) if paged => ApiError::InvalidPageToken,
        // A redirect, which no call of ours has a use for.
        (300..=399, None) => ApiError::Transient(TransientError::MalformedResponse),
        (status, _) => ApiError::Rejected { status, code },
    }
}

/// A meeting's UUID as a path segment: encoded twice if it has a slash, which Zoom asks for at least
/// where it begins with `/` or has `//`. Twice also for `.` and `..`, which would otherwise vanish from
/// the path, encoded once or not.
fn uuid_segment(uuid: &MeetingUuid) -> String {
    let uuid = uuid.as_str();
    let once = utf8_percent_encode(uuid, SEGMENT).to_string();
    match uuid {
        "." => "%252E".to_owned(),
        ".." => "%252E%252E".to_owned(),
        _ if uuid.contains('/') => utf8_percent_encode(&once, SEGMENT).to_string(),
        _ => once,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoints::Endpoints;

    #[test]
    fn uuids_become_one_path_segment() {
        let endpoints = Endpoints::parse("https://zoom.us", "https://api.zoom.us").unwrap();
        for (uuid, segment) in [
            (
                "/ajSynthUUID1234567890==",
                "%252FajSynthUUID1234567890%253D%253D",
            ),
            (
                "ab//cdSynthUUID12345678==",
                "ab%252F%252FcdSynthUUID12345678%253D%253D",
            ),
            (
                "Ab/cd+SynthUUID1234567==",
                "Ab%252Fcd%252BSynthUUID1234567%253D%253D",
            ),
            ("Abcd+SynthUUID1234567==", "Abcd%2BSynthUUID1234567%3D%3D"),
            ("a?b%2F&c", "a%3Fb%252F%26c"),
            ("..", "%252E%252E"),
            (".", "%252E"),
            ("a.b..c", "a.b..c"),
        ] {
            let uuid: MeetingUuid = uuid.parse().unwrap();
            assert_eq!(uuid_segment(&uuid), segment);
            let url = endpoints.api(&format!("v2/meetings/{segment}/recordings"));
            assert_eq!(
                url.path(),
                format!("/v2/meetings/{segment}/recordings"),
                "left alone"
            );
        }
    }
}
