//! What of a transfer can be set.

use std::time::Duration;

use reelay_runtime::environment::{ConfigError, Variables};

use super::pace::{ProgressRule, StallRule};
use super::plan::SMALLEST_PART;

/// How a transfer goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Ranges that are fetched at the same time, each over a connection of its own.
    pub connections: usize,
    /// Bytes of a part, at least. S3 takes none below 5 MiB but the last.
    pub part_size: u64,
    /// Whether each streamed part carries its checksum, so that S3 refuses the part that came to harm.
    /// Without, S3 compares the checksum of the whole alone: still nothing false lies under the key, but all
    /// parts are sent again. Over plain HTTP the SDK signs what carries a checksum, which costs more than
    /// all the rest; no function runs without.
    pub part_checksums: bool,
    /// When a source counts as stalled.
    pub stall: StallRule,
    /// How long a source may take to begin its answer.
    pub answer: Duration,
    /// How often a part is tried before the whole transfer goes back to the queue.
    pub part_tries: u32,
    /// The pause after a part's first failure; it doubles with each.
    pub part_pause: Duration,
    /// What is kept of the function's time for handing over.
    pub reserve: Duration,
    /// How often progress is noted.
    pub progress: ProgressRule,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections: 8,
            part_size: SMALLEST_PART,
            part_checksums: true,
            // Before the SDK, which looks at the other side, loses its patience (20 s).
            stall: StallRule {
                window: Duration::from_secs(10),
                floor: 64 * 1024,
            },
            answer: Duration::from_secs(20),
            part_tries: 3,
            part_pause: Duration::from_millis(100),
            reserve: Duration::from_secs(5),
            progress: ProgressRule {
                every: Duration::from_secs(3),
                percent: 2,
            },
        }
    }
}

impl Settings {
    /// Reads `DOWNLOAD_CONNECTIONS`, and `DOWNLOAD_STALL_SECONDS`, which may be a fraction; both may be
    /// absent.
    ///
    /// # Errors
    /// If one of them is no number in its range.
    pub fn read(variables: &Variables) -> Result<Self, ConfigError> {
        let mut settings = Self::default();
        let unusable = |name: &str, reason: &str| ConfigError::Invalid {
            name: name.to_owned(),
            reason: reason.to_owned(),
        };
        if variables.optional("DOWNLOAD_CONNECTIONS").is_some() {
            settings.connections = variables.parsed("DOWNLOAD_CONNECTIONS")?;
            if !(1..=64).contains(&settings.connections) {
                return Err(unusable("DOWNLOAD_CONNECTIONS", "not from 1 to 64"));
            }
        }
        if variables.optional("DOWNLOAD_STALL_SECONDS").is_some() {
            let seconds: f64 = variables.parsed("DOWNLOAD_STALL_SECONDS")?;
            let window = Duration::try_from_secs_f64(seconds)
                .ok()
                .filter(|window| !window.is_zero() && *window <= Duration::from_secs(60));
            settings.stall.window = window
                .ok_or_else(|| unusable("DOWNLOAD_STALL_SECONDS", "not above 0 and up to 60"))?;
            settings.answer = settings
                .answer
                .min(window_of_an_answer(settings.stall.window));
        }
        Ok(settings)
    }
}

/// Whoever has no patience for a body has little for its beginning, which may take longer all the same.
fn window_of_an_answer(stall: Duration) -> Duration {
    (stall * 2).max(Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn read(name: &str, value: &str) -> Result<Settings, ConfigError> {
        Settings::read(&Variables::new(HashMap::from([(
            name.to_owned(),
            value.to_owned(),
        )])))
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        assert_eq!(
            Settings::read(&Variables::default()),
            Ok(Settings::default())
        );
        assert_eq!(read("DOWNLOAD_CONNECTIONS", "16").unwrap().connections, 16);
        let short = read("DOWNLOAD_STALL_SECONDS", "0.25").unwrap();
        assert_eq!(short.stall.window, Duration::from_millis(250));
        for (name, value) in [
            ("DOWNLOAD_CONNECTIONS", "0"),
            ("DOWNLOAD_CONNECTIONS", "65"),
            ("DOWNLOAD_CONNECTIONS", "many"),
            ("DOWNLOAD_STALL_SECONDS", "0"),
            ("DOWNLOAD_STALL_SECONDS", "-1"),
            ("DOWNLOAD_STALL_SECONDS", "NaN"),
            ("DOWNLOAD_STALL_SECONDS", "61"),
        ] {
            let error = read(name, value).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
