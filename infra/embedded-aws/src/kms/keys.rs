//! Keys and their aliases.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::random;

pub(super) const MATERIAL: usize = 32;

/// All keys; also the form in which they are saved.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct KeyStore {
    pub(super) keys: BTreeMap<String, Key>,
    /// Alias name (`alias/…`) to key id.
    pub(super) aliases: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) description: String,
    /// Seconds since 1970.
    pub(super) created: f64,
    pub(super) state: State,
    #[serde(with = "hex::serde")]
    pub(super) material: [u8; MATERIAL],
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum State {
    Enabled,
    Disabled,
    /// Seconds since 1970 at which the key is to go.
    PendingDeletion(f64),
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingDeletion(_) => "PendingDeletion",
        }
    }
}

impl KeyStore {
    pub(super) fn create(&mut self, description: String, now: f64) -> Result<&Key, Refusal> {
        let id = random::uuid().map_err(Refusal::internal)?;
        let key = Key {
            id: id.clone(),
            description,
            created: now,
            state: State::Enabled,
            material: random::bytes().map_err(Refusal::internal)?,
        };
        Ok(self.keys.entry(id).or_insert(key))
    }

    /// Finds a key by its id, its ARN, an alias name or an alias ARN.
    pub(super) fn find(&self, reference: &str) -> Result<&Key, Refusal> {
        let name = match reference.strip_prefix("arn:") {
            Some(arn) => arn.splitn(5, ':').nth(4).unwrap_or(reference),
            None => reference,
        };
        let id = if name.starts_with("alias/") {
            self.aliases.get(name).map(String::as_str)
        } else {
            Some(name.strip_prefix("key/").unwrap_or(name))
        };
        id.and_then(|id| self.keys.get(id)).ok_or_else(|| {
            Refusal::new(
                "NotFoundException",
                format!("key '{reference}' does not exist"),
            )
        })
    }

    pub(super) fn find_mut(&mut self, reference: &str) -> Result<&mut Key, Refusal> {
        let id = self.find(reference)?.id.clone();
        // The id is of a key that was found above.
        self.keys
            .get_mut(&id)
            .ok_or_else(|| Refusal::internal("key vanished"))
    }

    /// A key that may be used for cryptography now.
    pub(super) fn usable(&self, reference: &str) -> Result<&Key, Refusal> {
        let key = self.find(reference)?;
        match key.state {
            State::Enabled => Ok(key),
            State::Disabled => Err(Refusal::new(
                "DisabledException",
                format!("key '{}' is disabled", key.id),
            )),
            State::PendingDeletion(_) => Err(Refusal::new(
                "KMSInvalidStateException",
                format!("key '{}' is pending deletion", key.id),
            )),
        }
    }
}
