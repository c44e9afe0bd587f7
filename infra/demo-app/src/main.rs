//! The demo app as a program of its own, for a Reelay that runs elsewhere.

use anyhow::Context as _;
use reelay_demo_app::{Bound, Clock, Config, RETURN_PATH, WEBHOOK_PATH};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();
    let variable = |name| std::env::var(name).with_context(|| format!("failed to read {name}"));
    let config = Config {
        public_url: Some(variable("PUBLIC_URL")?.parse()?),
        reelay_url: variable("REELAY_URL")?.parse()?,
        app_secret: variable("REELAY_APP_SECRET")?.into(),
        notification_secret: variable("REELAY_NOTIFICATION_SECRET")?.into(),
        simulator_url: None,
        // Such as https://my-bucket.s3.eu-central-1.amazonaws.com
        media_sources: vec![variable("RECORDINGS_ORIGIN")?],
        clock: Clock::default(),
    };
    let bound = Bound::bind(([127, 0, 0, 1], 3000).into()).await?;
    let app = bound.serve(config).await?;
    tracing::info!(url = %app.url(), RETURN_PATH, WEBHOOK_PATH, "demo app ready");
    std::future::pending().await
}
