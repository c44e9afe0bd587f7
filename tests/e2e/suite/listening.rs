//! Who listens to what is logged and measured.
//!
//! One subscriber serves all threads of the process, and what it hears is kept by thread, where all tasks of a
//! test run. One subscriber for each test would miss lines: where such a one is the only one, `tracing` asks
//! whichever thread comes by a line first whether anybody wants it.

use std::sync::Once;

use tracing_subscriber::layer::SubscriberExt as _;

use crate::operations::measured;
use crate::secrets::run;

/// Has everything heard from now on.
pub(crate) fn begin() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let subscriber = tracing_subscriber::registry()
            .with(run::lines())
            .with(measured::values());
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}
