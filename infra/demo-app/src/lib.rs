//! A small app that embeds Reelay: its users connect Zoom, and their recordings show up here.
//!
//! It knows Reelay by its public HTTP contract alone (this crate depends on no other of the workspace),
//! so it doubles as the example to copy from. The parts to look at:
//!
//! * [`reelay`]: the client, in which each call of the contract is one method.
//! * `pages::integrations`: the button, the way back from Zoom, disconnecting.
//! * `webhook`: verifying what Reelay tells.
//!
//! Reelay must know this app's addresses and this app Reelay's, so binding and serving are two steps:
//!
//! ```no_run
//! # async fn example() -> Result<(), reelay_demo_app::Error> {
//! let bound = reelay_demo_app::Bound::bind(([127, 0, 0, 1], 0).into()).await?;
//! let (return_url, webhook_url) = (bound.return_url(), bound.webhook_url());
//! // … start Reelay with these two, then:
//! let config = reelay_demo_app::Config::new(
//!     "http://127.0.0.1:4000".parse().expect("a URL"),
//!     "the app secret".into(),
//!     "the notification secret".into(),
//! );
//! let app = bound.serve(config).await?;
//! # app.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod app_user;
mod inbox;
mod pages;
pub mod reelay;
mod security;
mod session;
mod webhook;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use url::Url;

pub use self::app_user::{AppUser, NoAppUser};
pub use self::inbox::VerifiedNotification;

use self::inbox::Inbox;
use self::reelay::{Reelay, ReelayError};
use self::security::BadMediaSource;

/// Where users come back to from Zoom: Reelay's `ReturnUrls` must list it.
pub const RETURN_PATH: &str = "/settings/integrations/zoom/return";

/// Where Reelay's notifications go: its `AppWebhookUrl`.
pub const WEBHOOK_PATH: &str = "/webhooks/reelay";

/// How long requests under way may take when the app is shut down.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// What the app must be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Under which origin browsers see the app (its pages are at `/`); `http://localhost:<port>` if absent.
    ///
    /// Cookies ignore ports, so the app should not share its host name with Reelay: hence `localhost`
    /// for the one and `127.0.0.1` for the other on a developer's machine.
    pub public_url: Option<Url>,
    /// Reelay's address, below which `/zoom/connect` and `/v1` are.
    pub reelay_url: Url,
    /// Shared with Reelay; signs tokens (its UTF-8 bytes are the HS256 key).
    pub app_secret: SecretString,
    /// Shared with Reelay; verifies notifications. With or without `whsec_` in front.
    pub notification_secret: SecretString,
    /// Shown as "Open the Zoom simulator" where there is one.
    pub simulator_url: Option<Url>,
    /// From where the pages may load video and audio, as sources of a Content-Security-Policy:
    /// the origin of presigned S3 addresses. Any loopback port unless set.
    pub media_sources: Vec<String>,
}

impl Config {
    /// For this machine: served on `localhost`, media on any loopback port.
    pub fn new(
        reelay_url: Url,
        app_secret: SecretString,
        notification_secret: SecretString,
    ) -> Self {
        Self {
            public_url: None,
            reelay_url,
            app_secret,
            notification_secret,
            simulator_url: None,
            media_sources: vec!["http://127.0.0.1:*".into(), "http://localhost:*".into()],
        }
    }
}

