//! The state that handlers, tasks and the control API share.

use std::sync::{Arc, Mutex, OnceLock};

use reelay_clock::Clock;
use tokio::sync::watch;
use url::Url;

use crate::clock::AdvanceClock;
use crate::config::Config;
use crate::deliveries::Deliveries;
use crate::faults::Faults;
use crate::grants::Issuer;
use crate::ids::Ids;
use crate::request_log::RequestLog;
use crate::sync::lock;
use crate::tokens::Signer;
use crate::world::World;

pub(crate) type Shared = Arc<Sim>;

pub(crate) struct Sim {
    /// `http://127.0.0.1:port/`: pages, API and download URLs.
    pub(crate) url: Url,
    /// `url` without the trailing slash.
    pub(crate) base: String,
    /// `http://localhost:port`: the content host, which is another host name.
    pub(crate) content_base: String,
    pub(crate) clock: Clock,
    /// Moves the clock for the control page and its API, if it is not the simulator's own.
    pub(crate) advance_clock: OnceLock<AdvanceClock>,
    pub(crate) ids: Ids,
    /// For tracing headers: they are drawn concurrently, which must not change the order of `ids`.
    pub(crate) trace_ids: Ids,
    pub(crate) signer: Signer,
    /// Signs content URLs.
    pub(crate) url_key: [u8; 32],
    pub(crate) config: Mutex<Config>,
    pub(crate) world: Mutex<World>,
    pub(crate) faults: Faults,
    pub(crate) requests: RequestLog,
    pub(crate) deliveries: Deliveries,
    pub(crate) http: reqwest::Client,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Sim {
    /// The current configuration.
    pub(crate) fn config(&self) -> Config {
        lock(&self.config).clone()
    }

    pub(crate) fn issuer<'a>(&'a self, config: &'a Config) -> Issuer<'a> {
        Issuer { config, ids: &self.ids, signer: &self.signer, now: self.clock.now() }
    }

    /// Returns when the simulator is shut down or dropped.
    pub(crate) async fn stopped(&self) {
        let mut stop = self.stop.clone();
        // An error means that the sender was dropped.
        stop.wait_for(|stop| *stop).await.ok();
    }
}
