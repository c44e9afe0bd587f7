//! Annotations of X-Ray traces. `annotation.recording_id = "<id>"` in the X-Ray console finds the traces of all
//! invocations that worked on a recording, and through the messages that they sent the request of the webhook.
//!
//! An annotation is a subsegment of the invocation's segment, sent to the daemon that Lambda runs beside the function
//! (X-Ray Developer Guide, "Sending trace data to AWS X-Ray"; Lambda Developer Guide, "Using AWS X-Ray").

use std::net::UdpSocket;

use jiff::Timestamp;
use reelay_domain::ids::{FileId, RecordingId};
use serde_json::{Map, Value, json};

use crate::random;

/// Target of the events that become annotations.
pub(crate) const TARGET: &str = "annotation";

/// Variable with the daemon's address, set by Lambda.
const DAEMON_VARIABLE: &str = "AWS_XRAY_DAEMON_ADDRESS";

/// First line of a datagram to the daemon.
const DATAGRAM_HEADER: &str = r#"{"format": "json", "version": 1}"#;

/// Annotates the invocation's trace with the recording that it works on, and the file, if it is one. Neither id
/// names a person.
pub fn annotate(recording: &RecordingId, file: Option<&FileId>) {
    let (recording_id, file_id) = (recording.as_str(), file.map(FileId::as_str));
    tracing::debug!(target: TARGET, recording_id, file_id);
}

/// The X-Ray daemon.
pub(crate) struct Daemon(UdpSocket);

impl Daemon {
    /// The daemon beside the function; `None` where there is none.
    pub(crate) fn from_env() -> Option<Self> {
        Self::at(&std::env::var(DAEMON_VARIABLE).ok()?).ok()
    }

    pub(crate) fn at(address: &str) -> std::io::Result<Self> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(address)?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Adds annotations to the segment that the trace header names, if it is sampled.
    pub(crate) fn send(&self, header: &str, annotations: Map<String, Value>, now: Timestamp) {
        if let Some(subsegment) = subsegment(header, random::bytes(), annotations, now) {
            // An annotation may be lost, as any datagram. A function never waits for one.
            let _ = self.0.send(format!("{DATAGRAM_HEADER}\n{subsegment}").as_bytes());
        }
    }
}

/// The subsegment document; `None` if the trace is not sampled.
fn subsegment(
    header: &str,
    id: [u8; 8],
    annotations: Map<String, Value>,
    now: Timestamp,
) -> Option<Value> {
    let field = |name| {
        header.split(';').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
    };
    if field("Sampled") != Some("1") {
        return None;
    }
    let seconds = now.as_duration().as_secs_f64();
    Some(json!({
        "type": "subsegment",
        "name": "recording",
        "id": format!("{:016x}", u64::from_be_bytes(id)),
        "trace_id": field("Root")?,
        "parent_id": field("Parent")?,
        "start_time": seconds,
        "end_time": seconds,
        "annotations": annotations,
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HEADER: &str =
        "Root=1-581cf771-a006649127e371903a2de979;Parent=70de5b6f19ff9a0b;Sampled=1;Lineage=a:0";

    fn annotations() -> Map<String, Value> {
        Map::from_iter([("recording_id".to_owned(), json!("r-1"))])
    }

    #[test]
    fn annotations_reach_the_daemon() {
        let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
        daemon.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let address = daemon.local_addr().unwrap().to_string();
        let now = Timestamp::from_millisecond(1_478_293_361_250).unwrap();
        Daemon::at(&address).unwrap().send(HEADER, annotations(), now);
        let mut buffer = [0; 1024];
        let length = daemon.recv(&mut buffer).unwrap();
        let datagram = std::str::from_utf8(&buffer[..length]).unwrap();
        let (header, document) = datagram.split_once('\n').unwrap();
        assert_eq!(header, DATAGRAM_HEADER);
        let mut document: Value = serde_json::from_str(document).unwrap();
        let id = document["id"].take();
        assert_eq!(id.as_str().unwrap().len(), 16);
        assert_eq!(
            document,
            json!({
                "type": "subsegment", "name": "recording", "id": null,
                "trace_id": "1-581cf771-a006649127e371903a2de979", "parent_id": "70de5b6f19ff9a0b",
                "start_time": 1_478_293_361.25, "end_time": 1_478_293_361.25,
                "annotations": {"recording_id": "r-1"},
            })
        );
    }

    #[test]
    fn trace_that_is_not_sampled_is_not_annotated() {
        let now = Timestamp::UNIX_EPOCH;
        assert!(subsegment(HEADER, [1; 8], annotations(), now).is_some());
        for header in [
            &HEADER.replace("Sampled=1", "Sampled=0"),
            &HEADER.replace(";Sampled=1", ""),
            &HEADER.replace("Root", "Other"),
            "",
        ] {
            assert_eq!(subsegment(header, [1; 8], annotations(), now), None, "{header}");
        }
    }
}
