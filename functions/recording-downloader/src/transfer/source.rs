//! Download sources: the (URL, token) candidates of a file, tried in order.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use reelay_domain::upload::SourceKind;
use reelay_zoom::{ByteRange, DownloadError, DownloadHosts, NetworkError, ZoomClient};
use secrecy::SecretString;

use super::content;
use super::error::{TransferError, is_expiry, tries_next_candidate};
use super::response::{FileVersion, Response};
use super::settings::Settings;
use super::timing::StallLimit;

/// A URL and the token to send with it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Download URL, which counts as a credential.
    pub url: SecretString,
    /// Bearer token, sent only to the URL's own host.
    pub token: SecretString,
    /// Kind of the URL.
    pub kind: SourceKind,
}

/// The file in a response of Zoom's API.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Candidates in the order in which they are tried.
    pub candidates: Vec<Candidate>,
    /// Declared size in bytes.
    pub declared_size: Option<u64>,
}

/// Position in the list of candidates, common to all requests of a transfer.
#[derive(Clone, Default)]
struct Position {
    index: usize,
    /// Target of the candidate's redirect; requests for further ranges go there directly.
    redirect: Option<SecretString>,
}

/// Opens a file with the first candidate that works: the URL from the event, then those from Zoom's API.
/// The API is called at most once, and only if needed.
pub struct SourceResolver {
    zoom: ZoomClient,
    hosts: DownloadHosts,
    response_timeout: Duration,
    stall: StallLimit,
    event: Option<Candidate>,
    listing: Shared<BoxFuture<'static, Result<Listing, TransferError>>>,
    /// Whether an earlier attempt failed.
    is_retry: bool,
    position: Mutex<Position>,
}

impl SourceResolver {
    /// Creates a resolver. `event` is the candidate from the event; `listing` calls Zoom's API; `is_retry` says
    /// whether an earlier attempt failed.
    pub fn new(
        zoom: &ZoomClient,
        hosts: &DownloadHosts,
        settings: &Settings,
        event: Option<Candidate>,
        listing: impl Future<Output = Result<Listing, TransferError>> + Send + 'static,
        is_retry: bool,
    ) -> Self {
        Self {
            zoom: zoom.clone(),
            hosts: hosts.clone(),
            response_timeout: settings.response_timeout,
            stall: settings.stall,
            event,
            listing: listing.boxed().shared(),
            is_retry,
            position: Mutex::default(),
        }
    }

    /// Checks that there is a first candidate.
    pub(super) async fn require(&self) -> Result<(), TransferError> {
        let first = self.candidate(0).await?;
        first.map(|_| ()).ok_or(TransferError::NoSource)
    }

    /// Size that Zoom's API declares now, if it is available.
    pub(super) async fn declared_size(&self) -> Option<u64> {
        match self.listing.clone().await {
            Ok(listing) => listing.declared_size,
            Err(error) => {
                tracing::info!(%error, "declared size not refreshed");
                None
            }
        }
    }

    /// Opens a range of a known version of the file.
    pub(super) async fn open_version(
        &self,
        range: Option<ByteRange>,
        version: &FileVersion,
    ) -> Result<Response, TransferError> {
        let response = match self.open(range).await {
            // The file is now shorter.
            Err(TransferError::Download(DownloadError::RangeNotSatisfiable { .. })) => {
                return Err(TransferError::SourceChanged);
            }
            response => response?,
        };
        version.verify(&response.head)?;
        Ok(response)
    }

    /// Opens the file or a range of it with the first candidate, from the current one on, that is accepted.
    pub(super) async fn open(&self, range: Option<ByteRange>) -> Result<Response, TransferError> {
        loop {
            let position = self.position().clone();
            let candidate = self.candidate(position.index).await?;
            let candidate = candidate.ok_or(TransferError::NoSource)?;
            let error = match self.request(&candidate, &position, range).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            if !tries_next_candidate(&error, self.is_retry) {
                return Err(TransferError::Download(error));
            }
            match self.candidate(position.index + 1).await {
                Ok(Some(_)) => self.advance(position.index),
                // An expired URL does not show whether the file exists.
                Err(lookup) if lookup.is_not_found() && is_expiry(&error) => return Err(lookup),
                Err(lookup) if !lookup.is_final_lookup() => return Err(lookup),
                Ok(None) | Err(_) => return Err(TransferError::Download(error)),
            }
        }
    }

    async fn candidate(&self, index: usize) -> Result<Option<Candidate>, TransferError> {
        let index = match &self.event {
            Some(event) if index == 0 => return Ok(Some(event.clone())),
            Some(_) => index - 1,
            None => index,
        };
        Ok(self.listing.clone().await?.candidates.get(index).cloned())
    }

    async fn request(
        &self,
        candidate: &Candidate,
        position: &Position,
        range: Option<ByteRange>,
    ) -> Result<Response, DownloadError> {
        let Candidate { url, token, kind } = candidate;
        if let Some(redirect) = &position.redirect {
            match self.send(redirect, None, *kind, range).await {
                Ok((response, _)) => return Ok(response),
                // The redirect target may have expired while the candidate is still valid.
                Err(error) if tries_next_candidate(&error, self.is_retry) => {
                    self.set_redirect(position.index, None);
                }
                Err(error) => return Err(error),
            }
        }
        let (response, redirect) = self.send(url, Some(token), *kind, range).await?;
        if redirect.is_some() {
            self.set_redirect(position.index, redirect);
        }
        Ok(response)
    }

    /// Sends one request. Also returns the redirect target if it needs no token.
    async fn send(
        &self,
        url: &SecretString,
        token: Option<&SecretString>,
        kind: SourceKind,
        range: Option<ByteRange>,
    ) -> Result<(Response, Option<SecretString>), DownloadError> {
        let download = self.zoom.download(&self.hosts, url, token, range);
        let download = tokio::time::timeout(self.response_timeout, download)
            .await
            .map_err(|_| DownloadError::Network(NetworkError::Timeout))??;
        let redirect =
            (token.is_some() && !download.is_authorized).then(|| download.final_url.clone());
        let mut response = Response::new(download, kind, self.stall);
        // A server that ignores the range sends the whole file.
        if response.head.content_range.is_none_or(|range| range.first == 0) {
            let head = response.body.peek().await.map_err(|error| match error {
                TransferError::Network(error) => DownloadError::Network(error),
                _ => DownloadError::Network(NetworkError::Timeout),
            })?;
            if content::is_html(head) {
                return Err(DownloadError::HtmlInsteadOfFile);
            }
        }
        Ok((response, redirect))
    }

    /// Moves to the next candidate, unless a concurrent request already did.
    fn advance(&self, from: usize) {
        let mut position = self.position();
        if position.index == from {
            *position = Position { index: from + 1, redirect: None };
        }
    }

    fn set_redirect(&self, index: usize, redirect: Option<SecretString>) {
        let mut position = self.position();
        if position.index == index {
            position.redirect = redirect;
        }
    }

    fn position(&self) -> MutexGuard<'_, Position> {
        // Every update is one assignment, so a panic cannot leave it half done.
        self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
