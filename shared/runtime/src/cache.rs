//! A cached remote value: a secret, or the app's key set.
//!
//! Reads run in tasks of their own, so that a request need not wait for one. Lambda freezes an instance
//! between invocations: such a task continues in the next one, and is replaced after [`READ_LIMIT`].

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use crate::environment::Clock;

/// Age from which a value is read again in the background.
const REFRESH_AGE: SignedDuration = SignedDuration::from_mins(4);

/// Age from which the request that starts the refresh waits for it, at most [`REFRESH_WAIT`]. So a removed key
/// stops working after five minutes, unless reads fail or hang.
const TTL: SignedDuration = SignedDuration::from_mins(5);

/// Age from which a value is not used, even if it cannot be read again.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);

/// Maximum time that a request waits while a value is cached. Zoom waits three seconds for a response.
const REFRESH_WAIT: Duration = Duration::from_secs(1);

/// Time after a failed refresh during which the cached value is used without another read.
pub(crate) const FAILURE_HOLD: SignedDuration = SignedDuration::from_secs(15);

/// Minimum interval between reads that failed verifications cause, successful or not. It bounds the cost of
/// forgeries.
const REREAD_COOLDOWN: SignedDuration = SignedDuration::from_secs(60);

/// Age from which an unfinished read counts as lost. The clients' own timeouts are shorter.
const READ_LIMIT: SignedDuration = SignedDuration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Cache<T, E> {
    name: &'static str,
    clock: Clock,
    /// Time after a failed read during which its error is returned again while there is no value.
    first_failure_hold: SignedDuration,
    refresh_wait: Duration,
    state: Arc<Mutex<State<T, E>>>,
}

#[derive(Debug)]
struct State<T, E> {
    /// The value, and when its read began.
    value: Option<(T, Timestamp)>,
    /// Error of the latest read, and when it failed.
    failure: Option<(E, Timestamp)>,
    /// The latest read, and when it began.
    read: Option<(SharedRead<T, E>, Timestamp)>,
    /// Start of the latest read that a failed verification caused.
    reread_at: Option<Timestamp>,
}

type SharedRead<T, E> = Shared<BoxFuture<'static, Result<T, E>>>;

impl<T: Clone, E: Clone + Display> State<T, E> {
    fn unfinished_read(&self, now: Timestamp) -> Option<SharedRead<T, E>> {
        let (read, began_at) = self.read.as_ref()?;
        let is_lost = now.duration_since(*began_at) >= READ_LIMIT;
        (!is_lost && read.peek().is_none()).then(|| read.clone())
    }

    /// A value whose read began within `max_age`.
    fn fresh_value(&self, now: Timestamp, max_age: SignedDuration) -> Option<T> {
        let (value, read_at) = self.value.as_ref()?;
        (now.duration_since(*read_at) < max_age).then(|| value.clone())
    }

    fn finish_read(&mut self, result: &Result<T, E>, began_at: Timestamp, now: Timestamp) {
        // A read that counted as lost may end after its replacement.
        if self.value.as_ref().is_some_and(|(_, read_at)| *read_at > began_at) {
            return;
        }
        match result {
            Ok(value) => {
                self.value = Some((value.clone(), began_at));
                self.failure = None;
            }
            Err(error) => self.failure = Some((error.clone(), now)),
        }
    }
}

