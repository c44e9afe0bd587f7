//! Bootstrap of the `notifier` function.

use notifier::Notifier;
use reelay_runtime::environment::Environment;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    reelay_runtime::logs::init(env!("CARGO_PKG_NAME"));
    let function = Notifier::new(&Environment::from_process_env()?)?;
    reelay_runtime::sqs::run(|batch, _| function.handle(batch)).await
}
