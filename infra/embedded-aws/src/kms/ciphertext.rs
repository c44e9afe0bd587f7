//! The blob that `Encrypt` gives: `1 | key id (36) | nonce (12) | ciphertext and tag`.
//!
//! The key id and the encryption context are authenticated data, so a blob opens with exactly the key
//! and the context that made it.

use std::collections::BTreeMap;

use aes_gcm::{
    Aes256Gcm, Nonce,
    aead::{Aead, KeyInit, Payload},
};

use super::{Refusal, keys::Key};
use crate::random;

pub(super) type Context = BTreeMap<String, String>;

const VERSION: u8 = 1;
const ID: usize = 36;
const NONCE: usize = 12;

pub(super) fn seal(key: &Key, context: &Context, plaintext: &[u8]) -> Result<Vec<u8>, Refusal> {
    let nonce = random::bytes::<NONCE>().map_err(Refusal::internal)?;
    let aad = authenticated(&key.id, context);
    let sealed = Aes256Gcm::new(&key.material.into())
        .encrypt(
            &Nonce::from(nonce),
            Payload {
                msg: plaintext,
                aad: &aad,
            },
        )
        .map_err(Refusal::internal)?;
    Ok([&[VERSION], key.id.as_bytes(), &nonce, &sealed].concat())
}

/// The key that made the blob.
pub(super) fn key_id(blob: &[u8]) -> Result<&str, Refusal> {
    let id = match blob {
        [VERSION, rest @ ..] => rest.get(..ID),
        _ => None,
    };
    id.and_then(|id| std::str::from_utf8(id).ok())
        .ok_or_else(invalid)
}

pub(super) fn open(key: &Key, context: &Context, blob: &[u8]) -> Result<Vec<u8>, Refusal> {
    let (nonce, sealed) = blob
        .get(1 + ID..)
        .and_then(|rest| rest.split_first_chunk::<NONCE>())
        .ok_or_else(invalid)?;
    let aad = authenticated(&key.id, context);
    Aes256Gcm::new(&key.material.into())
        .decrypt(
            &Nonce::from(*nonce),
            Payload {
                msg: sealed,
                aad: &aad,
            },
        )
        .map_err(|_| invalid())
}

/// KMS does not say what is wrong with a ciphertext, and neither do we.
fn invalid() -> Refusal {
    Refusal::new(
        "InvalidCiphertextException",
        "the ciphertext cannot be decrypted",
    )
}

/// Each part with its length in front, so that no two contexts look alike.
fn authenticated(id: &str, context: &Context) -> Vec<u8> {
    let parts = context.iter().flat_map(|(name, value)| [name, value]);
    let mut bytes = id.as_bytes().to_vec();
    for part in parts {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes
}