impl<T, E> Cache<T, E>
where
    T: Clone + Send + Sync + 'static,
    E: Clone + Display + Send + Sync + 'static,
{
    pub(crate) fn new(
        name: &'static str,
        clock: Clock,
        first_failure_hold: SignedDuration,
    ) -> Self {
        let state = State { value: None, failure: None, read: None, reread_at: None };
        let state = Arc::new(Mutex::new(state));
        Self { name, clock, first_failure_hold, refresh_wait: REFRESH_WAIT, state }
    }

    /// Returns the value. It is younger than [`TTL`], or than [`MAX_AGE`] while reads fail or hang.
    pub(crate) async fn get<F>(&self, read: impl FnOnce() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        if let Some((value, read_at)) = &state.value
            && now.duration_since(*read_at) < REFRESH_AGE
        {
            return Ok(value.clone());
        }
        let cached = state.value.clone().map(|(value, at)| (value, now.duration_since(at)));
        let cached = cached.filter(|(_, age)| *age < MAX_AGE);
        let hold = if cached.is_some() { FAILURE_HOLD } else { self.first_failure_hold };
        if let Some((error, failed_at)) = &state.failure
            && now.duration_since(*failed_at) < hold
        {
            return cached.map(|(value, _)| value).ok_or_else(|| error.clone());
        }
        let (reading, is_new) = match state.unfinished_read(now) {
            Some(reading) => (reading, false),
            None => (self.start(&mut state, now, read()), true),
        };
        drop(state);
        match cached {
            None => reading.await,
            Some((value, age)) if age < TTL || !is_new => Ok(value),
            Some((value, _)) => match tokio::time::timeout(self.refresh_wait, reading).await {
                Ok(Ok(refreshed)) => Ok(refreshed),
                Ok(Err(_)) | Err(_) => Ok(value),
            },
        }
    }

    /// Reads the value again after a failed verification. `None` if that happened within
    /// [`REREAD_COOLDOWN`]; an error, if that read failed.
    pub(crate) async fn reread<F>(&self, read: impl FnOnce() -> F) -> Result<Option<T>, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let read = self.read_once_per(REREAD_COOLDOWN, read).await;
        read.map(|(value, is_new)| is_new.then_some(value))
    }

    /// Returns a value whose read began within [`REREAD_COOLDOWN`]: a verification that fails under it has
    /// failed for another reason than a rotation.
    pub(crate) async fn fresh<F>(&self, read: impl FnOnce() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.younger_than(REREAD_COOLDOWN, read).await
    }

    /// Returns a value whose read began within `max_age`. Reads it at most once in this time.
    pub(crate) async fn younger_than<F>(
        &self,
        max_age: SignedDuration,
        read: impl FnOnce() -> F,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        match self.read_once_per(max_age, read).await {
            Ok((value, _)) => Ok(value),
            Err(error) => {
                self.state.lock().await.fresh_value(self.clock.now(), max_age).ok_or(error)
            }
        }
    }

    /// Returns the value and whether it was read for this call.
    async fn read_once_per<F>(
        &self,
        cooldown: SignedDuration,
        read: impl FnOnce() -> F,
    ) -> Result<(T, bool), E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        let is_cooling = state.reread_at.is_some_and(|at| now.duration_since(at) < cooldown);
        let reading = match state.unfinished_read(now).filter(|_| is_cooling) {
            Some(reading) => reading,
            None => {
                if is_cooling && let Some((error, _)) = &state.failure {
                    return Err(error.clone());
                }
                if is_cooling && let Some(value) = state.fresh_value(now, cooldown) {
                    return Ok((value, false));
                }
                state.reread_at = Some(now);
                self.start(&mut state, now, read())
            }
        };
        drop(state);
        Ok((reading.await?, true))
    }

    /// Starts a read that ends even if nothing waits for it.
    fn start(
        &self,
        state: &mut State<T, E>,
        began_at: Timestamp,
        read: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> SharedRead<T, E> {
        let (name, clock, shared) = (self.name, self.clock.clone(), Arc::downgrade(&self.state));
        let reading = async move {
            let result = read.await;
            if let Some(state) = shared.upgrade() {
                let mut state = state.lock().await;
                if let (Err(error), Some(_)) = (&result, &state.value) {
                    tracing::warn!(name, %error, "cached value not refreshed");
                }
                state.finish_read(&result, began_at, clock.now());
            }
            result
        };
        let reading = reading.boxed().shared();
        state.read = Some((reading.clone(), began_at));
        tokio::spawn(reading.clone());
        reading
    }
}

