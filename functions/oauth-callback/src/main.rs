//! Bootstrap of the `oauth-callback` function.

use std::sync::Arc;

use oauth_callback::OauthCallback;
use reelay_runtime::environment::Environment;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    reelay_runtime::logs::init(env!("CARGO_PKG_NAME"));
    let function = Arc::new(OauthCallback::new(&Environment::from_process_env()?)?);
    let late = Arc::clone(&function);
    let handle = move |request| {
        let function = Arc::clone(&function);
        async move { function.handle(request).await }
    };
    reelay_runtime::http::run(handle, move || late.timed_out()).await
}
