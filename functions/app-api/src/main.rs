//! Bootstrap of the `app-api` function.

use std::sync::Arc;

use app_api::AppApi;
use aws::environment::Environment;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    aws::metrics::init();
    let function = Arc::new(AppApi::new(&Environment::of_process()?)?);
    gateway::run(move |request| {
        let function = Arc::clone(&function);
        async move { function.handle(request).await }
    })
    .await
}
