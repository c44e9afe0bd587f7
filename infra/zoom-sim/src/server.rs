//! Starting and stopping.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{Html, IntoResponse};
use axum::routing::{get, post};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use url::Url;

use crate::clock::Clock;
use crate::config::Config;
use crate::conn::{Conn, CutListener};
use crate::control::{self, Control};
use crate::delivery::Deliveries;
use crate::faults::Faults;
use crate::ids::Ids;
use crate::request_log::{RequestLog, record};
use crate::sim::{Shared, Sim};
use crate::tokens::Signer;
use crate::users::{User, seeded};
use crate::world::World;
use crate::{download, oauth, pages, rest};

/// How long open connections may take to end.
const GRACE: Duration = Duration::from_millis(500);
/// How many free ports are tried until one is free on both loopback addresses.
const PORT_TRIES: usize = 8;

/// Why a simulator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is not a loopback one. A Zoom that believes everybody belongs to no network.
    #[error("{0} is not a loopback address")]
    NotLoopback(SocketAddr),
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The operating system gives no randomness.
    #[error("no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
    /// No key could be made.
    #[error("no signing key")]
    Key(#[from] aws_lc_rs::error::Unspecified),
    /// The client that sends events cannot be made.
    #[error("no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// Its own address makes no URL.
    #[error("no URL: {0}")]
    Url(#[from] url::ParseError),
}

/// A running Zoom. Dropping it stops it.
#[derive(Debug)]
pub struct Simulator {
    control: Control,
    stop: watch::Sender<bool>,
    servers: JoinSet<io::Result<()>>,
}

impl Simulator {
    /// `http://127.0.0.1:port/`.
    #[must_use]
    pub fn url(&self) -> &Url {
        self.control.url()
    }

    /// The handle by which it is steered.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Stops it; connections that do not end by themselves are dropped.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        let ended = async { while self.servers.join_next().await.is_some() {} };
        tokio::time::timeout(GRACE, ended).await.ok();
        self.servers.shutdown().await;
    }
}

/// Starts a simulator.
///
/// # Errors
/// See [`StartError`].
pub async fn start(config: Config) -> Result<Simulator, StartError> {
    if !config.bind.ip().is_loopback() {
        return Err(StartError::NotLoopback(config.bind));
    }
    let listeners = listen(config.bind).await?;
    let address = listeners
        .first()
        .and_then(|listener| listener.local_addr().ok())
        .unwrap_or(config.bind);
    let url = Url::parse(&format!("http://{address}/"))?;
    let (stop, stopped) = watch::channel(false);
    let sim = Arc::new(build(config, url, address.port(), stopped)?);
    let app = router(&sim);
    let mut servers = JoinSet::new();
    for listener in listeners {
        let app = app.clone().into_make_service_with_connect_info::<Conn>();
        let sim = Arc::clone(&sim);
        servers.spawn(async move {
            let serving = axum::serve(CutListener(listener), app);
            serving
                .with_graceful_shutdown(async move { sim.stopped().await })
                .await
        });
    }
    Ok(Simulator {
        control: control::of(&sim),
        stop,
        servers,
    })
}

/// Listens on the address and on the other loopback address with the same port, if the machine has it.
async fn listen(bind: SocketAddr) -> Result<Vec<TcpListener>, StartError> {
    let other: IpAddr = if bind.is_ipv4() {
        Ipv6Addr::LOCALHOST.into()
    } else {
        Ipv4Addr::LOCALHOST.into()
    };
    let mut tries = if bind.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let first = TcpListener::bind(bind)
            .await
            .map_err(|error| StartError::Listen(bind, error))?;
        let port = first
            .local_addr()
            .map_err(|error| StartError::Listen(bind, error))?
            .port();
        let second = SocketAddr::new(other, port);
        match TcpListener::bind(second).await {
            Ok(second) => return Ok(vec![first, second]),
            // Somebody else there would answer in our name.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries == 0 => {
                return Err(StartError::Listen(second, error));
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => {
                tracing::debug!(%second, %error, "the other loopback address is not there");
                return Ok(vec![first]);
            }
        }
    }
}

fn build(
    config: Config,
    url: Url,
    port: u16,
    stop: watch::Receiver<bool>,
) -> Result<Sim, StartError> {
    let mut key = [0; 32];
    match config.seed {
        Some(seed) => key = Sha256::digest(seed.to_be_bytes()).into(),
        None => getrandom::fill(&mut key)?,
    }
    let ids = Ids::new(key);
    let clock = Clock::default();
    let now = clock.now();
    let users = seeded()
        .into_iter()
        .map(|user| User::new(user, &ids, now))
        .collect();
    // Events go straight to their URL: no proxy of this machine's, no redirects.
    let http = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    Ok(Sim {
        base: url.as_str().trim_end_matches('/').to_owned(),
        content_base: format!("http://localhost:{port}"),
        url,
        clock,
        signer: Signer::new(ids.bytes())?,
        url_key: ids.bytes(),
        noise: Ids::new(ids.bytes()),
        ids,
        config: Mutex::new(config),
        world: Mutex::new(World::of(users)),
        faults: Faults::default(),
        requests: RequestLog::default(),
        deliveries: Deliveries::new(),
        http,
        stop,
    })
}

fn router(sim: &Shared) -> Router {
    let zoom = Router::new()
        .route("/oauth/authorize", get(oauth::authorize::authorize))
        .route("/oauth/token", post(oauth::token::token))
        .route("/oauth/revoke", post(oauth::token::revoke))
        .route("/v2/users/me", get(rest::me::me))
        .route("/v2/users/me/recordings", get(rest::list::list))
        .route("/v2/meetings/{uuid}/recordings", get(rest::meeting::files))
        .route("/rec/webhook_download/{id}/{suffix}", get(download::start))
        .route("/rec/download/{id}", get(download::start))
        .route(
            "/ssrweb/replay/{id}/{name}",
            get(download::content::content),
        )
        .fallback(|| async {
            (
                StatusCode::NOT_FOUND,
                Html(pages::no_recording().into_string()),
            )
                .into_response()
        })
        .layer(from_fn_with_state(Arc::clone(sim), record));
    control::http::router()
        .merge(zoom)
        .with_state(Arc::clone(sim))
}
