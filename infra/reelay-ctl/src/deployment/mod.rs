//! What a stack consists of, wherever that is written down.

mod cloudformation;
mod devstack;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context as _, bail};
use aws_smithy_http_client::{Builder, tls};
use reelay_runtime::environment::{Environment, Variables};
use serde::Deserialize;
use url::{Host, Url};

use crate::arguments::{QueueName, Target};

/// How long a request to the stack may take: longer than API Gateway waits for a function.
const ANSWER_WITHIN: Duration = Duration::from_secs(35);

/// Environment variables by which the tables and secrets of `shared/store` are found, and the resources that
/// they name.
const RESOURCES: [(&str, &str); 9] = [
    ("LINKS_TABLE", "LinksTable"),
    ("SESSIONS_TABLE", "SessionsTable"),
    ("RECORDINGS_TABLE", "RecordingsTable"),
    ("BUCKET", "RecordingsBucket"),
    ("ZOOM_SECRET", "ZoomSecret"),
    ("STATE_KEY", "StateKey"),
    ("QUEUE_KEY", "QueueKey"),
    ("APP_SECRET", "AppSecret"),
    ("NOTIFICATION_SECRET", "NotificationSecret"),
];

/// A stack as CloudFormation describes it.
#[derive(Debug, Default, Deserialize)]
struct Description {
    outputs: BTreeMap<String, String>,
    parameters: BTreeMap<String, String>,
    resources: BTreeMap<String, String>,
}

/// A stack, and the clients that reach it.
#[derive(Debug)]
pub(crate) struct Deployment {
    /// The stack's name, or the devstack's address.
    pub(crate) name: String,
    /// Whether it is a devstack: it has neither CloudFormation nor CloudWatch.
    pub(crate) is_dev: bool,
    /// Clients, and the names of tables, bucket and secrets as the functions know them.
    pub(crate) environment: Environment,
    /// For requests to the stack's own API, and to Zoom's pages. Follows no redirects.
    pub(crate) http: reqwest::Client,
    description: Description,
    api_url: Option<Url>,
    /// What an `aws` command needs to reach the same.
    command_line: CommandLine,
}

#[derive(Debug, Default)]
struct CommandLine {
    before: String,
    after: String,
    /// By service, where an endpoint is not AWS's own.
    endpoints: BTreeMap<&'static str, String>,
}

/// One of the four pairs of queues.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    /// What is in it.
    pub(crate) name: &'static str,
    /// Queue URL.
    pub(crate) queue: String,
    /// The dead-letter queue's URL.
    pub(crate) dlq: String,
    /// The function that works it off.
    pub(crate) worker: &'static str,
}

impl Deployment {
    /// Finds the stack that the arguments name.
    ///
    /// # Errors
    /// If there is none, or it can't be asked.
    pub(crate) async fn find(target: &Target) -> anyhow::Result<Self> {
        match (&target.dev, &target.stack) {
            (Some(url), _) => devstack::find(url, target).await,
            (None, Some(name)) => cloudformation::find(name, target).await,
            (None, None) => bail!("no stack was named"),
        }
    }

    fn new(
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

    /// An output of the stack.
    pub(crate) fn output(&self, name: &str) -> anyhow::Result<&str> {
        let found = self.description.outputs.get(name).map(String::as_str);
        found.with_context(|| {
            format!(
                "{} has no output {name}: is it a stack of Reelay's template?",
                self.name
            )
        })
    }

    /// A parameter of the stack; empty if it has none of this name.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.description
            .parameters
            .get(name)
            .map_or("", String::as_str)
    }

    /// The physical id of a resource.
    pub(crate) fn resource(&self, logical: &str) -> anyhow::Result<&str> {
        let found = self.description.resources.get(logical).map(String::as_str);
        found.with_context(|| {
            format!(
                "{} has no resource {logical}: is it a stack of Reelay's template?",
                self.name
            )
        })
    }

