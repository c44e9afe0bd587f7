//! Who is measured: Reelay's functions, and the webhook's work in Node and Python.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::event::{self, Size};
use super::{LambdaError, World};
use crate::peers::Peers;

/// Reelay's functions, by the names of their binaries; the webhook first.
pub(crate) const FUNCTIONS: [&str; 8] = [
    WEBHOOK,
    "oauth-start",
    "oauth-callback",
    "app-api",
    "event-processor",
    "recording-downloader",
    "notifier",
    "reconciler",
];

/// The function that the peers are measured against.
pub(crate) const WEBHOOK: &str = "webhook";

/// What a function is called with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// An event of Zoom's, which it verifies and queues.
    Delivery(Size),
    /// A `GET` that is answered without a call to AWS.
    Request(&'static str, u16),
    /// A batch of no messages.
    EmptyBatch,
}

impl Work {
    /// What the function is called with, made now, for signatures are good for minutes.
    ///
    /// # Errors
    /// If the fixture is not what it was.
    pub(crate) fn event(self, world: &World) -> Result<Value, LambdaError> {
        Ok(match self {
            Self::Delivery(size) => event::delivery(&size.body()?, world.webhook_secret()),
            Self::Request(path, _) => event::request("GET", path, json!({}), None),
            Self::EmptyBatch => json!({"Records": []}),
        })
    }

    /// Whether this is the answer of a function that has done the work.
    pub(crate) fn is_done(self, answer: &Value) -> bool {
        match self {
            Self::Delivery(_) => answer["statusCode"] == 200,
            Self::Request(_, status) => answer["statusCode"] == status,
            Self::EmptyBatch => answer["batchItemFailures"] == json!([]),
        }
    }
}

/// One of those who are measured.
#[derive(Debug)]
pub(crate) struct Client {
    /// `reelay:<function>`, `node` or `python`.
    pub(crate) name: String,
    /// What Lambda would run.
    pub(crate) command: Vec<String>,
    /// Where it runs.
    pub(crate) folder: PathBuf,
    /// The function of the template whose environment it gets.
    pub(crate) function: &'static str,
    /// What it is called with.
    pub(crate) work: Work,
    /// What is deployed: files and folders.
    pub(crate) package: Vec<PathBuf>,
}

impl Client {
    /// Reelay's functions, as they lie in a folder by the names of their binaries; without one they are built as
    /// `sam build` builds them: in release, from the workspace's root.
    ///
    /// # Errors
    /// If they do not build.
    pub(crate) fn reelay(
        functions: &[&'static str],
        folder: Option<&Path>,
    ) -> Result<Vec<Self>, LambdaError> {
        let folder = match folder {
            Some(folder) => std::path::absolute(folder)?,
            None => build(functions)?,
        };
        let client = |function: &&'static str| {
            let binary = folder.join(function);
            Self {
                name: format!("reelay:{function}"),
                command: vec![binary.display().to_string()],
                folder: folder.clone(),
                function,
                work: match *function {
                    WEBHOOK => Work::Delivery(Size::Small),
                    "app-api" => Work::Request("/healthz", 200),
                    "oauth-start" => Work::Request("/zoom/connect", 400),
                    "oauth-callback" => Work::Request("/zoom/callback", 400),
                    _ => Work::EmptyBatch,
                },
                package: vec![binary],
            }
        };
        Ok(functions.iter().map(client).collect())
    }

    /// The webhook's work in Node, in one file, which is written to the folder.
    ///
    /// # Errors
    /// If esbuild fails.
    pub(crate) fn node(peers: &Peers, folder: &Path) -> Result<Self, LambdaError> {
        let bundle = folder.join("index.cjs");
        peers.bundle("lambda.mjs", &bundle)?;
        Ok(Self {
            name: "node".to_owned(),
            command: vec!["node".to_owned(), bundle.display().to_string()],
            folder: folder.to_owned(),
            function: WEBHOOK,
            work: Work::Delivery(Size::Small),
            package: vec![bundle],
        })
    }

    /// The webhook's work in Python, run by AWS's own client of the Runtime API, which Lambda has in place and
    /// which is not deployed.
    ///
    /// # Errors
    /// If the packages are not where they were installed.
    pub(crate) fn python(peers: &Peers) -> Result<Self, LambdaError> {
        const PACKAGES: [&str; 7] =
            ["boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six.py", "urllib3"];
        let python = peers.python().display().to_string();
        let lib = peers.folder().join(".venv/lib");
        let site = std::fs::read_dir(&lib)?
            .next()
            .transpose()?
            .map(|version| version.path().join("site-packages"))
            .ok_or_else(|| LambdaError::Package(format!("{} is empty", lib.display())))?;
        let mut package = vec![peers.folder().join("webhook.py")];
        package.extend(PACKAGES.map(|name| site.join(name)));
        Ok(Self {
            name: "python".to_owned(),
            command: [&python, "-m", "awslambdaric", "webhook.handler"].map(str::to_owned).to_vec(),
            folder: peers.folder().to_owned(),
            function: WEBHOOK,
            work: Work::Delivery(Size::Small),
            package,
        })
    }
}

/// Builds functions, and tells where they are.
fn build(functions: &[&str]) -> Result<PathBuf, LambdaError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(&root).args(["build", "--release"]);
    for function in functions {
        build.args(["--bin", function]);
    }
    let status = build.status()?;
    if !status.success() {
        return Err(LambdaError::Build(status.to_string()));
    }
    // Wherever Cargo builds, and however this program was built.
    let this = std::env::current_exe()?;
    let target = this.ancestors().nth(2).unwrap_or(&root);
    Ok(target.join("release"))
}
