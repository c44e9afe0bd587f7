//! Bootstrap of the `notifier` function.

use aws::environment::Environment;
use notifier::Notifier;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    aws::metrics::init();
    let function = Notifier::new(&Environment::of_process()?)?;
    worker::run(|batch, _| function.handle(batch)).await
}
