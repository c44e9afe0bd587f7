//! Consumer of the downloads queue: transfers one file per message from Zoom to the bucket.
//!
//! Each message passes through `message` → `lease` → `candidates` → `transfer` → `settle`. A message only names
//! a file, whose state is in the table. A duplicate or late message is therefore harmless: the invocation finds
//! the file leased or finished, and at most publishes its notification again. A transfer that takes longer than
//! one invocation continues with a new message.

mod candidates;
mod consent;
mod context;
mod deferral;
mod disposition;
mod lease;
mod message;
mod object;
mod publish;
mod settle;
pub mod transfer;

use std::time::Instant;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use reelay_runtime::environment::{ConfigError, Environment};
use reelay_runtime::sqs::Consumer;

use crate::context::Context;

/// The `recording-downloader` function.
#[derive(Debug)]
pub struct RecordingDownloader {
    consumer: Consumer,
    context: Context,
}

impl RecordingDownloader {
    /// Reads the configuration and creates the clients, once per instance.
    ///
    /// # Errors
    /// Returns [`ConfigError`] if a variable is missing or invalid.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            consumer: Consumer::new("downloads", environment)?,
            context: Context::new(environment)?,
        })
    }

    /// Processes a batch. The runtime ends the invocation at `deadline`.
    pub async fn handle(&self, batch: SqsEvent, deadline: Instant) -> SqsBatchResponse {
        self.consumer
            .process(batch, |delivery| message::process(&self.context, delivery, deadline))
            .await
    }
}
