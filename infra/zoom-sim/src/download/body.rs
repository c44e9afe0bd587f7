//! The body of a download, and the faults that change it.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream;

use crate::call::Call;
use crate::faults::Fault;
use crate::files::{CHUNK, FileSpec};

/// End of the connection after the last byte.
#[derive(Clone, Copy)]
enum End {
    Complete,
    Close,
    Reset,
    Stall,
}

pub(super) fn stream(
    call: &Call,
    file: &FileSpec,
    range: Range<u64>,
    fault: Option<Fault>,
) -> Body {
    let length = range.end - range.start;
    let (sent, end) = match fault {
        Some(Fault::Truncate { after }) => (after, End::Close),
        Some(Fault::Reset { after }) => (after, End::Reset),
        Some(Fault::Stall { after }) => (after, End::Stall),
        Some(Fault::ContentLength { length: declared }) if declared > length => {
            (length, End::Close)
        }
        Some(Fault::ContentLength { length: declared }) => (declared, End::Complete),
        _ => (length, End::Complete),
    };
    let bytes_per_second = match fault {
        Some(Fault::Slow { bytes_per_second } | Fault::SlowStream { bytes_per_second }) => {
            Some(bytes_per_second.max(1))
        }
        _ => None,
    };
    // Ten chunks per second when slow, so that progress is visible.
    let chunk = bytes_per_second.map_or(CHUNK, |rate| (rate / 10).clamp(1, CHUNK));
    let chunks = file.chunks(range.start..range.start + sent.min(length), chunk);
    let (sim, conn) = (Arc::clone(&call.sim), call.conn.clone());
    Body::from_stream(stream::unfold(chunks, move |mut chunks| {
        let (sim, conn) = (Arc::clone(&sim), conn.clone());
        async move {
            if let Some(bytes) = chunks.next() {
                if let Some(rate) = bytes_per_second {
                    let pause = Duration::from_secs_f64(bytes.len() as f64 / rate as f64);
                    tokio::time::sleep(pause).await;
                }
                return Some((Ok::<Bytes, Infallible>(bytes), chunks));
            }
            // The connection closes when the kernel has all bytes; until then the body has no end.
            match end {
                End::Complete => return None,
                End::Close => conn.close_once_sent(),
                End::Reset => conn.reset_once_sent(),
                End::Stall => {}
            }
            sim.stopped().await;
            None
        }
    }))
}
