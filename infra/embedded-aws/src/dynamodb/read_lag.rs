//! Eventually consistent reads.
//!
//! DynamoDB acknowledges a write before it updates the global secondary indexes, and a read without
//! `ConsistentRead` may reach a replica that has not received it. While the lag is on, a second database follows
//! the tables: it receives each written item some calls later, and responds to the reads that lag. Changes of one
//! item keep their order, as at DynamoDB.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use dynoxide::{
    Database, ImportOptions, Item,
    actions::{
        delete_item::DeleteItemRequest, get_item::GetItemRequest, query::QueryRequest,
        scan::ScanRequest,
    },
};
use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::error::ReadLagError;

/// Reads that lag behind the writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaggingReads {
    /// Reads of global secondary indexes.
    Indexes,
    /// Reads of indexes, and `GetItem`, `Query` and `Scan` without `ConsistentRead`.
    All,
}

/// Handle that makes eventually consistent reads lag behind the writes. Clones share one state.
#[derive(Clone)]
pub struct ReadLag {
    tables: Database,
    follower: Arc<Mutex<Option<Follower>>>,
}

impl std::fmt::Debug for ReadLag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadLag").finish_non_exhaustive()
    }
}

type Error = Box<dyn std::error::Error>;

impl ReadLag {
    pub(crate) fn new(tables: Database) -> Self {
        Self { tables, follower: Arc::default() }
    }

    /// Starts or restarts the lag: each write becomes visible to `reads` after 0 to `max_calls` further calls to
    /// DynamoDB, a number drawn from `seed`.
    ///
    /// # Errors
    /// [`ReadLagError`] if the database fails.
    pub fn start(
        &self,
        reads: LaggingReads,
        seed: u64,
        max_calls: u64,
    ) -> Result<(), ReadLagError> {
        let mut follower = self.follower.lock();
        let copy = match follower.take() {
            Some(mut running) => {
                running.apply_until(u64::MAX);
                running.copy
            }
            None => Replica::of(&self.tables).map_err(|error| ReadLagError(error.to_string()))?,
        };
        *follower = Some(Follower {
            copy,
            reads,
            rng: fastrand::Rng::with_seed(seed),
            max_calls,
            calls: 0,
            pending: BTreeMap::new(),
            due: HashMap::new(),
        });
        Ok(())
    }

    /// Makes all writes visible, as time does at AWS.
    pub fn settle(&self) {
        if let Some(follower) = self.follower.lock().as_mut() {
            follower.apply_until(u64::MAX);
        }
    }

    /// Ends the lag.
    pub fn stop(&self) {
        *self.follower.lock() = None;
    }

    /// Counts a call. Returns the response if it is a read that lags; errors are left to the engine.
    pub(crate) fn read(&self, operation: &str, request: &[u8]) -> Option<String> {
        let mut follower = self.follower.lock();
        let follower = follower.as_mut()?;
        follower.calls += 1;
        follower.apply_until(follower.calls);
        follower.read(operation, request)
    }

    /// Receives a call that succeeded.
    pub(crate) fn observe(&self, operation: &str, request: &[u8]) {
        let mut follower = self.follower.lock();
        let Some(follower) = follower.as_mut() else {
            return;
        };
        if let Err(error) = follower.observe(&self.tables, operation, request) {
            tracing::error!(%error, operation, "write not followed");
        }
    }

    /// Copies the tables again, after a change that was no call.
    pub(crate) fn copy_again(&self) -> Result<(), String> {
        let mut follower = self.follower.lock();
        if let Some(follower) = follower.as_mut() {
            follower.copy = Replica::of(&self.tables).map_err(|error| error.to_string())?;
            follower.pending.clear();
        }
        Ok(())
    }
}

struct Follower {
    copy: Replica,
    reads: LaggingReads,
    rng: fastrand::Rng,
    max_calls: u64,
    calls: u64,
    /// Changes by the call that makes them visible; those of one call in order.
    pending: BTreeMap<u64, Vec<Change>>,
    /// The call of the last change of each item, by [`Change::id`].
    due: HashMap<String, u64>,
}

/// The state of an item after a write; `None` if it was deleted.
struct Change {
    table: String,
    key: Item,
    item: Option<Item>,
}

impl Change {
    fn id(&self) -> String {
        let key: BTreeMap<_, _> = self.key.iter().collect();
        json!([self.table, key]).to_string()
    }
}

impl Follower {
    fn read(&self, operation: &str, request: &[u8]) -> Option<String> {
        let lags = |index: Option<&String>, is_consistent: Option<bool>| match self.reads {
            LaggingReads::Indexes => index.is_some(),
            LaggingReads::All => index.is_some() || is_consistent != Some(true),
        };
        let database = &self.copy.database;
        match operation {
            "Query" => {
                let request: QueryRequest = parse(request)?;
                let lags = lags(request.index_name.as_ref(), request.consistent_read);
                if lags { respond(database.query(request)) } else { None }
            }
            "Scan" => {
                let request: ScanRequest = parse(request)?;
                let lags = lags(request.index_name.as_ref(), request.consistent_read);
                if lags { respond(database.scan(request)) } else { None }
            }
            "GetItem" => {
                let request: GetItemRequest = parse(request)?;
                let lags = lags(None, request.consistent_read);
                if lags { respond(database.get_item(request)) } else { None }
            }
            _ => None,
        }
    }

