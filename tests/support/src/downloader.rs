//! The downloader called by hand: one delivery at a time, which may be cut off at any moment.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use recording_downloader::RecordingDownloader;
use reelay_zoom_sim::{NewRecording, Recording};
use serde_json::json;

use crate::{System, landed, store, zoom};

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The message is done: the file has ended, or was handed over.
    Done,
    /// It comes again.
    Again,
    /// The function was cut off.
    Killed,
}

/// One instance of the function, and the message for one file.
pub struct Downloader {
    function: RecordingDownloader,
    body: String,
}

impl Downloader {
    /// For the only file of a new recording. The system must be in on-demand mode: its message is taken out
    /// of the queue, and delivered by [`Self::deliver`] alone.
    pub async fn of(system: &System, user: &str, new: NewRecording) -> (Self, Recording) {
        let recording = zoom::complete(system, new).await;
        system.work().await;
        let path = format!("/v1/recordings/{}/download", landed::id(&recording));
        let asked = system.app.call(reqwest::Method::POST, &path, user).await;
        assert_eq!(asked.status, 202);
        let queue = &system.stack.config().queues.downloads;
        let mut bodies = store::take(&system.stack, queue).await;
        assert_eq!(bodies.len(), 1, "{bodies:?}");
        let body = bodies.remove(0);
        let environment = system.stack.function_environment("recording-downloader");
        let function = RecordingDownloader::new(environment.unwrap()).unwrap();
        (Self { function, body }, recording)
    }

    /// Delivers the message, as one that SQS calls `message_id`, to a function that has so much time.
    pub async fn deliver(&self, message_id: &str, time: Duration) -> Ended {
        let (ended, _) = self.deliver_until(message_id, time, usize::MAX).await;
        ended
    }

    /// As [`Self::deliver`], for the last time before SQS gives the message up.
    pub async fn deliver_last(&self, message_id: &str, time: Duration) -> Ended {
        let (ended, _) = self.run(message_id, "8", time, usize::MAX).await;
        ended
    }

    /// As [`Self::deliver`], but the function is cut off when it waits for the `moments`-th time. Gives how
    /// often it had waited, too.
    pub async fn deliver_until(
        &self,
        message_id: &str,
        time: Duration,
        moments: usize,
    ) -> (Ended, usize) {
        self.run(message_id, "1", time, moments).await
    }

    async fn run(
        &self,
        message_id: &str,
        receive_count: &str,
        time: Duration,
        moments: usize,
    ) -> (Ended, usize) {
        let event: SqsEvent = serde_json::from_value(json!({"Records": [{
            "messageId": message_id,
            "body": self.body,
            "attributes": {"ApproximateReceiveCount": receive_count},
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "awsRegion": "us-east-1",
        }]}))
        .unwrap();
        let mut working = pin!(self.function.handle(event, Instant::now() + time));
        let mut waited = 0;
        let ended: Option<SqsBatchResponse> = poll_fn(|cx| {
            if waited == moments {
                return Poll::Ready(None);
            }
            waited += 1;
            working.as_mut().poll(cx).map(Some)
        })
        .await;
        let ended = match ended {
            None => Ended::Killed,
            Some(answer) if answer.batch_item_failures.is_empty() => Ended::Done,
            Some(_) => Ended::Again,
        };
        (ended, waited)
    }
}
