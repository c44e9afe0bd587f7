//! Bootstrap of the `notifier` function.

use notifier::Notifier;
use reelay_runtime::environment::Environment;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    reelay_runtime::metrics::init();
    let function = Notifier::new(&Environment::from_process_env()?)?;
    reelay_runtime::sqs::run(|batch, _| function.handle(batch)).await
}
