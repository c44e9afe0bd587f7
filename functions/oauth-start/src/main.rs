//! Bootstrap of the `oauth-start` function.

use std::sync::Arc;

use oauth_start::OauthStart;
use reelay_runtime::environment::Environment;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    reelay_runtime::logs::init(env!("CARGO_PKG_NAME"));
    let function = Arc::new(OauthStart::new(&Environment::from_process_env()?)?);
    let late = Arc::clone(&function);
    let handle = move |request| {
        let function = Arc::clone(&function);
        async move { function.handle(request).await }
    };
    reelay_runtime::http::run(handle, move || late.timed_out()).await
}
