//! The `zoom-sim` command.

use std::net::{IpAddr, SocketAddr};

use anyhow::Context;
use clap::Parser;
use reelay_zoom_sim::Config;

/// An offline Zoom: OAuth, cloud recordings, downloads and webhooks on loopback
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Port on both loopback addresses; 0 takes a free one
    #[arg(long, default_value_t = 4200)]
    port: u16,
    /// Loopback address in download URLs
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    /// The app's client id
    #[arg(long)]
    client_id: Option<String>,
    /// The app's client secret
    #[arg(long)]
    client_secret: Option<String>,
    /// The app's secret token, which signs events
    #[arg(long)]
    webhook_secret: Option<String>,
    /// Endpoint for events
    #[arg(long)]
    webhook_url: Option<String>,
    /// Endpoint for `app_deauthorized`
    #[arg(long)]
    deauthorize_url: Option<String>,
    /// Allowed redirect URI; repeatable
    #[arg(long)]
    redirect_uri: Vec<String>,
    /// Factor for the retry delays of 5, 20 and 60 minutes
    #[arg(long, default_value_t = 1.0)]
    retry_scale: f64,
    /// Makes ids reproducible
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let args = Args::parse();
    let defaults = Config::default();
    let config = Config {
        bind: SocketAddr::new(args.address, args.port),
        seed: args.seed,
        client_id: args.client_id.unwrap_or(defaults.client_id),
        client_secret: args.client_secret.unwrap_or(defaults.client_secret),
        webhook_secret: args.webhook_secret.unwrap_or(defaults.webhook_secret),
        webhook_url: args.webhook_url,
        deauthorize_url: args.deauthorize_url,
        redirect_uris: args.redirect_uri,
        retry_scale: args.retry_scale,
        ..Config::default()
    };
    let sim = reelay_zoom_sim::start(config).await.context("failed to start the simulator")?;
    tracing::info!(url = %sim.url(), "simulator started; the control page is at this URL");
    tokio::signal::ctrl_c().await.context("failed to wait for Ctrl-C")?;
    sim.shutdown().await;
    Ok(())
}
