//! The summary that the demo prints.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use reelay_demo_app::AppUser;
use reelay_demo_app::reelay::{Link, Recording};

use super::progress::megabytes;
use super::verify::VerifiedFile;

/// Everything that the demo verified.
pub(super) struct Summary {
    pub(super) user: AppUser,
    pub(super) link: Link,
    pub(super) recording: Recording,
    pub(super) files: Vec<VerifiedFile>,
    /// Key of the manifest.
    pub(super) manifest: String,
    /// Number of notifications by type.
    pub(super) notifications: BTreeMap<String, usize>,
    pub(super) duration: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zoom = &self.link.zoom;
        let zoom_user = zoom.display_name.as_deref().unwrap_or(&zoom.user_id);
        let topic = self.recording.topic.as_deref().unwrap_or("without a topic");
        let (folder, _) = self.manifest.rsplit_once('/').unwrap_or_default();
        writeln!(
            f,
            "\nlink        {} receives the recordings of {zoom_user}: {:?}",
            self.user.as_str(),
            self.link.status
        )?;
        writeln!(f, "recording   {topic}: {:?}", self.recording.status)?;
        writeln!(f, "folder      {folder}")?;
        writeln!(f, "\nfile                size   verified   object")?;
        for file in &self.files {
            let name = file.key.rsplit('/').next().unwrap_or_default();
            writeln!(
                f,
                "{:<11} {:>12}   all bytes  {name}",
                file.file_type,
                megabytes(file.bytes)
            )?;
        }
        writeln!(f, "manifest                   contents   manifest.json")?;
        writeln!(f, "\nnotification            verified")?;
        for (kind, count) in &self.notifications {
            writeln!(f, "{kind:<23} {count:>8}")?;
        }
        let total: u64 = self.files.iter().map(|file| file.bytes).sum();
        write!(
            f,
            "\nDemo passed: {} in {} files, in {:.1} s",
            megabytes(total),
            self.files.len(),
            self.duration.as_secs_f64()
        )
    }
}
