//! Bootstrap of the `reconciler` function.

use reconciler::Reconciler;
use reelay_runtime::environment::Environment;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    reelay_runtime::logs::init(env!("CARGO_PKG_NAME"));
    let function = Reconciler::new(&Environment::from_process_env()?)?;
    reelay_runtime::sqs::run(|batch, deadline| function.handle(batch, deadline)).await
}
