//! Instances of the functions, made as their `main`s make them.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use app_api::AppApi;
use aws_config::retry::RetryConfig;
use event_processor::EventProcessor;
use oauth_callback::OauthCallback;
use oauth_start::OauthStart;
use reconciler::Reconciler;
use recording_downloader::RecordingDownloader;
use reelay_devstack::Stack;
use reelay_grants::Grants;
use reelay_runtime::environment::{ConfigError, Environment};

/// One instance of each function, each made when it is called for the first time.
#[derive(Debug)]
pub(crate) struct Instances {
    environments: BTreeMap<&'static str, Environment>,
    oauth_start: OnceCell<OauthStart>,
    oauth_callback: OnceCell<OauthCallback>,
    app_api: OnceCell<AppApi>,
    reconciler: OnceCell<Reconciler>,
    event_processor: OnceCell<EventProcessor>,
    recording_downloader: OnceCell<RecordingDownloader>,
    grants: OnceCell<Grants>,
}

impl Instances {
    pub(crate) fn of(stack: &Stack) -> anyhow::Result<Self> {
        let binaries = [
            "oauth-start",
            "oauth-callback",
            "app-api",
            "reconciler",
            "event-processor",
            "recording-downloader",
        ];
        let environments = binaries.map(|binary| Ok((binary, environment(stack, binary)?)));
        let environments: anyhow::Result<_> = environments.into_iter().collect();
        Ok(Self::with(environments?))
    }

    /// Others, in the same surroundings.
    pub(crate) fn anew(&self) -> Self {
        Self::with(self.environments.clone())
    }

    fn with(environments: BTreeMap<&'static str, Environment>) -> Self {
        Self {
            environments,
            oauth_start: OnceCell::new(),
            oauth_callback: OnceCell::new(),
            app_api: OnceCell::new(),
            reconciler: OnceCell::new(),
            event_processor: OnceCell::new(),
            recording_downloader: OnceCell::new(),
            grants: OnceCell::new(),
        }
    }

    pub(crate) fn environment(&self, binary: &str) -> anyhow::Result<&Environment> {
        let environment = self.environments.get(binary);
        environment.with_context(|| format!("no function {binary}"))
    }

    pub(crate) fn oauth_start(&self) -> anyhow::Result<&OauthStart> {
        self.get(&self.oauth_start, "oauth-start", OauthStart::new)
    }

    pub(crate) fn oauth_callback(&self) -> anyhow::Result<&OauthCallback> {
        self.get(&self.oauth_callback, "oauth-callback", OauthCallback::new)
    }

    pub(crate) fn app_api(&self) -> anyhow::Result<&AppApi> {
        self.get(&self.app_api, "app-api", AppApi::new)
    }

    pub(crate) fn reconciler(&self) -> anyhow::Result<&Reconciler> {
        self.get(&self.reconciler, "reconciler", Reconciler::new)
    }

    pub(crate) fn event_processor(&self) -> anyhow::Result<&EventProcessor> {
        self.get(
            &self.event_processor,
            "event-processor",
            EventProcessor::new,
        )
    }

    pub(crate) fn recording_downloader(&self) -> anyhow::Result<&RecordingDownloader> {
        self.get(
            &self.recording_downloader,
            "recording-downloader",
            RecordingDownloader::new,
        )
    }

    /// What all functions get their tokens from.
    pub(crate) fn grants(&self) -> anyhow::Result<&Grants> {
        self.get(&self.grants, "reconciler", Grants::new)
    }

    fn get<'a, T>(
        &self,
        cell: &'a OnceCell<T>,
        binary: &str,
        new: fn(&Environment) -> Result<T, ConfigError>,
    ) -> anyhow::Result<&'a T> {
        if let Some(made) = cell.get() {
            return Ok(made);
        }
        let made = new(self.environment(binary)?)?;
        Ok(cell.get_or_init(|| made))
    }
}

/// A function's environment; the SDK repeats cut calls as ever, and does not pause before.
fn environment(stack: &Stack, binary: &str) -> anyhow::Result<Environment> {
    let around = stack
        .function_environment(binary)
        .ok_or_else(|| anyhow!("the stack has no function {binary}"))?;
    let retries = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
    let sdk = around.sdk.to_builder().retry_config(retries).build();
    Ok(Environment {
        sdk,
        ..around.clone()
    })
}
