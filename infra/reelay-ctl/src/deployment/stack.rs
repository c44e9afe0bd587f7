//! Outputs, parameters and resources of a deployment, and the commands that reach it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::Context as _;
use aws_smithy_http_client::{Builder, tls};
use reelay_runtime::environment::{Environment, Variables};
use serde::Deserialize;
use url::{Host, Url};

use crate::arguments::{QueueName, Target};

/// Timeout of requests to the stack: longer than API Gateway's own 30 seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(35);

/// Environment variables of the functions, and the logical ids of the resources whose names they hold.
const RESOURCES: [(&str, &str); 14] = [
    ("LINKS_TABLE", "LinksTable"),
    ("SESSIONS_TABLE", "SessionsTable"),
    ("RECORDINGS_TABLE", "RecordingsTable"),
    ("NOTIFICATIONS_TABLE", "NotificationsTable"),
    ("BUCKET", "RecordingsBucket"),
    ("JOBS_QUEUE_URL", "JobsQueue"),
    ("DOWNLOADS_QUEUE_URL", "DownloadsQueue"),
    ("NOTIFICATIONS_QUEUE_URL", "NotificationsQueue"),
    ("TOKEN_KEY_ID", "TokenKey"),
    ("ZOOM_SECRET", "ZoomSecret"),
    ("STATE_KEY", "StateKey"),
    ("QUEUE_KEY", "QueueKey"),
    ("APP_SECRET", "AppSecret"),
    ("NOTIFICATION_SECRET", "NotificationSecret"),
];

/// Description of a stack, as CloudFormation returns it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Description {
    pub(super) outputs: BTreeMap<String, String>,
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) resources: BTreeMap<String, String>,
}

/// A deployed stack or a devstack, with the clients that reach it.
#[derive(Debug)]
pub(crate) struct Deployment {
    /// Stack name, or URL of the devstack.
    pub(crate) name: String,
    /// A devstack has neither CloudFormation nor CloudWatch.
    pub(crate) is_dev: bool,
    /// AWS clients and the environment variables of the functions.
    pub(crate) environment: Environment,
    /// Client for the stack's API and for Zoom. It follows no redirects.
    pub(crate) http: reqwest::Client,
    description: Description,
    api_url: Option<Url>,
    command_line: CommandLine,
}

/// Additions to an `aws` command so that it reaches the deployment.
#[derive(Debug, Default)]
pub(super) struct CommandLine {
    pub(super) prefix: String,
    pub(super) suffix: String,
    /// Endpoint URLs by service, for emulators.
    pub(super) endpoints: BTreeMap<&'static str, String>,
}

/// A queue and its dead-letter queue.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    pub(crate) dlq_url: String,
    /// Name of the function that processes the messages.
    pub(crate) consumer: &'static str,
}

impl Deployment {
    pub(super) fn new(
        name: String,
        is_dev: bool,
        description: Description,
        mut environment: Environment,
        mut variables: HashMap<String, String>,
        target: &Target,
        command_line: CommandLine,
    ) -> anyhow::Result<Self> {
        for (variable, logical) in RESOURCES {
            if let Some(physical) = description.resources.get(logical) {
                variables.insert(variable.to_owned(), physical.clone());
            }
        }
        environment.variables = Variables::new(variables);
        Ok(Self {
            name,
            is_dev,
            environment,
            http: http_client(target.api_url.as_ref())?,
            description,
            api_url: target.api_url.clone(),
            command_line,
        })
    }

    /// Returns an output of the stack.
    pub(crate) fn output(&self, name: &str) -> anyhow::Result<&str> {
        let found = self.description.outputs.get(name).map(String::as_str);
        found.with_context(|| {
            format!(
                "{} has no output {name}: it was not deployed from Reelay's template",
                self.name
            )
        })
    }

