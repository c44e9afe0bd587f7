//! Opening the file, or a range of it, at Zoom: which address, which token, and what to hold an answer
//! against.
//!
//! All requests of a transfer share one place on the ladder of (URL, token) pairs. Whoever is refused
//! climbs for all; who was refused on a rung that has been left meanwhile just asks again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reelay_store::recordings::SourceKind;
use reelay_zoom::{ByteRange, Download, DownloadError, DownloadHosts, NetworkError, ZoomClient};
use secrecy::SecretString;

use super::body::{BodyError, WatchedBody};
use super::pace::StallRule;
use super::{Cause, Halt, Host};

/// A place to fetch the file from.
#[derive(Debug, Clone)]
pub struct Rung {
    /// Where; a credential.
    pub url: SecretString,
    /// Goes to the URL's own host only.
    pub bearer: Option<SecretString>,
    /// Validators are compared within one kind only.
    pub kind: SourceKind,
}

/// The file as an answer describes it: later answers must describe the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) length: u64,
    pub(crate) validator: Option<String>,
    pub(crate) kind: SourceKind,
}

/// Why an answer is no further range of the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// Another file lies there now.
    Changed,
    /// All of it came, instead of the range.
    NoRange,
}

impl Identity {
    /// Holds an answer to a ranged request against the file that is expected.
    pub(crate) fn check(&self, answer: &Answer) -> Result<(), Mismatch> {
        let range = answer.download.content_range.ok_or(Mismatch::NoRange)?;
        let same_length = range.total.is_none_or(|total| total == self.length);
        let validators = (&self.validator, &answer.validator);
        let same_file = match validators {
            (Some(expected), Some(found)) if self.kind == answer.kind => expected == found,
            _ => true,
        };
        if same_length && same_file {
            Ok(())
        } else {
            Err(Mismatch::Changed)
        }
    }
}

/// A file, or a range of it, that has begun to arrive.
pub(crate) struct Answer {
    /// The head; its body is in `body`.
    pub(crate) download: Head,
    pub(crate) validator: Option<String>,
    pub(crate) kind: SourceKind,
    pub(crate) body: WatchedBody,
}

/// What of a [`Download`] is still needed once its body has been taken.
pub(crate) struct Head {
    pub(crate) content_length: Option<u64>,
    pub(crate) content_range: Option<reelay_zoom::ContentRange>,
}

/// Whether the next rung may do better. What is not about this URL and this token will not change by
/// trying others.
fn climbs(error: &DownloadError) -> bool {
    matches!(
        error,
        DownloadError::Unauthorized
            | DownloadError::Forbidden
            | DownloadError::HtmlInsteadOfFile
            | DownloadError::NotFound
            | DownloadError::Gone
            | DownloadError::DisallowedUrl(_)
    )
}

struct Place {
    number: usize,
    rung: Rung,
    /// Where the rung's URL redirected to. While it lives, asking there saves a request a range.
    direct: Option<SecretString>,
}

/// The way to the file at the moment. It climbs no ladder by itself, so that it can be shared with bodies
/// that outlive any borrow.
pub(crate) struct Way {
    zoom: ZoomClient,
    hosts: DownloadHosts,
    answer: Duration,
    stall: StallRule,
    place: Mutex<Place>,
}

impl Way {
    /// Asks for the file, or a range of it. An error comes with the rung on which it was met.
    pub(crate) async fn ask(
        &self,
        range: Option<ByteRange>,
    ) -> Result<Answer, (usize, DownloadError)> {
        let (number, rung, direct) = {
            let place = self.place();
            (place.number, place.rung.clone(), place.direct.clone())
        };
        let failed = |error| (number, error);
        if let Some(direct) = direct {
            match self.request(&direct, None, rung.kind, range).await {
                Ok((answer, _)) => return Ok(answer),
                // It has expired, perhaps: the rung itself says whether it still holds.
                Err(error) if climbs(&error) => self.redirects_to(number, None),
                Err(error) => return Err(failed(error)),
            }
        }
        let (answer, direct) = self
            .request(&rung.url, rung.bearer.as_ref(), rung.kind, range)
            .await
            .map_err(failed)?;
        if direct.is_some() {
            self.redirects_to(number, direct);
        }
        Ok(answer)
    }