/// The app could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken or not ours.
    #[error("the demo app cannot listen on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// `reelay_url` is no base, or no HTTP client could be made.
    #[error("no client of Reelay")]
    Reelay(#[from] ReelayError),
    /// The notification secret is not base64.
    #[error("the notification secret is not usable")]
    NotificationSecret(#[source] standardwebhooks::WebhookError),
    /// An entry of `media_sources` is no source of a Content-Security-Policy.
    #[error(transparent)]
    MediaSource(#[from] BadMediaSource),
}

/// A port that is taken but not served yet: requests wait.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Takes the address; port 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        let failed = |source| Error::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The address taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://localhost:<port>`, the address unless `Config::public_url` names another.
    pub fn url(&self) -> Url {
        localhost(self.address)
    }

    /// What to list in Reelay's `ReturnUrls`, unless `Config::public_url` names another host.
    pub fn return_url(&self) -> Url {
        at(&self.url(), RETURN_PATH)
    }

    /// What to give Reelay as `AppWebhookUrl`: by number, for it is a server that calls.
    pub fn webhook_url(&self) -> Url {
        let mut url = at(&self.url(), WEBHOOK_PATH);
        let ip = self.address.ip();
        if !ip.is_unspecified() {
            // Only a `Url` that cannot be a base refuses a host; this one has one already.
            let _ = url.set_ip_host(ip);
        }
        url
    }

    /// Serves the app until it is shut down or dropped.
    pub async fn serve(self, config: Config) -> Result<DemoApp, Error> {
        let public_url = config.public_url.unwrap_or_else(|| localhost(self.address));
        let secret = config.notification_secret.expose_secret();
        let app = Arc::new(App {
            reelay: Reelay::new(config.reelay_url, &config.app_secret)?,
            verifier: webhook::Verifier::new(secret).map_err(Error::NotificationSecret)?,
            inbox: Inbox::default(),
            return_to: at(&public_url, RETURN_PATH),
            public_url,
            simulator_url: config.simulator_url,
        });
        let headers = security::Headers::new(&config.media_sources)?;
        let router = pages::router(Arc::clone(&app), headers, self.address.port());

        let (stop, stopped) = oneshot::channel::<()>();
        let serving = axum::serve(self.listener, router).with_graceful_shutdown(async {
            // Dropping the app stops it just as well as asking it to.
            let _ = stopped.await;
        });
        let server = tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the demo app stopped serving");
            }
        });
        Ok(DemoApp { app, stop, server })
    }
}

/// Binds and serves at once, where Reelay's address and secrets are known already.
pub async fn serve(address: SocketAddr, config: Config) -> Result<DemoApp, Error> {
    Bound::bind(address).await?.serve(config).await
}

/// The running app.
#[derive(Debug)]
pub struct DemoApp {
    app: Arc<App>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl DemoApp {
    /// Where browsers find it.
    pub fn url(&self) -> &Url {
        &self.app.public_url
    }

    /// Where users come back to from Zoom: what Reelay's `ReturnUrls` must list.
    pub fn return_url(&self) -> &Url {
        &self.app.return_to
    }

    /// The verified notifications so far, oldest first, each once; the last thousand.
    pub fn received(&self) -> Vec<VerifiedNotification> {
        self.app.inbox.all()
    }

    /// The first notification, received already or still to come, that is wanted; `None` if there is
    /// none within `timeout`.
    pub async fn wait_for(
        &self,
        timeout: Duration,
        wanted: impl Fn(&VerifiedNotification) -> bool,
    ) -> Option<VerifiedNotification> {
        tokio::time::timeout(timeout, self.app.inbox.first(wanted))
            .await
            .ok()
    }

    /// Lets requests under way finish, then frees the port.
    pub async fn shutdown(self) {
        let Self {
            stop, mut server, ..
        } = self;
        drop(stop);
        if tokio::time::timeout(SHUTDOWN_GRACE, &mut server)
            .await
            .is_err()
        {
            server.abort();
        }
    }
}

/// What every request may need.
#[derive(Debug)]
struct App {
    reelay: Reelay,
    verifier: webhook::Verifier,
    inbox: Inbox,
    public_url: Url,
    return_to: Url,
    simulator_url: Option<Url>,
}

fn localhost(address: SocketAddr) -> Url {
    let mut url = LOCALHOST.clone();
    // `http` has ports, so this cannot fail.
    let _ = url.set_port(Some(address.port()));
    url
}

fn at(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(path);
    url.set_query(None);
    url
}

static LOCALHOST: std::sync::LazyLock<Url> =
    std::sync::LazyLock::new(|| "http://localhost/".parse().expect("a constant URL"));
