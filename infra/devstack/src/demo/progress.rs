//! Progress of a recording, one line for each change.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use anyhow::bail;
use reelay_demo_app::AppUser;
use reelay_demo_app::reelay::{File, Recording, Reelay, Status};

const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Prints progress to standard error.
#[derive(Default)]
pub(super) struct Progress {
    /// Status and stored quarters of each file, as last printed.
    printed: BTreeMap<String, (Status, u64)>,
}

impl Progress {
    /// Prints a line. A closed standard error does not stop the demo.
    pub(super) fn say(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// Waits until the recording has `file_count` files and all are stored.
    ///
    /// # Errors
    /// If a request or a file fails.
    pub(super) async fn until_stored(
        &mut self,
        reelay: &Reelay,
        user: &AppUser,
        meeting_uuid: &str,
        file_count: usize,
    ) -> anyhow::Result<Recording> {
        loop {
            let page = reelay.recordings(user, 100, None).await?;
            let mut recordings = page.recordings.into_iter();
            if let Some(recording) = recordings.find(|found| found.meeting_uuid == meeting_uuid) {
                for file in &recording.files {
                    self.show(file);
                    if matches!(file.status, Status::Failed | Status::Skipped) {
                        let reason = file.reason.as_deref().unwrap_or("no reason given");
                        bail!("{} is {:?}: {reason}", name(file), file.status);
                    }
                }
                let is_stored = recording.status == Status::Stored;
                if is_stored && recording.files.len() == file_count {
                    return Ok(recording);
                }
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Prints the file if its status changed or another quarter is stored.
    fn show(&mut self, file: &File) {
        let size = file.size.unwrap_or(file.bytes_stored);
        let quarters = file.bytes_stored.saturating_mul(4) / size.max(1);
        let state = (file.status, quarters);
        if self.printed.insert(file.id.clone(), state) == Some(state) {
            return;
        }
        self.say(&format!(
            "    {:<11} {:<12} {} of {}",
            name(file),
            format!("{:?}", file.status).to_lowercase(),
            megabytes(file.bytes_stored),
            megabytes(size),
        ));
    }
}

fn name(file: &File) -> &str {
    file.file_type.as_deref().unwrap_or(&file.id)
}

/// Size in megabytes with two decimals.
pub(super) fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}
