//! DynamoDB's request units, which are what DynamoDB bills.
//!
//! The engine works them out by DynamoDB's rules, indexes and transactions included, but only for whoever asks
//! with the request; the functions do not ask. While something is metered, the front asks in their name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::{Map, Value};

/// The handle by which a test has request units counted. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    units: Arc<Mutex<Option<Units>>>,
}

/// Request units since [`Meter::begin`], of both tables and indexes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Units {
    /// Read request units.
    pub read: f64,
    /// Write request units. A conditional write that is refused counts as one; DynamoDB bills it by the size of
    /// the item that it met.
    pub written: f64,
    /// Of those written, what went to each index, as `Table/index`.
    pub by_index: BTreeMap<String, f64>,
}

impl Meter {
    /// Counts from zero from here on.
    pub fn begin(&self) {
        *self.lock() = Some(Units::default());
    }

    /// What was counted since.
    #[must_use]
    pub fn units(&self) -> Units {
        self.lock().clone().unwrap_or_default()
    }

    /// The request with the question for its units, if they are counted.
    pub(crate) fn ask(&self, operation: &str, body: Bytes) -> Bytes {
        if self.lock().is_none() || kind(operation).is_none() {
            return body;
        }
        let Ok(mut request) = serde_json::from_slice::<Map<String, Value>>(&body) else {
            return body;
        };
        request.insert("ReturnConsumedCapacity".to_owned(), "INDEXES".into());
        serde_json::to_vec(&request).map_or(body, Bytes::from)
    }

    /// Counts what an answer says.
    pub(crate) fn note(&self, operation: &str, succeeded: bool, answer: &[u8]) {
        let mut state = self.lock();
        let (Some(kind), Some(units)) = (kind(operation), state.as_mut()) else {
            return;
        };
        if !succeeded {
            units.written += f64::from(u8::from(kind == Kind::Write));
            return;
        }
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        let consumed = match &answer["ConsumedCapacity"] {
            Value::Array(tables) => tables.as_slice(),
            one => std::slice::from_ref(one),
        };
        for table in consumed {
            let total = table["CapacityUnits"].as_f64().unwrap_or_default();
            match kind {
                Kind::Read => units.read += total,
                Kind::Write => {
                    units.written += total;
                    units.note_indexes(table);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Units>> {
        // Sums of numbers: no update of them spans two statements that can panic.
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Units {
    fn note_indexes(&mut self, table: &Value) {
        let name = table["TableName"].as_str().unwrap_or_default();
        let indexes = table["GlobalSecondaryIndexes"].as_object();
        for (index, consumed) in indexes.into_iter().flatten() {
            *self.by_index.entry(format!("{name}/{index}")).or_default() +=
                consumed["CapacityUnits"].as_f64().unwrap_or_default();
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
}

/// What an operation bills; `None` for those that bill nothing.
fn kind(operation: &str) -> Option<Kind> {
    match operation {
        "GetItem" | "BatchGetItem" | "Query" | "Scan" | "TransactGetItems" => Some(Kind::Read),
        "PutItem" | "UpdateItem" | "DeleteItem" | "BatchWriteItem" | "TransactWriteItems" => {
            Some(Kind::Write)
        }
        _ => None,
    }
}
