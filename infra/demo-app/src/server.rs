//! Starts and stops the app: configuration, routes and the HTTP server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_TYPE, REFERRER_POLICY};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use secrecy::{ExposeSecret as _, SecretString};
use standardwebhooks::Webhook;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower_http::set_header::SetResponseHeaderLayer;
use url::Url;

use crate::app::App;
use crate::clock::Clock;
use crate::inbox::{Inbox, Notification};
use crate::pages::error::PageError;
use crate::pages::{home, integrations, notifications, recording, recordings};
use crate::reelay::Reelay;
use crate::{security, session, webhook};

/// Path to which Reelay sends users back from Zoom. Reelay's `ReturnUrls` must list its URL.
pub const RETURN_PATH: &str = "/settings/integrations/zoom/return";

/// Path that receives notifications. Its URL is Reelay's `AppWebhookUrl`.
pub const WEBHOOK_PATH: &str = "/webhooks/reelay";

/// Settings of the app.
#[derive(Clone)]
pub struct Config {
    /// Origin under which browsers reach the app; `None` means `http://localhost:<port>`. Its host is not Reelay's:
    /// cookies ignore ports.
    pub public_url: Option<Url>,
    /// Base URL of Reelay; `/zoom/connect` and `/v1` are below it.
    pub reelay_url: Url,
    /// Secret shared with Reelay that signs tokens. Its UTF-8 bytes are the HS256 key.
    pub app_secret: SecretString,
    /// Secret shared with Reelay that verifies notifications, with or without the prefix `whsec_`.
    pub notification_secret: SecretString,
    /// URL of the Zoom simulator, if there is one.
    pub simulator_url: Option<Url>,
    /// Origins of Reelay's presigned S3 URLs, as Content-Security-Policy sources.
    pub media_sources: Vec<String>,
    /// Clock of tokens and notifications.
    pub clock: Clock,
}

/// Failure to start the app: the address is unavailable, or a setting is invalid.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] anyhow::Error);

/// A bound port whose requests wait until [`Bound::serve`].
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Binds an address; port 0 selects a free port.
    ///
    /// # Errors
    /// If the address is unavailable.
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        let failed = || format!("failed to listen on {address}");
        let listener = TcpListener::bind(address).await.with_context(failed)?;
        let address = listener.local_addr().with_context(failed)?;
        Ok(Self { listener, address })
    }

    /// URL for Reelay's `ReturnUrls`, unless `Config::public_url` names another origin.
    pub fn return_url(&self) -> Url {
        url(&format!("http://localhost:{}{RETURN_PATH}", self.address.port()))
    }

    /// URL for Reelay's `AppWebhookUrl`.
    pub fn webhook_url(&self) -> Url {
        url(&format!("http://{}{WEBHOOK_PATH}", self.address))
    }

    /// Serves the app until [`DemoApp::shutdown`] or until the returned value is dropped.
    ///
    /// # Errors
    /// If a setting in `config` is invalid.
    pub async fn serve(self, config: Config) -> Result<DemoApp, Error> {
        let localhost = || url(&format!("http://localhost:{}/", self.address.port()));
        let public_url = config.public_url.unwrap_or_else(localhost);
        let app = Arc::new(App {
            reelay: Reelay::new(config.reelay_url, &config.app_secret, config.clock.clone())
                .context("failed to create the Reelay client")?,
            webhook: Webhook::new(config.notification_secret.expose_secret())
                .context("failed to decode the notification secret")?,
            clock: config.clock,
            inbox: Inbox::default(),
            return_url: public_url.join(RETURN_PATH).context("invalid public URL")?,
            public_url,
            simulator_url: config.simulator_url,
        });
        let router = router(&app, self.address.port());
        let router = security::add_headers(router, &config.media_sources)
            .context("failed to build the Content-Security-Policy")?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = axum::serve(self.listener, router).with_graceful_shutdown(async {
            // Sending and dropping `stop` both end the server.
            let _ = stopped.await;
        });
        let server = tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "demo app server failed");
            }
        });
        Ok(DemoApp { app, stop, server })
    }
}

/// The running app.
pub struct DemoApp {
    app: Arc<App>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl DemoApp {
    /// Origin under which browsers reach the app.
    pub fn url(&self) -> &Url {
        &self.app.public_url
    }

    /// The verified notifications, oldest first, without repeated deliveries. At most 1,000 are kept.
    pub fn received(&self) -> Vec<Notification> {
        self.app.inbox.all()
    }

    /// Closes the port and lets running requests finish for five seconds.
    pub async fn shutdown(self) {
        drop(self.stop);
        let _ = tokio::time::timeout(Duration::from_secs(5), self.server).await;
    }
}

fn router(app: &Arc<App>, port: u16) -> Router {
    let https = app.public_url.scheme() == "https";
    // The claim in this page's URL must not reach another page through `Referer`.
    let no_referrer = HeaderValue::from_static("no-referrer");
    let return_from_zoom = get(integrations::return_from_zoom)
        .layer(SetResponseHeaderLayer::overriding(REFERRER_POLICY, no_referrer));
    let pages = Router::new()
        .route("/", get(home::show))
        .route("/sign-in", post(home::sign_in))
        .route("/sign-out", post(home::sign_out))
        .route(integrations::PATH, get(integrations::show))
        .route(integrations::CONNECT_PATH, get(integrations::connect))
        .route(RETURN_PATH, return_from_zoom)
        .route("/settings/integrations/zoom/{link_id}/disconnect", post(integrations::disconnect))
        .route("/recordings", get(recordings::list))
        .route("/recordings/{recording_id}", get(recording::show))
        .route("/recordings/{recording_id}/download", post(recording::download))
        .route("/notifications", get(notifications::show))
        .fallback(async || PageError::NotFound)
        .layer(session::layer(port, https))
        .layer(from_fn_with_state(Arc::clone(app), security::restrict_origin));
    let asset = |kind: &'static str, text: &'static str| get(([(CONTENT_TYPE, kind)], text));
    pages
        .route("/assets/style.css", asset("text/css", include_str!("../assets/style.css")))
        .route("/assets/live.js", asset("text/javascript", include_str!("../assets/live.js")))
        // Reelay calls this route, so it has neither a session nor an Origin check.
        .route(WEBHOOK_PATH, post(webhook::receive))
        .with_state(Arc::clone(app))
}

fn url(text: &str) -> Url {
    text.parse().expect("a URL of a socket address and a constant path is valid")
}
