//! Bootstrap of the `event-processor` function.

use event_processor::EventProcessor;
use reelay_runtime::environment::Environment;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    reelay_runtime::logs::init(env!("CARGO_PKG_NAME"));
    let function = EventProcessor::new(&Environment::from_process_env()?)?;
    reelay_runtime::sqs::run(|batch, _| function.handle(batch)).await
}
