//! Bootstrap of the `oauth-callback` function.

use std::sync::Arc;

use aws::environment::Environment;
use oauth_callback::OauthCallback;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    aws::metrics::init();
    let function = Arc::new(OauthCallback::new(&Environment::of_process()?)?);
    gateway::run(move |request| {
        let function = Arc::clone(&function);
        async move { function.handle(request).await }
    })
    .await
}
