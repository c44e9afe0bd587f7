//! The functions that are measured: Reelay's, and the webhook in Node and Python.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::payload::{BodySize, Payload};
use crate::error::BenchError;
use crate::peers::Peers;
use crate::process;

/// Binary of the function that the peers implement too.
pub(crate) const WEBHOOK: &str = "webhook";

/// Binary of a function that does nothing.
pub(crate) const BARE: &str = "bare";

/// Binaries of Reelay's functions, and of the one that does nothing.
pub(crate) const FUNCTIONS: [&str; 9] = [
    BARE,
    WEBHOOK,
    "oauth-start",
    "oauth-callback",
    "app-api",
    "event-processor",
    "recording-downloader",
    "notifier",
    "reconciler",
];

/// A function that is ready to start.
#[derive(Debug)]
pub(crate) struct Function {
    /// `reelay:<binary>`, `bare`, `node` or `python`.
    pub(crate) name: String,
    pub(crate) command: Vec<String>,
    pub(crate) working_directory: PathBuf,
    /// Binary of the template's function whose environment this one gets.
    pub(crate) template_binary: &'static str,
    pub(crate) payload: Payload,
    /// Files and folders of the deployment package.
    pub(crate) package: Vec<PathBuf>,
}

impl Function {
    /// Reelay's functions from a folder of binaries, or built without one, and the webhook of both peers.
    /// Node's bundle is written to `folder`.
    pub(crate) fn with_peers(
        functions: &[&'static str],
        binaries: Option<&Path>,
        folder: &Path,
    ) -> Result<Vec<Self>, BenchError> {
        let peers = Peers::install()?;
        let binaries = match binaries {
            Some(binaries) => std::path::absolute(binaries)?,
            None => build(functions)?,
        };
        let reelay = functions.iter().map(|&name| Self::reelay(name, &binaries));
        Ok(reelay.chain([Self::node(&peers, folder)?, Self::python(&peers)?]).collect())
    }

    fn reelay(name: &'static str, binaries: &Path) -> Self {
        let binary = binaries.join(name);
        Self {
            name: if name == BARE { name.to_owned() } else { format!("reelay:{name}") },
            command: vec![binary.display().to_string()],
            working_directory: binaries.to_owned(),
            template_binary: if name == BARE { WEBHOOK } else { name },
            payload: match name {
                BARE | WEBHOOK => Payload::ZoomEvent(BodySize::Small),
                "app-api" => Payload::Get { path: "/healthz", status: 200 },
                "oauth-start" => Payload::Get { path: "/zoom/connect", status: 400 },
                "oauth-callback" => Payload::Get { path: "/zoom/callback", status: 400 },
                _ => Payload::EmptyBatch,
            },
            package: vec![binary],
        }
    }

    fn node(peers: &Peers, folder: &Path) -> Result<Self, BenchError> {
        let bundle = folder.join("index.cjs");
        peers.bundle("lambda.mjs", &bundle)?;
        Ok(Self {
            name: "node".to_owned(),
            command: vec!["node".to_owned(), bundle.display().to_string()],
            working_directory: folder.to_owned(),
            template_binary: WEBHOOK,
            payload: Payload::ZoomEvent(BodySize::Small),
            package: vec![bundle],
        })
    }

    /// The webhook on AWS's Runtime Interface Client, which Lambda provides and the package does not contain.
    fn python(peers: &Peers) -> Result<Self, BenchError> {
        const PACKAGES: [&str; 7] =
            ["boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six.py", "urllib3"];
        let python = peers.python();
        // The name of this folder is the version of Python.
        let version = std::fs::read_dir(peers.folder().join(".venv/lib"))?
            .next()
            .ok_or_else(|| BenchError::client("python", ".venv/lib is empty"))??;
        let packages = version.path().join("site-packages");
        let mut package = vec![peers.folder().join("webhook.py")];
        package.extend(PACKAGES.map(|name| packages.join(name)));
        Ok(Self {
            name: "python".to_owned(),
            command: [&python, "-m", "awslambdaric", "webhook.handler"].map(str::to_owned).to_vec(),
            working_directory: peers.folder().to_owned(),
            template_binary: WEBHOOK,
            payload: Payload::ZoomEvent(BodySize::Small),
            package,
        })
    }
}

/// Builds functions as `sam build` does, in release from the workspace root, and returns the folder of the binaries.
fn build(functions: &[&str]) -> Result<PathBuf, BenchError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(&root).args(["build", "--release"]);
    for function in functions {
        build.args(["--bin", function]);
    }
    process::run(&mut build)?;
    // This program is in `<target>/<profile>/`, wherever the target folder is.
    let this = std::env::current_exe()?;
    Ok(this.ancestors().nth(2).unwrap_or(&root).join("release"))
}
