//! Bootstrap of the `recording-downloader` function.

use aws::environment::Environment;
use recording_downloader::RecordingDownloader;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    aws::metrics::init();
    let function = RecordingDownloader::new(&Environment::of_process()?)?;
    worker::run(|batch, deadline| function.handle(batch, deadline)).await
}
