//! One tracing subscriber for all tests. `tracing` caches a callsite's interest, so a subscriber per test would
//! miss lines; the layers record by thread instead.

use std::sync::Once;

use tracing_subscriber::layer::SubscriberExt as _;

use crate::operations::measured;
use crate::secrets::run;

/// Installs the subscriber once.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(run::lines()).with(measured::values());
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}
