//! Bootstrap of the `event-processor` function.

use aws::environment::Environment;
use event_processor::EventProcessor;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    aws::metrics::init();
    let function = EventProcessor::new(&Environment::of_process()?)?;
    worker::run(|batch, _| function.handle(batch)).await
}
