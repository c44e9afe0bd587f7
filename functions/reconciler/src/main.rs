//! Bootstrap of the `reconciler` function.

use aws::environment::Environment;
use reconciler::Reconciler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    aws::metrics::init();
    let function = Reconciler::new(&Environment::of_process()?)?;
    worker::run(|batch, _| function.handle(batch)).await
}
