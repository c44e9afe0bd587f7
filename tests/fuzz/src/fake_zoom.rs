//! A Zoom whose response the input determines, and a client of it.

use std::fmt::{Debug, Display};
use std::sync::{Arc, Mutex};

use reelay_zoom::{
    ClientCredentials, Endpoints, RateLimit, RateLimitKind, RetryAfter, Timeouts, ZoomClient,
};
use secrecy::SecretString;
use tokio::runtime::{Builder, Runtime};

use crate::loopback::{self, Received, Reply};
use crate::oracle::{self, text};

/// Part of every secret in inputs and requests; no `Debug` or `Display` output may contain it.
pub(crate) const SECRET: &str = "S3CRET";

/// Path of a download.
pub(crate) const FILE_PATH: &str = "/file";

/// Body at every path other than [`FILE_PATH`], `/oauth…` and `/v2…`.
pub(crate) const REDIRECTED_BODY: &[u8] = b"moved";

pub(crate) struct FakeZoom {
    runtime: Runtime,
    client: ZoomClient,
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    reply: Option<Reply>,
    received: Vec<Received>,
}

thread_local! {
    static ZOOM: FakeZoom = FakeZoom::start();
}

impl FakeZoom {
    fn start() -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        let port = loopback::serve(move |request| {
            let mut state = shared.lock().unwrap();
            state.received.push(request.clone());
            let path = request.uri().path();
            let is_first =
                path == FILE_PATH || path.starts_with("/oauth") || path.starts_with("/v2");
            let reply = state.reply.clone().filter(|_| is_first);
            reply.unwrap_or_else(|| loopback::reply(200, REDIRECTED_BODY))
        });
        let base = format!("http://127.0.0.1:{port}");
        let endpoints = Endpoints::parse(&base, &base).unwrap();
        Self {
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            client: ZoomClient::new(endpoints, Timeouts::default()),
            port,
            state,
        }
    }

    /// Runs a closure with this thread's instance.
    pub(crate) fn with<T>(run: impl FnOnce(&Self) -> T) -> T {
        ZOOM.with(run)
    }

    /// Makes a call against one response; returns its result and the received requests.
    pub(crate) fn call<T>(
        &self,
        reply: Reply,
        call: impl AsyncFnOnce(&ZoomClient) -> T,
    ) -> (T, Vec<Received>) {
        *self.state.lock().unwrap() = State { reply: Some(reply), received: Vec::new() };
        let result = self.runtime.block_on(call(&self.client));
        let received = std::mem::take(&mut self.state.lock().unwrap().received);
        (result, received)
    }
}

/// Parses a final status code; an HTTP server cannot send others as a response.
pub(crate) fn status(code: &[u8]) -> Option<u16> {
    let status = text(code).parse().ok();
    status.filter(|status| (200..=599).contains(status))
}

pub(crate) fn secret(name: &str) -> SecretString {
    SecretString::from(format!("{SECRET}-{name}"))
}

pub(crate) fn credentials() -> ClientCredentials {
    ClientCredentials { client_id: "id".to_owned(), client_secret: secret("client") }
}

pub(crate) fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a [u8]> {
    reply.headers().get(name).map(|value| value.as_bytes())
}

pub(crate) fn assert_debug_has_no_secret(value: &impl Debug) {
    let shown = format!("{value:?} {value:#?}");
    assert!(!shown.contains(SECRET), "{shown}");
}

pub(crate) fn assert_error_has_no_secret(error: &(impl Debug + Display)) {
    assert_debug_has_no_secret(error);
    assert!(!error.to_string().contains(SECRET), "{error}");
}

pub(crate) fn assert_rate_limit(limit: &RateLimit, reply: &Reply) {
    let kind = header(reply, "x-ratelimit-type").map(<[u8]>::to_ascii_lowercase);
    let expected = match kind.as_deref() {
        Some(b"qps") => Some(RateLimitKind::PerSecond),
        Some(b"daily-limit") => Some(RateLimitKind::Daily),
        _ => None,
    };
    assert_eq!(limit.kind, expected);
    assert_retry_after(limit.retry_after, reply);
}

pub(crate) fn assert_retry_after(parsed: Option<RetryAfter>, reply: &Reply) {
    let digits = header(reply, "retry-after").filter(|it| it.iter().all(u8::is_ascii_digit));
    let seconds: Option<u64> = digits.and_then(|digits| text(digits).parse().ok());
    match (parsed, seconds) {
        (Some(RetryAfter::Delay(wait)), Some(seconds)) => assert_eq!(wait.as_secs(), seconds),
        (_, Some(seconds)) => panic!("a delay of {seconds} s was not parsed"),
        _ => {}
    }
    if let Some(parsed) = parsed {
        let retry_at = parsed.retry_at(oracle::now());
        assert!(retry_at >= oracle::now(), "the retry time has passed");
    }
}
