//! The content URL, which is a credential: its query has a policy with an expiry, and a signature.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::call::Call;
use crate::clock::later;
use crate::recordings::RecordingFile;
use crate::signature::hmac_bytes;
use crate::state::Sim;

const URL_SECONDS: i64 = 3600;

pub(super) fn sign(sim: &Sim, id: &str, file: &RecordingFile) -> String {
    let name = file.download_name();
    let path = format!("/ssrweb/replay/{id}/{name}");
    let expires = later(sim.clock.now(), URL_SECONDS).as_second();
    let resource = format!("{}{path}", sim.content_base);
    let policy = json!({ "Statement": [{ "Resource": resource, "Condition": { "DateLessThan": { "AWS:EpochTime": expires } } }] });
    let policy = URL_SAFE_NO_PAD.encode(policy.to_string());
    let disposition = format!("attachment; filename=\"{name}\"");
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("response-content-type", file.spec().kind().content_type())
        .append_pair("response-content-disposition", &disposition)
        .append_pair("Policy", &policy)
        .append_pair("Signature", &signature(sim, &path, &policy))
        .append_pair("Key-Pair-Id", "SIMKEYPAIR0001")
        .finish();
    format!("{resource}?{query}")
}

/// Whether the query of `call` gives access to its path now.
pub(super) fn is_valid(call: &Call) -> bool {
    let policy = call.param("Policy").unwrap_or_default();
    let expected = signature(&call.sim, call.uri.path(), policy);
    if call.param("Signature") != Some(&expected) {
        return false;
    }
    let policy = URL_SAFE_NO_PAD.decode(policy).unwrap_or_default();
    let policy: Value = serde_json::from_slice(&policy).unwrap_or_default();
    let expires = &policy["Statement"][0]["Condition"]["DateLessThan"]["AWS:EpochTime"];
    let now = call.sim.clock.now().as_second();
    expires.as_i64().is_some_and(|expires| now < expires)
}

fn signature(sim: &Sim, path: &str, policy: &str) -> String {
    let parts = [path.as_bytes(), b"\n", policy.as_bytes()];
    URL_SAFE_NO_PAD.encode(hmac_bytes(&sim.url_key, &parts))
}
