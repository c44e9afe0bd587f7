//! DynamoDB capacity units, the unit of DynamoDB's bill.
//!
//! The engine computes them by DynamoDB's rules, indexes and transactions included, but only for requests
//! with `ReturnConsumedCapacity`. The meter adds that parameter while it counts.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Map, Value};

/// Handle that counts capacity units. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct CapacityMeter {
    consumed: Arc<Mutex<Option<ConsumedCapacity>>>,
}

/// Capacity units since [`CapacityMeter::start`], of tables and indexes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConsumedCapacity {
    /// Read request units.
    pub read: f64,
    /// Write request units. A failed conditional write counts as one; DynamoDB bills it by the size of the
    /// existing item.
    pub written: f64,
    /// Write request units of each index, by `Table/index`. They are part of `written`.
    pub by_index: BTreeMap<String, f64>,
}

impl CapacityMeter {
    /// Starts to count from zero.
    pub fn start(&self) {
        *self.consumed.lock() = Some(ConsumedCapacity::default());
    }

    /// Units consumed since the start.
    #[must_use]
    pub fn consumed(&self) -> ConsumedCapacity {
        self.consumed.lock().clone().unwrap_or_default()
    }

    /// Adds `ReturnConsumedCapacity` to the request while the meter counts.
    pub(crate) fn prepare(&self, operation: &str, body: Bytes) -> Bytes {
        if self.consumed.lock().is_none() || kind(operation).is_none() {
            return body;
        }
        let Ok(mut request) = serde_json::from_slice::<Map<String, Value>>(&body) else {
            return body;
        };
        request.insert("ReturnConsumedCapacity".to_owned(), "INDEXES".into());
        serde_json::to_vec(&request).map_or(body, Bytes::from)
    }

    /// Counts the units in a response.
    pub(crate) fn record(&self, operation: &str, is_success: bool, response: &[u8]) {
        let mut consumed = self.consumed.lock();
        let (Some(kind), Some(consumed)) = (kind(operation), consumed.as_mut()) else {
            return;
        };
        if !is_success {
            consumed.written += f64::from(u8::from(kind == Kind::Write));
            return;
        }
        let response: Value = serde_json::from_slice(response).unwrap_or_default();
        let tables = match &response["ConsumedCapacity"] {
            Value::Array(tables) => tables.as_slice(),
            table => std::slice::from_ref(table),
        };
        for table in tables {
            let units = table["CapacityUnits"].as_f64().unwrap_or_default();
            match kind {
                Kind::Read => consumed.read += units,
                Kind::Write => {
                    consumed.written += units;
                    consumed.record_indexes(table);
                }
            }
        }
    }
}

impl ConsumedCapacity {
    fn record_indexes(&mut self, table: &Value) {
        let name = table["TableName"].as_str().unwrap_or_default();
        let indexes = table["GlobalSecondaryIndexes"].as_object();
        for (index, consumed) in indexes.into_iter().flatten() {
            let units = consumed["CapacityUnits"].as_f64().unwrap_or_default();
            *self.by_index.entry(format!("{name}/{index}")).or_default() += units;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
}

/// The kind of units that an operation consumes; `None` if it consumes none.
fn kind(operation: &str) -> Option<Kind> {
    match operation {
        "GetItem" | "BatchGetItem" | "Query" | "Scan" | "TransactGetItems" => Some(Kind::Read),
        "PutItem" | "UpdateItem" | "DeleteItem" | "BatchWriteItem" | "TransactWriteItems" => {
            Some(Kind::Write)
        }
        _ => None,
    }
}
