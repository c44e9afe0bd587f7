//! What was done, for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use reelay_demo_app::reelay::{Link, Recording};

use super::verify::Compared;
use super::watch::megabytes;

/// All that was shown to hold.
pub(super) struct Summary {
    pub(super) user: String,
    pub(super) link: Link,
    pub(super) recording: Recording,
    pub(super) files: Vec<Compared>,
    pub(super) manifest: String,
    pub(super) notifications: BTreeMap<String, usize>,
    pub(super) took: Duration,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = String::new();
        let zoom = self
            .link
            .zoom
            .display_name
            .as_deref()
            .unwrap_or(&self.link.zoom.user_id);
        writeln!(
            out,
            "\nlink        {} has the recordings of {zoom}: {:?}",
            self.user, self.link.status
        )?;
        let topic = self.recording.topic.as_deref().unwrap_or("no topic");
        writeln!(out, "recording   {topic}: {:?}", self.recording.status)?;
        let folder = self
            .manifest
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        writeln!(out, "folder      {folder}")?;
        writeln!(out, "\nfile                size   bytes       object")?;
        for file in &self.files {
            let name = file
                .key
                .rsplit_once('/')
                .map_or(file.key.as_str(), |(_, name)| name);
            writeln!(
                out,
                "{:<11} {:>12}   all equal   {name}",
                file.file_type,
                megabytes(file.bytes)
            )?;
        }
        writeln!(
            out,
            "{:<11} {:>12}   agrees      manifest.json",
            "manifest", ""
        )?;
        writeln!(out, "\nnotification            verified")?;
        for (kind, count) in &self.notifications {
            writeln!(out, "{kind:<23} {count:>8}")?;
        }
        let total: u64 = self.files.iter().map(|file| file.bytes).sum();
        write!(
            out,
            "\nAll held: {} in {} files, in {:.1} s.",
            megabytes(total),
            self.files.len(),
            self.took.as_secs_f64()
        )?;
        f.write_str(&out)
    }
}