    /// Returns a parameter of the stack, or an empty string if it does not exist.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.description.parameters.get(name).map_or("", String::as_str)
    }

    /// Returns the environment with Zoom's URLs, for code that calls Zoom with the tokens of grants.
    pub(crate) fn grants_environment(&self) -> Environment {
        let mut environment = self.environment.clone();
        let mut variables = environment.variables.all().clone();
        for (variable, parameter) in
            [("ZOOM_OAUTH_URL", "ZoomOAuthUrl"), ("ZOOM_API_URL", "ZoomApiUrl")]
        {
            variables.insert(variable.to_owned(), self.parameter(parameter).to_owned());
        }
        environment.variables = Variables::new(variables);
        environment
    }

    /// Returns the physical id of a resource.
    pub(crate) fn resource(&self, logical: &str) -> anyhow::Result<&str> {
        let found = self.description.resources.get(logical).map(String::as_str);
        found.with_context(|| {
            format!(
                "{} has no resource {logical}: it was not deployed from Reelay's template",
                self.name
            )
        })
    }

    /// Returns the logical and physical ids of all resources.
    pub(crate) fn resources(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.description.resources.iter();
        all.map(|(logical, physical)| (logical.as_str(), physical.as_str()))
    }

    /// Returns the URL of an output, moved below `--api-url` if that is set.
    pub(crate) fn endpoint(&self, output: &str) -> anyhow::Result<Url> {
        let text = self.output(output)?;
        let url: Url = text.parse().with_context(|| format!("the output {output} is not a URL"))?;
        Ok(match &self.api_url {
            None => url,
            Some(base) => {
                let mut moved = base.clone();
                let prefix = base.path().trim_end_matches('/');
                moved.set_path(&format!("{prefix}{}", url.path()));
                moved
            }
        })
    }

    /// Returns a queue and its dead-letter queue.
    pub(crate) fn queue(&self, name: QueueName) -> anyhow::Result<Queue> {
        let (name, queue, dlq, consumer) = match name {
            QueueName::Events => ("events", "EventsQueue", "EventsDlq", "event-processor"),
            QueueName::Downloads => {
                ("downloads", "DownloadsQueue", "DownloadsDlq", "recording-downloader")
            }
            QueueName::Notifications => {
                ("notifications", "NotificationsQueue", "NotificationsDlq", "notifier")
            }
            QueueName::Jobs => ("jobs", "JobsQueue", "JobsDlq", "reconciler"),
        };
        Ok(Queue {
            name,
            url: self.resource(queue)?.to_owned(),
            dlq_url: self.resource(dlq)?.to_owned(),
            consumer,
        })
    }

    /// Formats an `aws` command for this deployment's account and region.
    pub(crate) fn aws_command(&self, service: &str, arguments: &str) -> String {
        let CommandLine { prefix, suffix, endpoints } = &self.command_line;
        let endpoint =
            endpoints.get(service).map(|url| format!(" --endpoint-url {url}")).unwrap_or_default();
        format!("{prefix}aws {service} {arguments}{suffix}{endpoint}")
    }

    /// Formats the command that prints recent logs of a function, filtered by `text`.
    pub(crate) fn logs_command(&self, function: &str, text: Option<&str>) -> String {
        if self.is_dev {
            let filter = text.map_or_else(String::new, |text| format!(" | grep {text}"));
            return format!(
                "RUST_LOG=info cargo run 2>&1{filter}  # the logs of {function} are in this output"
            );
        }
        let group = format!("/{}/{function}", self.name);
        match text {
            // The AWS CLI's `logs tail` exists in version 2 alone.
            None => self.aws_command(
                "logs",
                &format!(
                    "filter-log-events --log-group-name {group} --start-time $(($(date +%s) - 1800))000 \
                     --query 'events[].message' --output text"
                ),
            ),
            Some(text) => self.aws_command(
                "logs",
                &format!(
                    "filter-log-events --log-group-name {group} --filter-pattern '\"{text}\"'"
                ),
            ),
        }
    }

    /// Formats a `reelay` command for this deployment.
    pub(crate) fn reelay_command(&self, arguments: &str) -> String {
        if self.is_dev {
            format!("reelay --dev {} {arguments}", self.name)
        } else {
            format!("reelay --stack {}{} {arguments}", self.name, self.command_line.suffix)
        }
    }
}

/// Builds an HTTP client without redirects and retries.
pub(super) fn http_client(api_url: Option<&Url>) -> anyhow::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("reelay-ctl/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .timeout(REQUEST_TIMEOUT);
    if let Some(url) = api_url
        && let Some(Host::Domain(name)) = url.host()
        && name.ends_with(".localhost")
    {
        // RFC 6761 makes it loopback, but not every resolver knows it.
        let port = url.port_or_known_default().unwrap_or(80);
        builder = builder.no_proxy().resolve(name, ([127, 0, 0, 1], port).into());
    }
    builder.build().context("failed to build the HTTP client")
}

/// Builds the HTTP client of the AWS SDK. It also supports plain HTTP, for emulators.
pub(super) fn sdk_http_client() -> aws_sdk_sqs::config::SharedHttpClient {
    Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
        .build_https()
}
