//! The document, and the schemas that it contains.

use std::collections::BTreeMap;

use reelay_devstack::openapi;
use serde_json::{Value, json};
use support::app::ApiResponse;

use super::schema;

pub(super) const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The document.
pub(super) struct Document {
    pub(super) json: Value,
}

/// A route: method in upper case, and path.
pub(super) type Operation = (String, String);

impl Document {
    pub(super) fn load() -> Self {
        Self { json: openapi::document().unwrap() }
    }

    /// All routes.
    pub(super) fn operations(&self) -> Vec<Operation> {
        let paths = self.json["paths"].as_object().unwrap();
        let operations = paths.iter().flat_map(|(path, item)| {
            let methods = METHODS.iter().filter(|method| item.get(**method).is_some());
            methods.map(|method| (method.to_uppercase(), path.clone()))
        });
        operations.collect()
    }

    /// The statuses of a route.
    pub(super) fn statuses(&self, (method, path): &Operation) -> Vec<u16> {
        let operation = &self.json["paths"][path][method.to_lowercase()];
        let statuses = operation["responses"].as_object().unwrap().keys();
        statuses.map(|status| status.parse().unwrap()).collect()
    }

    /// Follows a reference. Returns the pointer of what it refers to.
    fn resolve(&self, pointer: &str) -> String {
        match self.json.pointer(pointer).and_then(|value| value["$ref"].as_str()) {
            Some(reference) => self.resolve(reference.strip_prefix('#').unwrap()),
            None => pointer.to_owned(),
        }
    }

    /// The pointers of all bodies with a content type: requests, responses and notifications.
    pub(super) fn bodies(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut unseen = vec![(String::new(), &self.json)];
        while let Some((pointer, value)) = unseen.pop() {
            let Value::Object(fields) = value else { continue };
            if let Some(Value::Object(types)) = fields.get("content") {
                found
                    .extend(types.keys().map(|name| format!("{pointer}/content/{}", escape(name))));
            }
            unseen.extend(
                fields.iter().map(|(name, value)| (format!("{pointer}/{}", escape(name)), value)),
            );
        }
        found
    }

    /// The examples of a body, by name.
    pub(super) fn examples(&self, body: &str) -> BTreeMap<String, Value> {
        let body = self.json.pointer(body).unwrap();
        let named = body["examples"].as_object().into_iter().flatten();
        let named = named.map(|(name, example)| (name.clone(), example["value"].clone()));
        let one = body.get("example").map(|example| (String::new(), example.clone()));
        named.chain(one).collect()
    }

    /// Asserts that a value is as the schema at a pointer says.
    #[track_caller]
    pub(super) fn assert_valid(&self, pointer: &str, value: &Value) {
        let schema = self.json.pointer(pointer).unwrap_or_else(|| panic!("no schema: {pointer}"));
        if let Err(error) = schema::validate(&self.json, schema, value) {
            panic!("{pointer}: {error}\n{value:#}");
        }
    }

    /// Asserts that a response is one that the document lists for the route.
    #[track_caller]
    pub(super) fn assert_response(&self, (method, path): &Operation, response: &ApiResponse) {
        let case = format!("{method} {path}: {response:?}");
        let operation = format!("/paths/{}/{}", escape(path), method.to_lowercase());
        let pointer = self.resolve(&format!("{operation}/responses/{}", response.status));
        let documented = self.json.pointer(&pointer).unwrap_or_else(|| panic!("status of {case}"));
        for (name, header) in documented["headers"].as_object().into_iter().flatten() {
            let sent = response.headers.contains_key(name);
            assert!(sent || header["required"] != true, "{name} of {case}");
        }
        let Some(contents) = documented.get("content") else {
            assert_eq!(response.body, "", "{case}");
            return;
        };
        let media_type = response.content_type.split(';').next().unwrap();
        assert!(contents.get(media_type).is_some(), "content type of {case}");
        let body = match media_type {
            "text/html" => json!(response.body),
            _ => response.json(),
        };
        self.assert_valid(&format!("{pointer}/content/{}/schema", escape(media_type)), &body);
    }

    /// Asserts that a delivered notification is as the document says of its type.
    #[track_caller]
    pub(super) fn assert_notification(&self, notification: &Value) {
        let name = notification["type"].as_str().unwrap();
        let pointer = format!("/webhooks/{name}/post/requestBody/content/application~1json/schema");
        self.assert_valid(&pointer, notification);
    }
}

/// Escapes a segment of a JSON pointer (RFC 6901).
pub(super) fn escape(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}
