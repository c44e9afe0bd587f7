//! Messages that outlive a restart: a log of those sent and those gone.
//!
//! rustack keeps messages in the memory of its queues and exports none. So what goes through the front is
//! written down: each message when it is sent, its end when it is deleted. At the next start those without
//! an end are sent again, in order. They come back visible and as if never received, which "at least once"
//! allows. A message that the engine moved to a dead letter queue is known to be there once it was received
//! from it; before that it comes back in its first queue.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A log with fewer lines about messages that are gone is not worth rewriting.
const COMPACT_AFTER: usize = 10_000;

pub(super) struct MessageLog {
    path: PathBuf,
    file: File,
    /// In the order in which they were sent.
    live: BTreeMap<u64, Message>,
    by_id: HashMap<String, u64>,
    by_receipt: HashMap<String, u64>,
    next: u64,
    /// Lines in the file that say nothing of a live message.
    waste: usize,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) queue: String,
    /// The fields of `SendMessage` but for `QueueUrl`.
    pub(super) call: Map<String, Value>,
    #[serde(skip)]
    receipts: Vec<String>,
}

#[derive(Serialize, Deserialize)]
enum Line {
    Sent { number: u64, message: Message },
    Moved { number: u64, queue: String },
    Gone { number: u64 },
}

impl MessageLog {
    /// Opens the log and returns the messages that are to be sent again.
    pub(super) fn open(path: PathBuf) -> io::Result<(Self, Vec<Message>)> {
        let mut live = BTreeMap::new();
        match File::open(&path) {
            Ok(file) => {
                let mut reader = BufReader::new(file);
                let mut line = String::new();
                // Half a line is of a process that died while it wrote; its client had no answer.
                while reader.read_line(&mut line)? > 0 && line.ends_with('\n') {
                    match serde_json::from_str(&line)? {
                        Line::Sent { number, message } => {
                            live.insert(number, message);
                        }
                        Line::Moved { number, queue } => {
                            if let Some(message) = live.get_mut(&number) {
                                message.queue = queue;
                            }
                        }
                        Line::Gone { number } => {
                            live.remove(&number);
                        }
                    }
                    line.clear();
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let unsent = live.values().cloned().collect();
        let next = live.last_key_value().map_or(0, |(last, _)| last + 1);
        let file = write_all(&path, &live)?;
        let log = Self {
            path,
            file,
            live,
            by_id: HashMap::new(),
            by_receipt: HashMap::new(),
            next,
            waste: 0,
        };
        Ok((log, unsent))
    }

    /// Takes note of the ids that the messages from [`open`](Self::open) have now; those without one could
    /// not be sent and are gone.
    pub(super) fn resent(&mut self, ids: Vec<Option<String>>) -> io::Result<()> {
        let numbers: Vec<u64> = self.live.keys().copied().collect();
        for (number, id) in numbers.into_iter().zip(ids) {
            match id {
                Some(id) => {
                    self.by_id.insert(id, number);
                }
                None => self.gone(number)?,
            }
        }
        Ok(())
    }

    /// Notes what a call that succeeded has changed. `queue` is the name in its `QueueUrl`.
    pub(super) fn observe(
        &mut self,
        operation: &str,
        queue: &str,
        call: &Value,
        answer: &Value,
    ) -> io::Result<()> {
        match operation {
            "SendMessage" => self.sent(queue, call, answer),
            "SendMessageBatch" => {
                for (entry, result) in successful(call, answer) {
                    self.sent(queue, entry, result)?;
                }
                Ok(())
            }
            "ReceiveMessage" => {
                for message in array(answer, "Messages") {
                    self.received(queue, message)?;
                }
                Ok(())
            }
            "DeleteMessage" => self.deleted(call),
            "DeleteMessageBatch" => {
                for (entry, _) in successful(call, answer) {
                    self.deleted(entry)?;
                }
                Ok(())
            }
            "PurgeQueue" | "DeleteQueue" => {
                let here = self
                    .live
                    .iter()
                    .filter(|(_, message)| message.queue == queue);
                let numbers: Vec<u64> = here.map(|(number, _)| *number).collect();
                numbers.into_iter().try_for_each(|number| self.gone(number))
            }
            _ => Ok(()),
        }
    }

    fn sent(&mut self, queue: &str, call: &Value, answer: &Value) -> io::Result<()> {
        let (Some(call), Some(id)) = (call.as_object(), text(answer, "MessageId")) else {
            return Ok(());
        };
        // A FIFO queue answers a double with the id of the first.
        if self.by_id.contains_key(id) {
            return Ok(());
        }
        let mut call = call.clone();
        call.remove("QueueUrl");
        call.remove("Id");
        let message = Message {
            queue: queue.to_owned(),
            call,
            receipts: Vec::new(),
        };
        let number = self.next;
        self.next += 1;
        self.append(&Line::Sent {
            number,
            message: message.clone(),
        })?;
        self.by_id.insert(id.to_owned(), number);
        self.live.insert(number, message);
        Ok(())
    }

    fn received(&mut self, queue: &str, message: &Value) -> io::Result<()> {
        let id = text(message, "MessageId").unwrap_or_default();
        let (Some(&number), Some(receipt)) = (self.by_id.get(id), text(message, "ReceiptHandle"))
        else {
            return Ok(());
        };
        let Some(known) = self.live.get_mut(&number) else {
            return Ok(());
        };
        known.receipts.push(receipt.to_owned());
        self.by_receipt.insert(receipt.to_owned(), number);
        if known.queue != queue {
            known.queue = queue.to_owned();
            let queue = queue.to_owned();
            self.waste += 1;
            self.append(&Line::Moved { number, queue })?;
        }
        Ok(())
    }

    fn deleted(&mut self, call: &Value) -> io::Result<()> {
        let receipt = text(call, "ReceiptHandle").unwrap_or_default();
        match self.by_receipt.get(receipt) {
            Some(&number) => self.gone(number),
            None => Ok(()),
        }
    }

    fn gone(&mut self, number: u64) -> io::Result<()> {
        let Some(message) = self.live.remove(&number) else {
            return Ok(());
        };
        for receipt in message.receipts {
            self.by_receipt.remove(&receipt);
        }
        self.waste += 2;
        if self.waste > COMPACT_AFTER && self.waste > 2 * self.live.len() {
            self.by_id
                .retain(|_, number| self.live.contains_key(number));
            self.file = write_all(&self.path, &self.live)?;
            self.waste = 0;
            return Ok(());
        }
        self.append(&Line::Gone { number })
    }

    fn append(&mut self, line: &Line) -> io::Result<()> {
        self.file.write_all(&to_line(line)?)
    }
}

fn to_line(line: &Line) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Writes a log of these messages alone in place of the old one, and opens it for more.
fn write_all(path: &PathBuf, live: &BTreeMap<u64, Message>) -> io::Result<File> {
    let mut bytes = Vec::new();
    for (number, message) in live {
        bytes.extend(to_line(&Line::Sent {
            number: *number,
            message: message.clone(),
        })?);
    }
    let mut unfinished = path.clone().into_os_string();
    unfinished.push(".new");
    fs::write(&unfinished, bytes)?;
    fs::rename(&unfinished, path)?;
    OpenOptions::new().append(true).open(path)
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str()
}

fn array<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(field)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// The entries of a batch that succeeded, each with its result.
fn successful<'a>(
    call: &'a Value,
    answer: &'a Value,
) -> impl Iterator<Item = (&'a Value, &'a Value)> {
    array(call, "Entries").filter_map(move |entry| {
        let id = text(entry, "Id");
        let result = array(answer, "Successful").find(|result| text(result, "Id") == id)?;
        Some((entry, result))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bodies(messages: &[Message]) -> Vec<(&str, &str)> {
        let body = |message: &Message| message.call["MessageBody"].as_str().unwrap().to_owned();
        messages
            .iter()
            .map(|m| (m.queue.as_str(), &*body(m).leak()))
            .collect()
    }

    fn send(log: &mut MessageLog, id: &str) {
        let call = json!({"QueueUrl": "http://h/0/q", "MessageBody": id});
        log.observe("SendMessage", "q", &call, &json!({"MessageId": id}))
            .unwrap();
    }

    #[test]
    fn what_is_not_deleted_is_sent_again_where_it_was_last_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("messages");
        let (mut log, unsent) = MessageLog::open(path.clone()).unwrap();
        assert!(unsent.is_empty());
        for id in ["1", "2", "3"] {
            send(&mut log, id);
        }
        let received =
            |id: &str| json!({"Messages": [{"MessageId": id, "ReceiptHandle": format!("r{id}")}]});
        log.observe("ReceiveMessage", "q", &json!({}), &received("2"))
            .unwrap();
        log.observe(
            "DeleteMessage",
            "q",
            &json!({"ReceiptHandle": "r2"}),
            &Value::Null,
        )
        .unwrap();
        log.observe("ReceiveMessage", "dead", &json!({}), &received("1"))
            .unwrap();
        drop(log);

        let (mut log, unsent) = MessageLog::open(path.clone()).unwrap();
        assert_eq!(bodies(&unsent), [("dead", "1"), ("q", "3")]);
        log.resent(vec![Some("new".to_owned()), None]).unwrap();
        log.observe("ReceiveMessage", "dead", &json!({}), &received("new"))
            .unwrap();
        let batch = json!({"Entries": [{"Id": "a", "ReceiptHandle": "rnew"}]});
        let done = json!({"Successful": [{"Id": "a"}]});
        log.observe("DeleteMessageBatch", "dead", &batch, &done)
            .unwrap();
        drop(log);
        assert!(MessageLog::open(path).unwrap().1.is_empty());
    }

    #[test]
    fn a_long_log_is_rewritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("messages");
        let (mut log, _) = MessageLog::open(path.clone()).unwrap();
        send(&mut log, "kept");
        for number in 0..COMPACT_AFTER {
            let id = number.to_string();
            send(&mut log, &id);
            let received = json!({"Messages": [{"MessageId": id, "ReceiptHandle": id}]});
            log.observe("ReceiveMessage", "q", &json!({}), &received)
                .unwrap();
            log.observe(
                "DeleteMessage",
                "q",
                &json!({"ReceiptHandle": id}),
                &Value::Null,
            )
            .unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() < 2 * COMPACT_AFTER);
        assert_eq!(bodies(&MessageLog::open(path).unwrap().1), [("q", "kept")]);
    }
}
