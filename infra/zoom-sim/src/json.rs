//! JSON objects that keep the order of their keys.
//!
//! Zoom's bodies have a fixed key order. A receiver that serializes a body again before it verifies the
//! signature must fail here as it fails with Zoom.

use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// A JSON object.
#[derive(Debug, Default)]
pub(crate) struct Object(Vec<(&'static str, Box<RawValue>)>);

impl Object {
    /// Appends a field; a `null` is left out.
    pub(crate) fn put(mut self, key: &'static str, value: impl Serialize) -> Self {
        // Strings, numbers, lists and objects always serialize.
        let value = to_raw_value(&value).unwrap_or_default();
        if value.get() != "null" {
            self.0.push((key, value));
        }
        self
    }

    /// Removes fields.
    pub(crate) fn without(mut self, keys: &[String]) -> Self {
        self.0.retain(|(key, _)| !keys.iter().any(|omit| omit == key));
        self
    }

    /// Appends the fields of another object.
    pub(crate) fn followed_by(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// Makes an [`Object`]; fields that are `None` are left out.
macro_rules! object {
    ($($key:literal: $value:expr),* $(,)?) => {
        $crate::json::Object::default()$(.put($key, &$value))*
    };
}
pub(crate) use object;
