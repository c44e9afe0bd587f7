//! Python and Node with the libraries that most services use, installed beside this file's package in a
//! folder that git ignores.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Peers could not be had.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {reason}")]
pub(crate) struct PeerError {
    step: &'static str,
    reason: String,
}

/// The peers, installed.
#[derive(Debug)]
pub(crate) struct Peers {
    folder: PathBuf,
}

impl Peers {
    /// Installs what is not there yet.
    ///
    /// # Errors
    /// If Python's venv or npm fails.
    pub(crate) fn install() -> Result<Self, PeerError> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        let peers = Self { folder };
        if !peers.python().exists() {
            let venv = peers.folder.join(".venv");
            let venv = venv.display().to_string();
            peers.step("python3 -m venv", "python3", &["-m", "venv", &venv])?;
            let pip = peers.folder.join(".venv/bin/pip").display().to_string();
            peers.step(
                "pip install",
                &pip,
                &[
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "-r",
                    "requirements.txt",
                ],
            )?;
        }
        if !peers.folder.join("node_modules").exists() {
            peers.step(
                "npm install",
                "npm",
                &["install", "--no-audit", "--no-fund", "--silent"],
            )?;
        }
        Ok(peers)
    }

    /// The command of the Python peer.
    pub(crate) fn python_command(&self) -> Vec<String> {
        [self.python(), self.folder.join("download.py")]
            .map(|path| path.display().to_string())
            .to_vec()
    }

    /// The command of the Node peer.
    pub(crate) fn node_command(&self) -> Vec<String> {
        let script = self.folder.join("download.mjs").display().to_string();
        vec!["node".to_owned(), script]
    }

    fn python(&self) -> PathBuf {
        self.folder.join(".venv/bin/python")
    }

    fn step(&self, step: &'static str, program: &str, arguments: &[&str]) -> Result<(), PeerError> {
        let failed = |reason: String| PeerError { step, reason };
        let status = Command::new(program)
            .args(arguments)
            .current_dir(&self.folder)
            .stdout(Stdio::null())
            .status()
            .map_err(|error| failed(error.to_string()))?;
        if status.success() {
            Ok(())
        } else {
            Err(failed(status.to_string()))
        }
    }
}
