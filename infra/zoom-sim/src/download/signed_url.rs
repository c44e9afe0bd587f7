//! The URL behind the redirect, which is a credential by itself: a policy in the query, and a signature.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::clock::later;
use crate::oauth::{Params, param};
use crate::signature::hmac_bytes;
use crate::sim::Sim;

pub(super) fn make(sim: &Sim, id: &str, name: &str, content_type: &str, seconds: i64) -> String {
    let path = format!("/ssrweb/replay/{id}/{name}");
    let expires = later(sim.clock.now(), seconds).as_second();
    let resource = format!("{}{path}", sim.content_base);
    let policy = json!({ "Statement": [{ "Resource": resource, "Condition": { "DateLessThan": { "AWS:EpochTime": expires } } }] });
    let policy = URL_SAFE_NO_PAD.encode(policy.to_string());
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("response-content-type", content_type)
        .append_pair(
            "response-content-disposition",
            &format!("attachment; filename=\"{name}\""),
        )
        .append_pair("Policy", &policy)
        .append_pair("Signature", &signature(sim, &path, &policy))
        .append_pair("Key-Pair-Id", "SIMKEYPAIR0001")
        .finish();
    format!("{resource}?{query}")
}

/// Whether the query lets `path` be read now.
pub(super) fn opens(sim: &Sim, path: &str, params: &Params) -> bool {
    let (Some(policy), Some(given)) = (param(params, "Policy"), param(params, "Signature")) else {
        return false;
    };
    if given != signature(sim, path, policy) {
        return false;
    }
    let policy: Option<Value> = URL_SAFE_NO_PAD
        .decode(policy)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let expires = policy.and_then(|policy| {
        policy
            .pointer("/Statement/0/Condition/DateLessThan/AWS:EpochTime")?
            .as_i64()
    });
    expires.is_some_and(|expires| sim.clock.now().as_second() < expires)
}

fn signature(sim: &Sim, path: &str, policy: &str) -> String {
    URL_SAFE_NO_PAD.encode(hmac_bytes(
        &sim.url_key,
        &[path.as_bytes(), b"\n", policy.as_bytes()],
    ))
}