    async fn request(
        &self,
        url: &SecretString,
        bearer: Option<&SecretString>,
        kind: SourceKind,
        range: Option<ByteRange>,
    ) -> Result<(Answer, Option<SecretString>), DownloadError> {
        let begins = self.zoom.download(&self.hosts, url, bearer, range);
        let download = tokio::time::timeout(self.answer, begins)
            .await
            .map_err(|_| DownloadError::Network(NetworkError::Timeout))??;
        // Only an address that wants no token can be asked without one.
        let direct =
            (bearer.is_some() && !download.is_authorized).then(|| download.final_url.clone());
        let mut answer = self.answer(download, kind);
        if range.is_none_or(|range| range.first() == 0) {
            let head = answer.body.peek().await.map_err(|error| match error {
                BodyError::Network(error) => DownloadError::Network(error),
                _ => DownloadError::Network(NetworkError::Timeout),
            })?;
            if super::proof::is_page(head) {
                return Err(DownloadError::HtmlInsteadOfFile);
            }
        }
        Ok((answer, direct))
    }

    fn answer(&self, download: Download, kind: SourceKind) -> Answer {
        Answer {
            validator: download.etag.or(download.last_modified),
            kind,
            body: WatchedBody::new(download.body, self.stall),
            download: Head {
                content_length: download.content_length,
                content_range: download.content_range,
            },
        }
    }

    fn redirects_to(&self, number: usize, direct: Option<SecretString>) {
        let mut place = self.place();
        if place.number == number {
            place.direct = direct;
        }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        // No update of it spans two statements that may panic.
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way, and who knows the next rung.
pub(crate) struct Source<'a> {
    host: &'a dyn Host,
    way: std::sync::Arc<Way>,
    climbing: tokio::sync::Mutex<()>,
}

impl<'a> Source<'a> {
    /// Begins on the lowest rung.
    pub(crate) async fn new(
        zoom: &ZoomClient,
        hosts: &DownloadHosts,
        settings: &super::Settings,
        host: &'a dyn Host,
    ) -> Result<Self, Halt> {
        let rung = host.rung(0).await?.ok_or(Halt::Cause(Cause::NoSource))?;
        Ok(Self {
            host,
            way: std::sync::Arc::new(Way {
                zoom: zoom.clone(),
                hosts: hosts.clone(),
                answer: settings.answer,
                stall: settings.stall,
                place: Mutex::new(Place {
                    number: 0,
                    rung,
                    direct: None,
                }),
            }),
            climbing: tokio::sync::Mutex::new(()),
        })
    }

    pub(crate) fn way(&self) -> &std::sync::Arc<Way> {
        &self.way
    }

    /// Opens the file, or a range of it, on the first rung from here on that holds.
    pub(crate) async fn open(&self, range: Option<ByteRange>) -> Result<Answer, Halt> {
        loop {
            match self.way.ask(range).await {
                Ok(answer) => return Ok(answer),
                Err((rung, error)) if climbs(&error) => self.climb(rung, error).await?,
                Err((_, error)) => return Err(Halt::Cause(Cause::Download(error))),
            }
        }
    }

    async fn climb(&self, from: usize, refused: DownloadError) -> Result<(), Halt> {
        let _alone = self.climbing.lock().await;
        if self.way.place().number > from {
            return Ok(());
        }
        let Some(rung) = self.host.rung(from + 1).await? else {
            return Err(Halt::Cause(Cause::Download(refused)));
        };
        *self.way.place() = Place {
            number: from + 1,
            rung,
            direct: None,
        };
        Ok(())
    }
}