/// Verifies something with the known keys. If that fails in a way that a rotation explains, verifies it once
/// more with fresh keys.
///
/// # Errors
/// The outer error is a failed read, the inner one the verification's.
pub(crate) async fn verify_with_reread<K, T, E, F>(
    known: K,
    verify: impl Fn(&K) -> Result<T, E>,
    is_explained_by_rotation: impl Fn(&E) -> bool,
    fresh: impl Future<Output = Result<K, F>>,
) -> Result<Result<T, E>, F> {
    match verify(&known) {
        Err(error) if is_explained_by_rotation(&error) => Ok(verify(&fresh.await?)),
        verified => Ok(verified),
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::sync::oneshot;

    use super::*;

    type Read = Result<u32, &'static str>;

    /// A cache that holds 1, and its clock.
    async fn cache() -> (Cache<u32, &'static str>, Clock) {
        let clock = Clock::default();
        let cache = Cache::new("test", clock.clone(), FAILURE_HOLD);
        assert_eq!(cache.get(|| ready(Ok(1))).await, Ok(1));
        (cache, clock)
    }

    fn no_read() -> std::future::Ready<Read> {
        panic!("unexpected read")
    }

    fn seconds(seconds: i64) -> SignedDuration {
        SignedDuration::from_secs(seconds)
    }

    #[tokio::test]
    async fn cached_value_is_served_during_its_refresh() {
        let (cache, clock) = cache().await;
        clock.advance(seconds(239));
        assert_eq!(cache.get(no_read).await, Ok(1));
        clock.advance(seconds(1));
        let (respond, response) = oneshot::channel::<Read>();
        assert_eq!(cache.get(|| async { response.await.unwrap() }).await, Ok(1));
        assert_eq!(cache.get(no_read).await, Ok(1));
        respond.send(Ok(2)).unwrap();
        tokio::task::yield_now().await;
        assert_eq!(cache.get(no_read).await, Ok(2));
    }

    #[tokio::test]
    async fn value_of_five_minutes_is_refreshed_first() {
        let (cache, clock) = cache().await;
        clock.advance(seconds(300));
        assert_eq!(cache.get(|| ready(Ok(2))).await, Ok(2));
    }

    #[tokio::test]
    async fn hanging_refresh_delays_one_request() {
        let (mut cache, clock) = cache().await;
        cache.refresh_wait = Duration::ZERO;
        clock.advance(seconds(300));
        assert_eq!(cache.get(pending).await, Ok(1));
        // A later request does not wait for a read that another one started.
        cache.refresh_wait = Duration::MAX;
        assert_eq!(cache.get(no_read).await, Ok(1));
        // An instance that was frozen during the read does not wait for it either.
        clock.advance(seconds(10));
        assert_eq!(cache.get(|| ready(Ok(2))).await, Ok(2));
    }

    #[tokio::test]
    async fn failed_refresh_is_held_and_value_used_for_a_day() {
        let (cache, clock) = cache().await;
        clock.advance(seconds(300));
        assert_eq!(cache.get(|| ready(Err("down"))).await, Ok(1));
        assert_eq!(cache.get(no_read).await, Ok(1));
        clock.advance(SignedDuration::from_hours(23));
        assert_eq!(cache.get(|| ready(Err("down"))).await, Ok(1));
        clock.advance(SignedDuration::from_hours(1));
        assert_eq!(cache.get(|| ready(Err("down"))).await, Err("down"));
        clock.advance(seconds(15));
        assert_eq!(cache.get(|| ready(Ok(2))).await, Ok(2));
    }

    #[tokio::test]
    async fn failed_first_read_is_held_if_configured() {
        let clock = Clock::default();
        let held = Cache::new("test", clock.clone(), FAILURE_HOLD);
        assert_eq!(held.get(|| ready(Err::<u32, _>("down"))).await, Err("down"));
        assert_eq!(held.get(no_read).await, Err("down"));
        clock.advance(seconds(15));
        assert_eq!(held.get(|| ready(Ok(1))).await, Ok(1));

        let retried = Cache::new("test", clock.clone(), SignedDuration::ZERO);
        assert_eq!(retried.get(|| ready(Err::<u32, _>("down"))).await, Err("down"));
        assert_eq!(retried.get(|| ready(Ok(1))).await, Ok(1));
    }

    #[tokio::test]
    async fn reread_happens_once_a_minute_even_if_it_fails() {
        let (cache, clock) = cache().await;
        assert_eq!(cache.reread(|| ready(Ok(2))).await, Ok(Some(2)));
        assert_eq!(cache.reread(no_read).await, Ok(None));
        clock.advance(seconds(60));
        assert_eq!(cache.reread(|| ready(Err("down"))).await, Err("down"));
        assert_eq!(cache.reread(no_read).await, Err("down"));
        clock.advance(seconds(60));
        assert_eq!(cache.reread(|| ready(Ok(3))).await, Ok(Some(3)));
    }

    #[tokio::test]
    async fn fresh_value_is_younger_than_a_minute() {
        let (cache, clock) = cache().await;
        clock.advance(seconds(59));
        assert_eq!(cache.fresh(|| ready(Err("down"))).await, Ok(1), "read 59 s ago");
        clock.advance(seconds(1));
        assert_eq!(cache.fresh(no_read).await, Err("down"), "read 60 s ago, and tried 1 s ago");
        clock.advance(seconds(59));
        assert_eq!(cache.fresh(|| ready(Ok(2))).await, Ok(2));
        assert_eq!(cache.fresh(no_read).await, Ok(2));
    }

    #[tokio::test]
    async fn concurrent_rereads_share_one_read() {
        let (cache, _) = cache().await;
        let (respond, response) = oneshot::channel::<Read>();
        let (first, second, _) = tokio::join!(
            cache.reread(|| async { response.await.unwrap() }),
            cache.fresh(no_read),
            async { respond.send(Ok(2)).unwrap() },
        );
        assert_eq!((first, second), (Ok(Some(2)), Ok(2)));
    }
}
