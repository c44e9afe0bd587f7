//! The simulator's shared state.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use url::Url;

use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::Deliveries;
use crate::faults::Faults;
use crate::ids::Ids;
use crate::lock;
use crate::request_log::RequestLog;
use crate::tokens::Signer;
use crate::world::World;

pub(crate) type Shared = Arc<Sim>;

pub(crate) struct Sim {
    /// `http://127.0.0.1:port/`: where pages, API and download URLs are.
    pub(crate) url: Url,
    /// The same as text, without the last slash.
    pub(crate) base: String,
    /// `http://localhost:port`: another host name, where the bytes are.
    pub(crate) content_base: String,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    /// For tracing headers, which are drawn concurrently and so must not disturb the order of `ids`.
    pub(crate) noise: Ids,
    pub(crate) signer: Signer,
    /// Signs the URLs of the bytes.
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
    /// The configuration as it is now.
    pub(crate) fn config(&self) -> Config {
        lock(&self.config).clone()
    }

    /// Returns once the simulator shuts down, or is dropped.
    pub(crate) async fn stopped(&self) {
        let mut stop = self.stop.clone();
        // An error means that the sender is gone, which is the same news.
        stop.wait_for(|stop| *stop).await.ok();
    }
}
