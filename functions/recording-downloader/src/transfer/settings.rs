//! Settings of the transfer engine.

use std::time::Duration;

use reelay_runtime::environment::{ConfigError, Variables};

use super::timing::{ProgressInterval, StallLimit};

/// Settings of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Number of ranges that are downloaded concurrently, each over its own connection.
    pub connections: usize,
    /// Whether each streamed part carries a checksum, so that S3 rejects a corrupt part. Without it S3 compares
    /// only the checksum of the whole file. Functions always send it; benchmarks over plain HTTP do not,
    /// because there the SDK also signs the body.
    pub has_part_checksums: bool,
    /// When a response body counts as stalled.
    pub stall: StallLimit,
    /// Time that a download host has to send the response head.
    pub response_timeout: Duration,
    /// Number of attempts per part before the message is retried.
    pub max_part_attempts: u32,
    /// Delay after a part's first failure; it doubles with each attempt.
    pub part_retry_delay: Duration,
    /// Time before the deadline that is reserved for continuing the file in a new invocation.
    pub reserve: Duration,
    /// How often progress is saved.
    pub progress: ProgressInterval,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections: 8,
            has_part_checksums: true,
            // Shorter than the SDK's own stall timeout towards S3 (20 s).
            stall: StallLimit { window: Duration::from_secs(10), min_bytes: 64 * 1024 },
            response_timeout: Duration::from_secs(20),
            max_part_attempts: 3,
            part_retry_delay: Duration::from_millis(100),
            reserve: Duration::from_secs(5),
            progress: ProgressInterval { min_elapsed: Duration::from_secs(3), min_percent: 2 },
        }
    }
}

impl Settings {
    /// Reads `DOWNLOAD_CONNECTIONS` and `DOWNLOAD_STALL_SECONDS` (fractions allowed). Both are optional.
    ///
    /// # Errors
    /// Returns [`ConfigError`] if a value is not a number or out of range.
    pub fn from_env(variables: &Variables) -> Result<Self, ConfigError> {
        let mut settings = Self::default();
        if variables.optional("DOWNLOAD_CONNECTIONS").is_some() {
            settings.connections = variables.parsed("DOWNLOAD_CONNECTIONS")?;
            if !(1..=64).contains(&settings.connections) {
                return Err(ConfigError::invalid("DOWNLOAD_CONNECTIONS", "not from 1 to 64"));
            }
        }
        if variables.optional("DOWNLOAD_STALL_SECONDS").is_some() {
            let seconds: f64 = variables.parsed("DOWNLOAD_STALL_SECONDS")?;
            let window = Duration::try_from_secs_f64(seconds)
                .ok()
                .filter(|window| !window.is_zero() && *window <= Duration::from_secs(60))
                .ok_or_else(|| {
                    ConfigError::invalid("DOWNLOAD_STALL_SECONDS", "not above 0 and up to 60")
                })?;
            settings.stall.window = window;
            // A response head may take longer than a pause within the body.
            let response_timeout = (window * 2).max(Duration::from_secs(5));
            settings.response_timeout = settings.response_timeout.min(response_timeout);
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn read(name: &str, value: &str) -> Result<Settings, ConfigError> {
        let variables = HashMap::from([(name.to_owned(), value.to_owned())]);
        Settings::from_env(&Variables::new(variables))
    }

    #[test]
    fn variables_override_defaults() {
        let defaults = Settings::from_env(&Variables::default());
        assert_eq!(defaults, Ok(Settings::default()));
        assert_eq!(read("DOWNLOAD_CONNECTIONS", "16").unwrap().connections, 16);
        let short = read("DOWNLOAD_STALL_SECONDS", "0.25").unwrap();
        assert_eq!(short.stall.window, Duration::from_millis(250));
        assert_eq!(short.response_timeout, Duration::from_secs(5));
    }

    #[test]
    fn invalid_values_are_rejected_by_name() {
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
