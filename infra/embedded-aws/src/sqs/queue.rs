//! One queue. All times are those of the clock, so messages appear and expire when it is advanced.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    attributes::Attributes,
    error::SqsError,
    message::{Message, Receipt, Selection, later},
};

pub(super) struct Queue {
    pub(super) attributes: Attributes,
    created_at: Timestamp,
    modified_at: Timestamp,
    /// By number, in the order in which they were added.
    messages: BTreeMap<u64, Message>,
    last_number: u64,
}

/// Numbers of messages.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lengths {
    pub(super) visible: usize,
    in_flight: usize,
    delayed: usize,
}

impl Queue {
    pub(super) fn new(attributes: Attributes, now: Timestamp) -> Self {
        Self {
            attributes,
            created_at: now,
            modified_at: now,
            messages: BTreeMap::new(),
            last_number: 0,
        }
    }

    pub(super) fn set(
        &mut self,
        changes: &BTreeMap<String, String>,
        now: Timestamp,
    ) -> Result<(), SqsError> {
        let mut texts = self.attributes.texts.clone();
        texts.extend(changes.clone());
        self.attributes = Attributes::parse(&texts)?;
        self.modified_at = now;
        Ok(())
    }

    /// The attributes with these names.
    pub(super) fn described(
        &mut self,
        arn: &str,
        names: &[String],
        now: Timestamp,
    ) -> Result<BTreeMap<String, String>, SqsError> {
        let lengths = self.lengths(now);
        let mut all = self.attributes.texts.clone();
        let seconds = |at: Timestamp| at.as_second().to_string();
        all.extend(
            [
                ("QueueArn", arn.to_owned()),
                ("CreatedTimestamp", seconds(self.created_at)),
                ("LastModifiedTimestamp", seconds(self.modified_at)),
                ("ApproximateNumberOfMessages", lengths.visible.to_string()),
                ("ApproximateNumberOfMessagesNotVisible", lengths.in_flight.to_string()),
                ("ApproximateNumberOfMessagesDelayed", lengths.delayed.to_string()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        if !names.iter().any(|name| name == "All") {
            all.retain(|name, _| names.contains(name));
        }
        Ok(all)
    }

    pub(super) fn lengths(&mut self, now: Timestamp) -> Lengths {
        self.expire(now);
        let mut lengths = Lengths::default();
        for message in self.messages.values() {
            match (message.visible_at > now, &message.receipt) {
                (false, _) => lengths.visible += 1,
                (true, Some(_)) => lengths.in_flight += 1,
                (true, None) => lengths.delayed += 1,
            }
        }
        lengths
    }

    /// The first time after now at which a hidden or delayed message becomes visible.
    pub(super) fn next_visible_at(&self, now: Timestamp) -> Option<Timestamp> {
        let hidden = self.messages.values().map(|message| message.visible_at);
        hidden.filter(|visible_at| *visible_at > now).min()
    }

    pub(super) fn postpone(&mut self, by: SignedDuration) {
        for message in self.messages.values_mut() {
            message.sent_at = later(message.sent_at, by);
            message.visible_at = later(message.visible_at, by);
        }
    }

    /// Ends the delays of messages that were never received. Returns their number.
    pub(super) fn end_delays(&mut self, now: Timestamp) -> usize {
        let messages = self.messages.values_mut();
        let delayed = messages.filter(|it| it.receive_count == 0 && it.visible_at > now);
        delayed.map(|message| message.visible_at = now).count()
    }

    pub(super) fn purge(&mut self) {
        self.messages.clear();
    }

    pub(super) fn send(
        &mut self,
        mut message: Message,
        delay_seconds: Option<u32>,
    ) -> Result<(), SqsError> {
        if message.size() > self.attributes.max_message_size as usize {
            return Err(SqsError::invalid(format!(
                "the message is longer than {} bytes",
                self.attributes.max_message_size
            )));
        }
        let delay = delay_seconds.unwrap_or(self.attributes.delay_seconds);
        message.visible_at = later(message.sent_at, SignedDuration::from_secs(delay.into()));
        self.add(message);
        Ok(())
    }

    /// Adds a message of another queue whose dead-letter queue this is. It keeps the time at which it was sent.
    pub(super) fn add_dead(&mut self, mut message: Message, source_arn: &str, now: Timestamp) {
        message.receipt = None;
        message.visible_at = now;
        message.source_arn = Some(source_arn.to_owned());
        self.add(message);
    }

    fn add(&mut self, message: Message) {
        self.last_number += 1;
        self.messages.insert(self.last_number, message);
    }

    /// Removes the visible messages that were received as often as the redrive policy allows.
    pub(super) fn take_dead(&mut self, max_receives: u32, now: Timestamp) -> Vec<Message> {
        self.expire(now);
        let is_dead =
            |message: &Message| message.visible_at <= now && message.receive_count >= max_receives;
        self.messages.extract_if(.., |_, message| is_dead(message)).map(|(_, it)| it).collect()
    }

    pub(super) fn receive(
        &mut self,
        limit: usize,
        visibility_seconds: Option<u32>,
        selection: &Selection,
        now: Timestamp,
    ) -> Vec<Value> {
        self.expire(now);
        let seconds = visibility_seconds.unwrap_or(self.attributes.visibility_seconds);
        let hidden_for = SignedDuration::from_secs(seconds.into());
        let messages = self.messages.iter_mut().filter(|(_, message)| message.visible_at <= now);
        let received = messages.take(limit).map(|(number, message)| {
            message.receive(*number, hidden_for, now);
            message.shown(selection)
        });
        received.collect()
    }

    /// Deletes the message of this receipt. Succeeds if it is gone, or was received again since.
    pub(super) fn delete(&mut self, receipt: &Receipt) {
        let message = self.messages.get(&receipt.number);
        if message.is_some_and(|message| message.receipt.as_ref() == Some(receipt)) {
            self.messages.remove(&receipt.number);
        }
    }

    pub(super) fn change_visibility(
        &mut self,
        receipt: &Receipt,
        seconds: u32,
        now: Timestamp,
    ) -> Result<(), SqsError> {
        self.expire(now);
        let message = self.messages.get_mut(&receipt.number);
        let message = message.filter(|message| receipt.is_of(message)).ok_or_else(|| {
            SqsError::invalid(
                "the message does not exist or is not available for visibility timeout change",
            )
        })?;
        if message.visible_at <= now || message.receipt.as_ref() != Some(receipt) {
            return Err(SqsError::client("MessageNotInflight", "the message is not in flight"));
        }
        message.visible_at = later(now, SignedDuration::from_secs(seconds.into()));
        Ok(())
    }

    /// Removes messages older than the retention period.
    fn expire(&mut self, now: Timestamp) {
        let retention = self.attributes.retention;
        self.messages.retain(|_, message| later(message.sent_at, retention) > now);
    }
}
