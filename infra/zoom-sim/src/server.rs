//! Start and shutdown of a simulator.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use reelay_clock::Clock;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use url::Url;

use crate::config::Config;
use crate::conn::{Conn, FaultListener};
use crate::control::{self, Control};
use crate::deliveries::Deliveries;
use crate::faults::Faults;
use crate::ids::Ids;
use crate::request_log::RequestLog;
use crate::state::{Shared, Sim};
use crate::tokens::Signer;
use crate::users::initial_users;
use crate::world::World;
use crate::{download, oauth, pages, rest};

/// Time for open connections to end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);
/// Attempts to find a port that is free on both loopback addresses.
const MAX_PORT_ATTEMPTS: usize = 8;

/// Reason why a simulator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is not a loopback one. The simulator does not authenticate its callers, so no network may reach
    /// it.
    #[error("{0} is not a loopback address")]
    NotLoopback(SocketAddr),
    /// The address is in use, or does not belong to this machine.
    #[error("failed to listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    /// A key, the HTTP client or the simulator's own URL cannot be made.
    #[error("failed to prepare the simulator")]
    Prepare(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A running simulator. Dropping it stops it.
#[derive(Debug)]
pub struct Simulator {
    control: Control,
    stop: watch::Sender<bool>,
    servers: JoinSet<io::Result<()>>,
}

impl Simulator {
    /// Returns `http://127.0.0.1:port/`.
    #[must_use]
    pub fn url(&self) -> &Url {
        self.control.url()
    }

    /// Returns the handle that controls it.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Stops it. Connections that do not end in time are dropped.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        let ended = async { while self.servers.join_next().await.is_some() {} };
        tokio::time::timeout(SHUTDOWN_TIMEOUT, ended).await.ok();
        self.servers.shutdown().await;
    }
}

/// Starts a simulator.
///
/// # Errors
/// If the address is not a loopback one or is in use; see [`StartError`].
pub async fn start(config: Config) -> Result<Simulator, StartError> {
    start_with_clock(config, Clock::default()).await
}

/// Starts a simulator with a clock that others may share.
///
/// # Errors
/// As for [`start`].
pub async fn start_with_clock(config: Config, clock: Clock) -> Result<Simulator, StartError> {
    if !config.bind.ip().is_loopback() {
        return Err(StartError::NotLoopback(config.bind));
    }
    let listeners = listen(config.bind).await?;
    let address =
        listeners.first().and_then(|listener| listener.local_addr().ok()).unwrap_or(config.bind);
    let url = Url::parse(&format!("http://{address}/")).map_err(prepare)?;
    let (stop, stopped) = watch::channel(false);
    let sim = Arc::new(build(config, clock, url, address.port(), stopped)?);
    let app = router(&sim);
    let mut servers = JoinSet::new();
    for listener in listeners {
        let app = app.clone().into_make_service_with_connect_info::<Conn>();
        let sim = Arc::clone(&sim);
        servers.spawn(async move {
            let serving = axum::serve(FaultListener(listener), app);
            serving.with_graceful_shutdown(async move { sim.stopped().await }).await
        });
    }
    Ok(Simulator { control: Control::new(&sim), stop, servers })
}

fn prepare(error: impl std::error::Error + Send + Sync + 'static) -> StartError {
    StartError::Prepare(Box::new(error))
}

/// Listens on the address and on the other loopback address, if the machine has it, with the same port.
async fn listen(bind: SocketAddr) -> Result<Vec<TcpListener>, StartError> {
    let other: IpAddr =
        if bind.is_ipv4() { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
    let mut attempts = if bind.port() == 0 { MAX_PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        let first =
            TcpListener::bind(bind).await.map_err(|error| StartError::Listen(bind, error))?;
        let port = first.local_addr().map_err(|error| StartError::Listen(bind, error))?.port();
        let second = SocketAddr::new(other, port);
        match TcpListener::bind(second).await {
            Ok(second) => return Ok(vec![first, second]),
            // Another process there would respond in our name.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts == 0 => {
                return Err(StartError::Listen(second, error));
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => {
                tracing::debug!(%second, %error, "other loopback address unavailable");
                return Ok(vec![first]);
            }
        }
    }
}

fn build(
    config: Config,
    clock: Clock,
    url: Url,
    port: u16,
    stop: watch::Receiver<bool>,
) -> Result<Sim, StartError> {
    let mut key = [0; 32];
    match config.seed {
        Some(seed) => key = Sha256::digest(seed.to_be_bytes()).into(),
        None => getrandom::fill(&mut key).map_err(prepare)?,
    }
    let ids = Ids::new(key);
    let users = initial_users(clock.now());
    // Events go directly to their URL, without a proxy or redirects.
    let http = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(prepare)?;
    Ok(Sim {
        base: url.as_str().trim_end_matches('/').to_owned(),
        content_base: format!("http://localhost:{port}"),
        url,
        clock,
        advance_clock: OnceLock::new(),
        signer: Signer::new(ids.bytes()).map_err(prepare)?,
        url_key: ids.bytes(),
        trace_ids: Ids::new(ids.bytes()),
        ids,
        config: Mutex::new(config),
        world: Mutex::new(World::new(users)),
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
        .route("/v2/users/me", get(rest::me))
        .route("/v2/users/me/recordings", get(rest::list::list))
        .route(
            "/v2/meetings/{uuid}/recordings",
            get(rest::meeting::files).delete(rest::meeting::trash),
        )
        .route("/rec/webhook_download/{id}/{suffix}", get(download::redirect::start))
        .route("/rec/download/{id}", get(download::redirect::start))
        .route("/ssrweb/replay/{id}/{name}", get(download::content::content))
        .fallback(|| async {
            let body = Html(pages::no_recording().into_string());
            (StatusCode::NOT_FOUND, body).into_response()
        })
        .layer(from_fn_with_state(Arc::clone(sim), log))
        .with_state(Arc::clone(sim));
    control::http::router(Control::new(sim)).merge(zoom)
}

/// Logs a request when it arrives, and the status of its response.
async fn log(State(sim): State<Shared>, request: Request, next: Next) -> Response {
    let id = sim.requests.add(&request, sim.clock.now());
    let response = next.run(request).await;
    sim.requests.complete(id, &response);
    response
}
