//! Function instances, created as their `main` functions create them.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use app_api::AppApi;
use aws_config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{AsyncSleep, SharedAsyncSleep, Sleep};
use event_processor::EventProcessor;
use oauth_callback::OauthCallback;
use oauth_start::OauthStart;
use reconciler::Reconciler;
use recording_downloader::RecordingDownloader;
use reelay_devstack::Stack;
use reelay_grants::Grants;
use reelay_runtime::environment::{ConfigError, Environment};

const FUNCTIONS: [&str; 6] = [
    "oauth-start",
    "oauth-callback",
    "app-api",
    "reconciler",
    "event-processor",
    "recording-downloader",
];

/// One instance of each function, created on first use.
#[derive(Debug, Default)]
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

/// Defines one accessor: `name: Type from "function"`.
macro_rules! accessors {
    ($($name:ident: $type:ident from $function:literal;)*) => {$(
        pub(crate) fn $name(&self) -> anyhow::Result<&$type> {
            self.get(&self.$name, $function, $type::new)
        }
    )*};
}

impl Instances {
    /// Creates the environments of a stack's functions.
    pub(crate) fn new(stack: &Stack) -> anyhow::Result<Self> {
        let environments = FUNCTIONS.map(|function| Ok((function, environment(stack, function)?)));
        let environments: anyhow::Result<_> = environments.into_iter().collect();
        Ok(Self { environments: environments?, ..Self::default() })
    }

    /// Returns new instances with the same environments.
    pub(crate) fn fresh(&self) -> Self {
        Self { environments: self.environments.clone(), ..Self::default() }
    }

    pub(crate) fn environment(&self, function: &str) -> anyhow::Result<&Environment> {
        let environment = self.environments.get(function);
        environment.with_context(|| format!("no function {function}"))
    }

    accessors! {
        oauth_start: OauthStart from "oauth-start";
        oauth_callback: OauthCallback from "oauth-callback";
        app_api: AppApi from "app-api";
        reconciler: Reconciler from "reconciler";
        event_processor: EventProcessor from "event-processor";
        recording_downloader: RecordingDownloader from "recording-downloader";
        grants: Grants from "reconciler";
    }

    fn get<'a, T>(
        &self,
        cell: &'a OnceCell<T>,
        function: &str,
        new: fn(&Environment) -> Result<T, ConfigError>,
    ) -> anyhow::Result<&'a T> {
        if let Some(instance) = cell.get() {
            return Ok(instance);
        }
        let instance = new(self.environment(function)?)?;
        Ok(cell.get_or_init(|| instance))
    }
}

/// Divisor of the SDK's delays and time limits: a hanging call costs a fraction of a second, far more than the
/// engines need to respond.
const SLEEP_DIVISOR: u32 = 12;

/// The SDK's sleeps, shortened.
#[derive(Debug)]
struct ShortSleep;

impl AsyncSleep for ShortSleep {
    fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(tokio::time::sleep(duration / SLEEP_DIVISOR))
    }
}

/// Returns a function's environment with a minimal SDK retry delay and shortened sleeps.
fn environment(stack: &Stack, function: &str) -> anyhow::Result<Environment> {
    let environment = stack
        .function_environment(function)
        .with_context(|| format!("the stack has no function {function}"))?;
    let retries = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
    let sleep = SharedAsyncSleep::new(ShortSleep);
    let sdk = environment.sdk.to_builder().retry_config(retries).sleep_impl(sleep).build();
    Ok(Environment { sdk, ..environment.clone() })
}