    fn observe(&mut self, tables: &Database, operation: &str, request: &[u8]) -> Result<(), Error> {
        let request: Value = serde_json::from_slice(request)?;
        let table = |request: &Value| request["TableName"].as_str().unwrap_or_default().to_owned();
        match operation {
            "CreateTable" => self.copy.create(tables, &table(&request))?,
            "DeleteTable" => {
                let request = serde_json::from_value(request)?;
                self.copy.database.delete_table(request)?;
            }
            "PutItem" | "UpdateItem" | "DeleteItem" => {
                self.follow(tables, table(&request), &request)?;
            }
            "TransactWriteItems" => {
                let actions = request["TransactItems"].as_array();
                let actions = actions.into_iter().flatten().filter_map(Value::as_object);
                for action in actions.flat_map(|action| action.values()) {
                    self.follow(tables, table(action), action)?;
                }
            }
            "BatchWriteItem" => {
                let requests = request["RequestItems"].as_object();
                for (table, writes) in requests.into_iter().flatten() {
                    let writes = writes.as_array().into_iter().flatten();
                    let writes = writes.filter_map(Value::as_object);
                    for write in writes.flat_map(|write| write.values()) {
                        self.follow(tables, table.clone(), write)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads the item that a write concerns, and makes it visible some calls later.
    fn follow(&mut self, tables: &Database, table: String, write: &Value) -> Result<(), Error> {
        let key_or_item = write.get("Key").or_else(|| write.get("Item"));
        let mut key: Item = serde_json::from_value(key_or_item.cloned().unwrap_or_default())?;
        let names = self.copy.key_names.get(&table).ok_or("unknown table")?;
        key.retain(|name, _| names.contains(name));
        let request = GetItemRequest {
            table_name: table.clone(),
            key: key.clone(),
            consistent_read: Some(true),
            ..GetItemRequest::default()
        };
        let item = tables.get_item(request)?.item;
        let change = Change { table, key, item };
        let drawn = self.rng.u64(0..=self.max_calls);
        let drawn = self.calls.saturating_add(drawn);
        let due = self.due.entry(change.id()).or_default();
        *due = drawn.max(*due);
        self.pending.entry(*due).or_default().push(change);
        Ok(())
    }

    /// Makes the changes visible that are due by the end of a call.
    fn apply_until(&mut self, call: u64) {
        let later = match call.checked_add(1) {
            Some(next) => self.pending.split_off(&next),
            None => BTreeMap::new(),
        };
        let due = std::mem::replace(&mut self.pending, later);
        for change in due.into_values().flatten() {
            if let Err(error) = self.copy.apply(change) {
                tracing::error!(%error, "write not followed");
            }
        }
    }
}

/// A copy of all tables.
struct Replica {
    database: Database,
    /// Names of the key attributes by table.
    key_names: HashMap<String, Vec<String>>,
}

impl Replica {
    fn of(tables: &Database) -> Result<Self, Error> {
        let mut copy = Self { database: Database::memory()?, key_names: HashMap::new() };
        for table in tables.list_tables(serde_json::from_value(json!({}))?)?.table_names {
            copy.create(tables, &table)?;
            let items = items_of(tables, &table)?;
            copy.database.import_items(&table, items, ImportOptions::default())?;
        }
        Ok(copy)
    }

    /// Creates a table as it is in `tables`, with its indexes and without its items.
    fn create(&mut self, tables: &Database, table: &str) -> Result<(), Error> {
        let request = serde_json::from_value(json!({ "TableName": table }))?;
        let described = serde_json::to_value(tables.describe_table(request)?.table)?;
        let mut new = json!({ "TableName": table, "BillingMode": "PAY_PER_REQUEST" });
        for part in ["KeySchema", "AttributeDefinitions"] {
            new[part] = described[part].clone();
        }
        for part in ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"] {
            let indexes = described[part].as_array();
            let indexes = indexes.into_iter().flatten().map(|index| {
                let [name, keys, projection] =
                    ["IndexName", "KeySchema", "Projection"].map(|part| &index[part]);
                json!({ "IndexName": name, "KeySchema": keys, "Projection": projection })
            });
            let indexes: Vec<_> = indexes.collect();
            if !indexes.is_empty() {
                new[part] = indexes.into();
            }
        }
        self.database.create_table(serde_json::from_value(new)?)?;
        let keys = described["KeySchema"].as_array().into_iter().flatten();
        let names = keys.filter_map(|key| key["AttributeName"].as_str());
        self.key_names.insert(table.to_owned(), names.map(str::to_owned).collect());
        Ok(())
    }

    fn apply(&self, Change { table, key, item }: Change) -> Result<(), Error> {
        match item {
            Some(item) => {
                self.database.import_items(&table, vec![item], ImportOptions::default())?;
            }
            None => {
                let request =
                    DeleteItemRequest { table_name: table, key, ..DeleteItemRequest::default() };
                self.database.delete_item(request)?;
            }
        }
        Ok(())
    }
}

/// All items of a table.
pub(super) fn items_of(database: &Database, table: &str) -> dynoxide::Result<Vec<Item>> {
    let (mut found, mut last) = (Vec::new(), None);
    loop {
        let page = database.scan(ScanRequest {
            table_name: table.to_owned(),
            exclusive_start_key: last,
            ..ScanRequest::default()
        })?;
        found.extend(page.items.unwrap_or_default());
        last = page.last_evaluated_key;
        if last.is_none() {
            return Ok(found);
        }
    }
}

fn parse<T: DeserializeOwned>(request: &[u8]) -> Option<T> {
    serde_json::from_slice(request).ok()
}

fn respond<T: Serialize, E>(response: Result<T, E>) -> Option<String> {
    serde_json::to_string(&response.ok()?).ok()
}
