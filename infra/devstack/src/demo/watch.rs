//! Watching a recording arrive: bars on a terminal, lines elsewhere.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::bail;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use reelay_demo_app::AppUser;
use reelay_demo_app::reelay::{File, FileStatus, Recording, RecordingStatus, Reelay};

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Shows how far things are.
pub(super) struct Display {
    bars: Option<MultiProgress>,
    files: BTreeMap<String, Shown>,
}

struct Shown {
    bar: ProgressBar,
    status: FileStatus,
    /// Quarters of the file that lines have told of.
    quarters: u64,
}

impl Display {
    pub(super) fn new() -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self {
            bars,
            files: BTreeMap::new(),
        }
    }

    /// A line for people.
    pub(super) fn say(&self, text: &str) {
        match &self.bars {
            // Above the bars, which would otherwise draw over it.
            Some(bars) => {
                let _ = bars.println(text);
            }
            None => {
                let _ = writeln!(std::io::stderr().lock(), "{text}");
            }
        }
    }

    fn show(&mut self, file: &File) {
        let size = file.size.unwrap_or(file.bytes_stored);
        let name = name(file);
        let Some(bars) = &self.bars else {
            let quarters = file.bytes_stored.saturating_mul(4) / size.max(1);
            let known = self
                .files
                .get(&file.id)
                .map(|shown| (shown.status, shown.quarters));
            if known != Some((file.status, quarters)) {
                let stored = megabytes(file.bytes_stored);
                self.say(&format!(
                    "    {name:<11} {:<12} {stored} of {}",
                    word(file.status),
                    megabytes(size)
                ));
                self.files.insert(
                    file.id.clone(),
                    Shown {
                        bar: ProgressBar::hidden(),
                        status: file.status,
                        quarters,
                    },
                );
            }
            return;
        };
        let shown = self.files.entry(file.id.clone()).or_insert_with(|| {
            let style = ProgressStyle::with_template(
                "    {prefix:<11} {bar:32} {bytes:>10} of {total_bytes:<10} {msg}",
            );
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = bars.add(ProgressBar::new(size).with_style(style).with_prefix(name));
            Shown {
                bar,
                status: FileStatus::Unknown,
                quarters: 0,
            }
        });
        shown.bar.set_length(size);
        shown.bar.set_position(file.bytes_stored);
        if shown.status != file.status {
            shown.status = file.status;
            shown.bar.set_message(word(file.status));
            if file.status == FileStatus::Stored {
                shown.bar.finish();
            }
        }
    }
}

/// Waits until the recording has so many files, all of them stored.
pub(super) async fn until_stored(
    reelay: &Reelay,
    user: &AppUser,
    meeting_uuid: &str,
    files: usize,
    display: &mut Display,
) -> anyhow::Result<Recording> {
    loop {
        let page = reelay.recordings(user, 100, None).await?;
        let found = page
            .recordings
            .into_iter()
            .find(|recording| recording.meeting_uuid == meeting_uuid);
        if let Some(recording) = found {
            recording.files.iter().for_each(|file| display.show(file));
            if let Some(file) = recording
                .files
                .iter()
                .find(|file| matches!(file.status, FileStatus::Failed | FileStatus::Skipped))
            {
                bail!(
                    "{} ended as {}: {}",
                    name(file),
                    word(file.status),
                    file.reason.as_deref().unwrap_or("no reason")
                );
            }
            if recording.status == RecordingStatus::Stored && recording.files.len() == files {
                return Ok(recording);
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

pub(super) fn name(file: &File) -> String {
    file.file_type.clone().unwrap_or_else(|| file.id.clone())
}

pub(super) fn megabytes(bytes: u64) -> String {
    // Shown, not reckoned with.
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let megabytes = bytes as f64 / 1e6;
    format!("{megabytes:.2} MB")
}

fn word(status: FileStatus) -> &'static str {
    match status {
        FileStatus::Queued => "queued",
        FileStatus::Transferring => "transferring",
        FileStatus::Stored => "stored",
        FileStatus::Failed => "failed",
        FileStatus::Skipped => "skipped",
        FileStatus::Unknown => "unknown",
    }
}
