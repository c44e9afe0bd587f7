//! The peers: Python and Node programs with the libraries that most services use.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::BenchError;
use crate::process;

/// The folder `peers` with its packages installed.
#[derive(Debug)]
pub(crate) struct Peers {
    folder: PathBuf,
}

impl Peers {
    /// Installs the packages unless the pinned versions are installed already.
    pub(crate) fn install() -> Result<Self, BenchError> {
        let peers = Self { folder: Path::new(env!("CARGO_MANIFEST_DIR")).join("peers") };
        peers.install_pinned("requirements.txt", ".venv", || {
            peers.run("python3", &["-m", "venv", ".venv"])?;
            peers.run(
                &peers.path(".venv/bin/pip"),
                &["install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"],
            )
        })?;
        peers.install_pinned("package.json", "node_modules", || {
            peers.run("npm", &["install", "--no-audit", "--no-fund", "--silent"])
        })?;
        Ok(peers)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Python with the packages installed.
    pub(crate) fn python(&self) -> String {
        self.path(".venv/bin/python")
    }

    /// Path of a file in the folder.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Bundles a Node script and its imports into one file, as AWS recommends for Lambda.
    pub(crate) fn bundle(&self, script: &str, bundle: &Path) -> Result<(), BenchError> {
        self.run(
            &self.path("node_modules/.bin/esbuild"),
            &[
                script,
                "--bundle",
                "--minify",
                "--platform=node",
                "--target=node20",
                "--format=cjs",
                // esbuild removes unused code only from ES modules.
                "--main-fields=module,main",
                "--log-level=error",
                &format!("--outfile={}", bundle.display()),
            ],
        )
    }

    /// Calls `install` unless a copy of `pins` in the folder `target` shows that these versions are installed.
    fn install_pinned(
        &self,
        pins: &str,
        target: &str,
        install: impl Fn() -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        let pinned = fs::read(self.folder.join(pins))?;
        let marker = self.folder.join(target).join("installed");
        if fs::read(&marker).is_ok_and(|installed| installed == pinned) {
            return Ok(());
        }
        install()?;
        Ok(fs::write(marker, pinned)?)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<(), BenchError> {
        let mut command = Command::new(program);
        process::run(command.args(arguments).current_dir(&self.folder).stdout(Stdio::null()))
    }
}
