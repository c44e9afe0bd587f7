//! Bootstrap of the `webhook` function.

use std::sync::Arc;

use http::StatusCode;
use reelay_runtime::environment::{Environment, preload_tls_roots};
use reelay_runtime::http::response;
use webhook::Webhook;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    reelay_runtime::logs::init(env!("CARGO_PKG_NAME"));
    let function = Arc::new(Webhook::new(&Environment::from_process_env()?)?);
    let preloading = Arc::clone(&function);
    tokio::spawn(async move {
        // On a separate thread, so that it does not delay the request for the first event.
        let _ = tokio::task::spawn_blocking(preload_tls_roots).await;
        preloading.preload_secrets().await;
    });
    let handle = move |request| {
        let function = Arc::clone(&function);
        async move { function.handle(request).await }
    };
    let timed_out = || response::empty(StatusCode::SERVICE_UNAVAILABLE);
    reelay_runtime::http::run(handle, timed_out).await
}