    /// All resources: logical and physical ids.
    pub(crate) fn resources(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.description.resources.iter();
        all.map(|(logical, physical)| (logical.as_str(), physical.as_str()))
    }

    /// Where requests for an address of the outputs are sent: there, or to the same path of `--api-url`.
    pub(crate) fn reached_at(&self, output: &str) -> anyhow::Result<Url> {
        let text = self.output(output)?;
        let url: Url = text
            .parse()
            .with_context(|| format!("the output {output} is no URL"))?;
        Ok(match &self.api_url {
            None => url,
            Some(base) => {
                let mut elsewhere = base.clone();
                let below = base.path().trim_end_matches('/');
                elsewhere.set_path(&format!("{below}{}", url.path()));
                elsewhere
            }
        })
    }

    /// A pair of queues.
    pub(crate) fn pair(&self, name: QueueName) -> anyhow::Result<Pair> {
        let (name, queue, dlq, worker) = match name {
            QueueName::Events => ("events", "EventsQueue", "EventsDlq", "event-processor"),
            QueueName::Downloads => (
                "downloads",
                "DownloadsQueue",
                "DownloadsDlq",
                "recording-downloader",
            ),
            QueueName::Notifications => (
                "notifications",
                "NotificationsQueue",
                "NotificationsDlq",
                "notifier",
            ),
            QueueName::Jobs => ("jobs", "JobsQueue", "JobsDlq", "reconciler"),
        };
        Ok(Pair {
            name,
            queue: self.resource(queue)?.to_owned(),
            dlq: self.resource(dlq)?.to_owned(),
            worker,
        })
    }

    /// A call of the AWS command line that reaches this stack's account and region.
    pub(crate) fn aws(&self, service: &str, rest: &str) -> String {
        let CommandLine {
            before,
            after,
            endpoints,
        } = &self.command_line;
        let endpoint = endpoints
            .get(service)
            .map(|url| format!(" --endpoint-url {url}"))
            .unwrap_or_default();
        format!("{before}aws {service} {rest}{after}{endpoint}")
    }

    /// The command that shows what a function has logged of late; with a text, only lines that hold it.
    pub(crate) fn logs(&self, function: &str, text: Option<&str>) -> String {
        if self.is_dev {
            let only = text.map_or_else(String::new, |text| format!(" | grep {text}"));
            return format!("RUST_LOG=info cargo run 2>&1{only}  # {function} logs there");
        }
        let group = format!("/{}/{function}", self.name);
        match text {
            None => self.aws("logs", &format!("tail {group} --since 30m")),
            Some(text) => self.aws(
                "logs",
                &format!(
                    "filter-log-events --log-group-name {group} --filter-pattern '\"{text}\"'"
                ),
            ),
        }
    }

    /// A call of this tool that reaches the same stack, for a command that is suggested.
    pub(crate) fn reelay(&self, rest: &str) -> String {
        if self.is_dev {
            format!("reelay --dev {} {rest}", self.name)
        } else {
            format!(
                "reelay --stack {}{} {rest}",
                self.name, self.command_line.after
            )
        }
    }
}

/// A client that does what it is told and nothing else: no redirects, no repeats.
fn http_client(api_url: Option<&Url>) -> anyhow::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("reelay-ctl/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .timeout(ANSWER_WITHIN);
    if let Some(url) = api_url
        && let Some(Host::Domain(name)) = url.host()
        && name.ends_with(".localhost")
    {
        // Loopback by definition (RFC 6761), though not every resolver knows it.
        let port = url.port_or_known_default().unwrap_or(80);
        builder = builder
            .no_proxy()
            .resolve(name, ([127, 0, 0, 1], port).into());
    }
    builder.build().context("the HTTP client can't be made")
}

/// The SDK's HTTP client; it speaks plain HTTP as well, which emulators do.
fn sdk_http_client() -> aws_sdk_sqs::config::SharedHttpClient {
    Builder::new()
        .tls_provider(tls::Provider::Rustls(
            tls::rustls_provider::CryptoMode::AwsLc,
        ))
        .build_https()
}
