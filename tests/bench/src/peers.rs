//! Python and Node with the libraries that most services use, installed beside this file's package in a
//! folder that git ignores.

use std::fs;
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
    /// Installs what is not there yet, or not in the versions that are pinned now.
    ///
    /// # Errors
    /// If Python's venv or npm fails.
    pub(crate) fn install() -> Result<Self, PeerError> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        let peers = Self { folder };
        peers.unless_installed("requirements.txt", ".venv", || {
            let venv = peers.folder.join(".venv");
            let venv = venv.display().to_string();
            peers.step("python3 -m venv", "python3", &["-m", "venv", &venv])?;
            let pip = peers.folder.join(".venv/bin/pip").display().to_string();
            peers.step(
                "pip install",
                &pip,
                &["install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"],
            )
        })?;
        peers.unless_installed("package.json", "node_modules", || {
            peers.step("npm install", "npm", &["install", "--no-audit", "--no-fund", "--silent"])
        })?;
        Ok(peers)
    }

    /// The command that runs a Python script of the peers' folder.
    pub(crate) fn python_command(&self, script: &str) -> Vec<String> {
        [self.python(), self.folder.join(script)].map(|path| path.display().to_string()).to_vec()
    }

    /// The command that runs a Node script of the peers' folder.
    pub(crate) fn node_command(&self, script: &str) -> Vec<String> {
        let script = self.folder.join(script).display().to_string();
        vec!["node".to_owned(), script]
    }

    /// Where the scripts are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Python, with the packages installed.
    pub(crate) fn python(&self) -> PathBuf {
        self.folder.join(".venv/bin/python")
    }

    /// Bundles a Node script and what it imports into one file, as AWS recommends for Lambda.
    ///
    /// # Errors
    /// If esbuild fails.
    pub(crate) fn bundle(&self, script: &str, bundle: &Path) -> Result<(), PeerError> {
        let esbuild = self.folder.join("node_modules/.bin/esbuild");
        let out = format!("--outfile={}", bundle.display());
        self.step(
            "esbuild",
            &esbuild.display().to_string(),
            &[
                script,
                "--bundle",
                "--minify",
                "--platform=node",
                "--target=node20",
                "--format=cjs",
                // The packages' ES modules, of which esbuild leaves out what is not used.
                "--main-fields=module,main",
                "--log-level=error",
                &out,
            ],
        )
    }

    /// Installs, and notes what was installed beside it.
    fn unless_installed(
        &self,
        pins: &'static str,
        into: &str,
        install: impl Fn() -> Result<(), PeerError>,
    ) -> Result<(), PeerError> {
        let failed = |error: std::io::Error| PeerError { step: pins, reason: error.to_string() };
        let wanted = fs::read(self.folder.join(pins)).map_err(failed)?;
        let noted = self.folder.join(into).join("installed");
        if fs::read(&noted).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        install()?;
        fs::write(noted, wanted).map_err(failed)
    }

    fn step(&self, step: &'static str, program: &str, arguments: &[&str]) -> Result<(), PeerError> {
        let failed = |reason: String| PeerError { step, reason };
        let status = Command::new(program)
            .args(arguments)
            .current_dir(&self.folder)
            .stdout(Stdio::null())
            .status()
            .map_err(|error| failed(error.to_string()))?;
        if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
    }
}
