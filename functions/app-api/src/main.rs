//! Bootstrap of the `app-api` function.

use std::sync::Arc;

use app_api::AppApi;
use reelay_runtime::environment::Environment;
use reelay_runtime::http::response::Problem;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    reelay_runtime::logs::init(env!("CARGO_PKG_NAME"));
    let function = Arc::new(AppApi::new(&Environment::from_process_env()?)?);
    let handle = move |request| {
        let function = Arc::clone(&function);
        async move { function.handle(request).await }
    };
    reelay_runtime::http::run(handle, || Problem::Unavailable.into_response()).await
}
