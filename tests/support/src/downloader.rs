//! The downloader, called with one delivery at a time and killed at any moment.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use jiff::SignedDuration;
use recording_downloader::RecordingDownloader;
use reelay_zoom_sim::{NewRecording, Recording};
use serde_json::json;

use crate::System;

/// Longer than any transfer in these tests takes.
pub const LONG_INVOCATION: Duration = Duration::from_secs(300);

/// Longer than the lease of a killed invocation.
const LEASE_EXPIRY: SignedDuration = SignedDuration::from_secs(331);

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The message is deleted: the file is finished, or another message continues it.
    Done,
    /// SQS delivers the message again.
    Retry,
    /// The function was killed.
    Killed,
}

/// One instance of the function, and the message for one file.
pub struct Downloader {
    function: RecordingDownloader,
    body: String,
}

impl Downloader {
    /// Takes the message for the only file of a new recording out of the queue. The system must run in
    /// on-demand mode.
    pub async fn for_recording(
        system: &System,
        user: &str,
        new: NewRecording,
    ) -> (Self, Recording) {
        let recording = system.record(new).await;
        let path = format!("{}/download", crate::recordings::recording_path(&recording));
        let requested = system.app.call(reqwest::Method::POST, &path, user).await;
        assert_eq!(requested.status, 202);
        let mut bodies = system.take_messages(&system.queues().downloads).await;
        assert_eq!(bodies.len(), 1, "{bodies:?}");
        let body = bodies.remove(0);
        let environment = system.stack.function_environment("recording-downloader");
        let function = RecordingDownloader::new(environment.unwrap()).unwrap();
        (Self { function, body }, recording)
    }

    /// Delivers the message under this id, with this much time for the invocation.
    pub async fn deliver(&self, message_id: &str, time: Duration) -> Outcome {
        let (outcome, _) = self.deliver_until(message_id, time, usize::MAX).await;
        outcome
    }

    /// As [`Self::deliver`], but kills the function after `polls` polls. Also returns the number of polls.
    pub async fn deliver_until(
        &self,
        message_id: &str,
        time: Duration,
        polls: usize,
    ) -> (Outcome, usize) {
        self.run(message_id, "1", time, polls).await
    }

    /// Delivers the message until the function is killed during a multipart upload, which stays open. The lease has
    /// expired afterwards.
    pub async fn kill_in_upload(&self, system: &System, message_id: &str) {
        let mut polls = 20;
        while system.open_uploads().await == 0 {
            let (outcome, _) = self.deliver_until(message_id, LONG_INVOCATION, polls).await;
            assert_eq!(outcome, Outcome::Killed, "{polls}");
            system.advance(LEASE_EXPIRY);
            polls += 3;
        }
    }

    async fn run(
        &self,
        message_id: &str,
        receive_count: &str,
        time: Duration,
        polls: usize,
    ) -> (Outcome, usize) {
        let event: SqsEvent = serde_json::from_value(json!({"Records": [{
            "messageId": message_id,
            "body": self.body,
            "attributes": {"ApproximateReceiveCount": receive_count},
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "awsRegion": "us-east-1",
        }]}))
        .unwrap();
        let mut invocation = pin!(self.function.handle(event, Instant::now() + time));
        let mut polled = 0;
        let response: Option<SqsBatchResponse> = poll_fn(|cx| {
            if polled == polls {
                return Poll::Ready(None);
            }
            polled += 1;
            invocation.as_mut().poll(cx).map(Some)
        })
        .await;
        let outcome = match response {
            None => Outcome::Killed,
            Some(response) if response.batch_item_failures.is_empty() => Outcome::Done,
            Some(_) => Outcome::Retry,
        };
        (outcome, polled)
    }
}
