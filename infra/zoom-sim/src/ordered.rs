//! JSON objects that keep the order of their keys.
//!
//! Zoom's bodies have an order, and a receiver that parses and writes them again to check a signature
//! must meet the same trouble here as there.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// An object under construction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Object(Vec<(&'static str, Node)>);

#[derive(Debug, Clone)]
enum Node {
    Value(Value),
    Object(Object),
    List(Vec<Object>),
}

impl Object {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a leaf.
    pub(crate) fn put(mut self, key: &'static str, value: impl Serialize) -> Self {
        // Leaves are strings, numbers and lists of them, which always have a JSON form.
        self.0.push((
            key,
            Node::Value(serde_json::to_value(value).unwrap_or_default()),
        ));
        self
    }

    /// Adds a leaf if there is one.
    pub(crate) fn put_some(self, key: &'static str, value: Option<impl Serialize>) -> Self {
        match value {
            Some(value) => self.put(key, value),
            None => self,
        }
    }

    pub(crate) fn object(mut self, key: &'static str, object: Self) -> Self {
        self.0.push((key, Node::Object(object)));
        self
    }

    pub(crate) fn list(mut self, key: &'static str, list: Vec<Self>) -> Self {
        self.0.push((key, Node::List(list)));
        self
    }

    /// Leaves fields out.
    pub(crate) fn without(mut self, keys: &[String]) -> Self {
        self.0
            .retain(|(key, _)| !keys.iter().any(|left_out| left_out == key));
        self
    }

    pub(crate) fn to_json(&self) -> String {
        // Keys are strings and leaves are values, so writing cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, node) in &self.0 {
            match node {
                Node::Value(value) => map.serialize_entry(key, value)?,
                Node::Object(object) => map.serialize_entry(key, object)?,
                Node::List(list) => map.serialize_entry(key, list)?,
            }
        }
        map.end()
    }
}
