//! A search for secrets in every encoding.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Shorter texts would match by chance.
const SHORTEST: usize = 8;

/// Secrets that must not appear.
#[derive(Default)]
pub(super) struct SecretSearch {
    /// Name and encoding of each form.
    names: Vec<(String, &'static str)>,
    forms: Vec<Vec<u8>>,
    /// Forms by their first bytes.
    by_start: HashMap<[u8; SHORTEST], Vec<usize>>,
    /// The first two bytes of all forms, which rule out most positions.
    pairs: Vec<bool>,
    values: HashMap<String, String>,
}

impl SecretSearch {
    /// Adds a secret under the first name that it gets.
    pub(super) fn add(&mut self, what: &str, secret: &str) {
        assert!(secret.len() >= SHORTEST, "{what} is too short to search for");
        if self.values.contains_key(secret) {
            return;
        }
        self.values.insert(secret.to_owned(), what.to_owned());
        for (form, text) in forms(secret.as_bytes()) {
            self.add_form(what, form, text.into_bytes());
        }
        self.add_form(what, "as it is", secret.as_bytes().to_vec());
    }

    /// Adds binary secrets.
    pub(super) fn add_bytes(&mut self, what: &str, secret: &[u8]) {
        assert!(secret.len() >= SHORTEST, "{what} is too short to search for");
        for (form, text) in forms(secret) {
            self.add_form(what, form, text.into_bytes());
        }
    }

    /// The name of each distinct secret.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.values().map(String::as_str)
    }

    /// The secrets in a text with their encodings.
    pub(super) fn found_in(&self, text: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for (at, pair) in text.windows(2).enumerate() {
            if !self.pairs.is_empty() && self.pairs[pair_index(pair)] {
                self.search(&text[at..], &mut found);
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn search(&self, rest: &[u8], found: &mut Vec<String>) {
        let candidates = rest.first_chunk().and_then(|start| self.by_start.get(start));
        for &index in candidates.into_iter().flatten() {
            if rest.starts_with(&self.forms[index]) {
                let (what, form) = &self.names[index];
                found.push(format!("{what}, {form}"));
            }
        }
    }

    fn add_form(&mut self, what: &str, form: &'static str, text: Vec<u8>) {
        let Some(start) = text.first_chunk::<SHORTEST>() else {
            panic!("{what}, {form}, is too short to search for");
        };
        if self.pairs.is_empty() {
            self.pairs = vec![false; 1 << 16];
        }
        self.pairs[pair_index(&text[..2])] = true;
        let index = self.forms.len();
        self.by_start.entry(*start).or_default().push(index);
        self.names.push((what.to_owned(), form));
        self.forms.push(text);
    }
}

fn pair_index(pair: &[u8]) -> usize {
    usize::from(pair[0]) << 8 | usize::from(pair[1])
}

/// All encodings of a secret.
fn forms(bytes: &[u8]) -> Vec<(&'static str, String)> {
    let list = |numbers: Vec<String>| numbers.join(", ");
    let mut forms = vec![
        ("in hex", hex::encode(bytes)),
        ("in upper-case hex", hex::encode_upper(bytes)),
        ("as a list of numbers", list(bytes.iter().map(u8::to_string).collect())),
    ];
    for offset in 0..3 {
        // Within a longer base64 text the secret begins at one of three offsets; characters shared with
        // neighbours are cut.
        let padded = [&[0; 2][..offset], bytes].concat();
        let shared = [0, 2, 3][offset];
        for (form, text) in [
            ("in base64", STANDARD_NO_PAD.encode(&padded)),
            ("in base64url", URL_SAFE_NO_PAD.encode(&padded)),
        ] {
            let whole = padded.len() / 3 * 4;
            forms.push((form, text[shared..whole].to_owned()));
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let percent = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let form_encoded: String = url::form_urlencoded::byte_serialize(bytes).collect();
        let json = serde_json::Value::from(text).to_string();
        let quoted = inside(&json).to_owned();
        let twice = serde_json::Value::from(quoted.as_str()).to_string();
        let debug = format!("{text:?}");
        forms.extend([
            ("percent-encoded", lower_escapes(&percent)),
            ("percent-encoded", percent),
            ("in a form", form_encoded),
            ("in JSON", quoted),
            ("in JSON in JSON", inside(&twice).to_owned()),
            ("as Debug shows it", inside(&debug).to_owned()),
        ]);
        forms.retain(|(_, form)| form != text);
    }
    forms.sort();
    forms.dedup_by(|a, b| a.1 == b.1);
    forms
}

/// The text without its quotes.
fn inside(quoted: &str) -> &str {
    &quoted[1..quoted.len() - 1]
}

/// `%2F` as `%2f`.
fn lower_escapes(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |whole, part| {
        let (escape, rest) = part.split_at(2);
        format!("{whole}%{}{rest}", escape.to_ascii_lowercase())
    })
}

#[test]
fn secret_is_found_in_every_encoding() {
    let secret = "s3cr3t/with+odd=\"chars\"&more";
    let mut search = SecretSearch::default();
    search.add("the secret", secret);
    let json = serde_json::json!({"a": {"b": secret}}).to_string();
    let written = [
        secret.to_owned(),
        format!("{secret:?}"),
        format!("{:?}", secret.as_bytes()),
        format!("{:?}", Some(json.as_str())),
        json.clone(),
        serde_json::json!({ "body": json }).to_string(),
        hex::encode(secret),
        hex::encode_upper(format!("{secret} and more")),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        lower_escapes(&utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string()),
        url::form_urlencoded::Serializer::new(String::new()).append_pair("a", secret).finish(),
    ];
    for text in written {
        let found = search.found_in(format!("before {text} after").as_bytes());
        assert!(!found.is_empty(), "{text}");
    }
    for before in ["", "x", "xy", "xyz"] {
        for after in ["", "x", "xy"] {
            let text = format!("{before}{secret}{after}");
            for encoded in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                assert!(!search.found_in(encoded.as_bytes()).is_empty(), "{text}");
            }
        }
    }
    assert_eq!(search.found_in(b"s3cr3t/with+odd and other words"), [""; 0]);
}

#[test]
fn secret_bytes_are_found_in_every_encoding() {
    let secret = [0, 255, 1, 128, 7, 9, 200, 31, 64, 2, 90, 17];
    let mut search = SecretSearch::default();
    search.add_bytes("the bytes", &secret);
    for text in [
        format!("{secret:?}"),
        hex::encode(secret),
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
    ] {
        assert!(!search.found_in(text.as_bytes()).is_empty(), "{text}");
    }
}
