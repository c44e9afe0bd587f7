//! A cached remote value that verifies what others send: a secret, or the app's key set.

use std::fmt::Display;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use crate::environment::Clock;

/// Age at which a cached value is read again.
const TTL: SignedDuration = SignedDuration::from_mins(5);

/// Minimum interval between re-reads that failed verifications cause. Forgeries cost their sender
/// nothing, so they must cost us next to nothing.
const REREAD_COOLDOWN: SignedDuration = SignedDuration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Cache<T> {
    name: &'static str,
    clock: Clock,
    entry: Mutex<Option<Entry<T>>>,
}

#[derive(Debug, Clone)]
struct Entry<T> {
    value: T,
    read_at: Timestamp,
    /// Time of the last re-read that a failed verification caused.
    reread_at: Option<Timestamp>,
}

impl<T: Clone> Cache<T> {
    pub(crate) fn new(name: &'static str, clock: Clock) -> Self {
        Self { name, clock, entry: Mutex::new(None) }
    }

    /// Returns the cached value, and reads it first if it is missing or older than [`TTL`]. If that read
    /// fails, an older value stays in use.
    pub(crate) async fn get<E: Display>(
        &self,
        read: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut entry = self.entry.lock().await;
        let now = self.clock.now();
        if let Some(cached) = entry.as_ref().filter(|it| now.duration_since(it.read_at) < TTL) {
            return Ok(cached.value.clone());
        }
        match (read.await, entry.as_ref()) {
            (Ok(value), cached) => {
                let reread_at = cached.and_then(|cached| cached.reread_at);
                *entry = Some(Entry { value: value.clone(), read_at: now, reread_at });
                Ok(value)
            }
            (Err(error), Some(cached)) => {
                tracing::warn!(name = self.name, %error, "read failed, using the cached value");
                Ok(cached.value.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Reads the value again after a failed verification. `None` within [`REREAD_COOLDOWN`] of the last
    /// such read.
    pub(crate) async fn reread<E>(
        &self,
        read: impl Future<Output = Result<T, E>>,
    ) -> Result<Option<T>, E> {
        let mut entry = self.entry.lock().await;
        let now = self.clock.now();
        let reread_at = entry.as_ref().and_then(|cached| cached.reread_at);
        if reread_at.is_some_and(|at| now.duration_since(at) < REREAD_COOLDOWN) {
            return Ok(None);
        }
        let value = read.await?;
        *entry = Some(Entry { value: value.clone(), read_at: now, reread_at: Some(now) });
        Ok(Some(value))
    }

    /// Starts the cooldown without a read, after a read that failed.
    pub(crate) async fn start_cooldown(&self) {
        if let Some(cached) = self.entry.lock().await.as_mut() {
            cached.reread_at = Some(self.clock.now());
        }
    }
}

/// Verifies something with the known keys. If that fails in a way that a rotation explains, verifies it
/// once more with keys that are read again.
///
/// # Errors
/// The outer error is a failed read, the inner one the verification's.
pub(crate) async fn verify_with_reread<K, T, E, F>(
    known: K,
    verify: impl Fn(&K) -> Result<T, E>,
    is_explained_by_rotation: impl Fn(&E) -> bool,
    reread: impl Future<Output = Result<Option<K>, F>>,
) -> Result<Result<T, E>, F> {
    match verify(&known) {
        Err(error) if is_explained_by_rotation(&error) => match reread.await? {
            Some(keys) => Ok(verify(&keys)),
            None => Ok(Err(error)),
        },
        verified => Ok(verified),
    }
}
