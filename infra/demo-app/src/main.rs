//! The demo app on its own, for a Reelay that runs elsewhere.

use std::net::SocketAddr;

use anyhow::Context as _;
use clap::Parser;
use reelay_demo_app::Config;
use secrecy::SecretString;
use url::Url;

/// A small app that embeds Reelay. Secrets come from the environment: `REELAY_APP_SECRET` and
/// `REELAY_NOTIFICATION_SECRET`.
#[derive(Parser)]
struct Arguments {
    /// Reelay's address, below which /zoom/connect and /v1 are.
    #[arg(long)]
    reelay_url: Url,
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Where browsers find this app, if not on localhost.
    #[arg(long)]
    public_url: Option<Url>,
    /// Shown as the place to complete recordings.
    #[arg(long)]
    simulator_url: Option<Url>,
    /// From where the pages may load video and audio, beside loopback; such as
    /// https://my-bucket.s3.eu-central-1.amazonaws.com
    #[arg(long)]
    media_source: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().init();
    let arguments = Arguments::parse();
    let mut config = Config::new(
        arguments.reelay_url,
        secret("REELAY_APP_SECRET")?,
        secret("REELAY_NOTIFICATION_SECRET")?,
    );
    config.public_url = arguments.public_url;
    config.simulator_url = arguments.simulator_url;
    config.media_sources.extend(arguments.media_source);
    let app = reelay_demo_app::serve(arguments.listen, config).await?;
    tracing::info!(
        return_url = %app.return_url(),
        webhook_path = reelay_demo_app::WEBHOOK_PATH,
        "tell Reelay these",
    );
    tracing::info!("ready {}", app.url());
    // Until the process is ended.
    std::future::pending().await
}

fn secret(name: &str) -> anyhow::Result<SecretString> {
    let value = std::env::var(name).with_context(|| format!("{name} is not set"))?;
    Ok(SecretString::from(value))
}
