//! Bootstrap of the `webhook` function.

use std::sync::Arc;

use aws::environment::Environment;
use webhook::Webhook;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    aws::metrics::init();
    let function = Arc::new(Webhook::new(&Environment::of_process()?)?);
    let ahead = Arc::clone(&function);
    tokio::spawn(async move { ahead.read_ahead().await });
    gateway::run(move |request| {
        let function = Arc::clone(&function);
        async move { function.handle(request).await }
    })
    .await
}
