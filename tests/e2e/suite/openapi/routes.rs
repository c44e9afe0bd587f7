//! Routes and codes, compared with the source and with a running system.

use std::collections::BTreeSet;

use reelay_devstack::template::Template;
use regex_lite::Regex;
use reqwest::Method;
use serde_json::Value;
use support::System;

use super::document::{Document, METHODS};
use crate::repository::{root, text_below};

fn captures(pattern: &str, text: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).unwrap();
    pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// `/v1/links/{}` for `/v1/links/{link_id}`.
fn without_names(path: &str) -> String {
    Regex::new(r"\{[^}]*\}").unwrap().replace_all(path, "{}").into_owned()
}

#[test]
fn document_lists_every_route() {
    let source = root().join("functions/app-api/src/route.rs");
    let source = std::fs::read_to_string(source).unwrap();
    let patterns = captures(r#"\[("(?:v1|healthz|zoomverify)"[^\]]*)\]"#, &source);
    let mut routes: BTreeSet<String> = patterns
        .iter()
        .map(|pattern| {
            let segment = |segment: &str| match segment.trim().strip_prefix('"') {
                Some(literal) => format!("/{}", literal.trim_end_matches('"')),
                None => "/{}".to_owned(),
            };
            pattern.split(',').map(segment).collect()
        })
        .collect();
    assert!(routes.len() > 9, "the source is not read: {routes:?}");
    let template = Template::of_repository().unwrap();
    for logical in template.binaries().unwrap().keys() {
        let events = template.properties(logical).unwrap()["Events"].clone();
        let events = events.as_object().cloned().unwrap_or_default();
        let paths = events.values().filter_map(|event| event["Properties"]["Path"].as_str());
        routes.extend(paths.filter(|path| !path.starts_with("/v1")).map(str::to_owned));
    }
    let document = Document::load();
    let documented = document.operations().into_iter().map(|(_, path)| without_names(&path));
    assert_eq!(documented.collect::<BTreeSet<_>>(), routes);
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let system = System::start().await;
    let document = Document::load();
    let operations: BTreeSet<_> = document.operations().into_iter().collect();
    let paths: BTreeSet<_> = operations.iter().map(|(_, path)| path).collect();
    for path in paths.into_iter().filter(|path| path.starts_with("/v1")) {
        let own = |method: &str| operations.contains(&(method.to_uppercase(), path.clone()));
        let allowed: BTreeSet<_> = METHODS.into_iter().filter(|method| own(method)).collect();
        for method in METHODS {
            let sent = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let response =
                system.app.call(sent, &without_names(path).replace("{}", "x"), "alice").await;
            if allowed.contains(method)
                || (method, path.as_str()) == ("delete", "/v1/links/confirm")
            {
                assert_ne!(response.status, 405, "{method} {path}");
                continue;
            }
            response.assert_problem(405, "method_not_allowed", path);
            let listed = response.headers["allow"].to_str().unwrap().to_lowercase();
            assert_eq!(listed.split(", ").collect::<BTreeSet<_>>(), allowed, "{method} {path}");
        }
    }
}

#[test]
fn document_lists_every_code() {
    let source = text_below(&root().join("shared/runtime/src/http"), "rs");
    let document = Document::load();
    for (schema, pattern) in [
        (
            "/components/schemas/Problem/properties/code/enum",
            r#"StatusCode::[A-Z_]+,\s*"([a-z_]+)""#,
        ),
        ("/components/schemas/PageCode/enum", r#"Self::[A-Za-z]+ => "([a-z_]+)","#),
    ] {
        let codes = document.json.pointer(schema).unwrap().as_array().unwrap();
        let codes: BTreeSet<_> =
            codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
        assert_eq!(codes, captures(pattern, &source), "{schema}");
    }
}

#[test]
fn every_body_has_a_valid_example() {
    let document = Document::load();
    let bodies = document.bodies();
    assert!(bodies.len() > 25, "the document is not read: {bodies:?}");
    for body in bodies {
        let examples = document.examples(&body);
        assert!(!examples.is_empty(), "{body}");
        for example in examples.values() {
            document.assert_valid(&format!("{body}/schema"), example);
            if let Some(code) = example.get("code").and_then(Value::as_str) {
                assert_eq!(example["type"], format!("urn:reelay:problem:{code}"), "{body}");
            }
        }
    }
}

#[tokio::test]
async fn devstack_serves_the_document() {
    let system = System::start().await;
    let url = format!("{}/openapi.json", system.stack.url());
    let served = reqwest::get(url).await.unwrap();
    assert_eq!(served.headers()["content-type"], "application/json");
    let served: Value = served.json().await.unwrap();
    assert_eq!(served, reelay_devstack::openapi::document().unwrap());
    assert_eq!(served["info"]["version"], env!("CARGO_PKG_VERSION"));
}
