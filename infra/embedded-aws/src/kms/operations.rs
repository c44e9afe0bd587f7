//! The calls of the `TrentService` protocol.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Kms, Refusal,
    ciphertext::{self, Context},
    keys::{Key, KeyStore, State},
};

/// More needs an envelope: a data key.
const MAX_PLAINTEXT: usize = 4096;
const DAY: f64 = 86_400.0;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateKey {
    #[serde(default)]
    description: String,
    key_spec: Option<String>,
    key_usage: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OfKey {
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ScheduleKeyDeletion {
    key_id: String,
    pending_window_in_days: Option<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Alias {
    alias_name: String,
    target_key_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListAliases {
    key_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Encrypt {
    key_id: String,
    plaintext: String,
    #[serde(default)]
    encryption_context: Context,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Decrypt {
    key_id: Option<String>,
    ciphertext_blob: String,
    #[serde(default)]
    encryption_context: Context,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReEncrypt {
    ciphertext_blob: String,
    source_key_id: Option<String>,
    #[serde(default)]
    source_encryption_context: Context,
    destination_key_id: String,
    #[serde(default)]
    destination_encryption_context: Context,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GenerateDataKey {
    key_id: String,
    key_spec: Option<String>,
    number_of_bytes: Option<usize>,
    #[serde(default)]
    encryption_context: Context,
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::new("ValidationException", error.to_string()))
}

fn decode(base64: &str) -> Result<Vec<u8>, Refusal> {
    STANDARD
        .decode(base64)
        .map_err(|error| Refusal::new("ValidationException", error.to_string()))
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

impl Kms {
    pub(super) fn execute(
        &self,
        store: &mut KeyStore,
        operation: &str,
        body: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let answer = match operation {
            "CreateKey" => Some(self.create_key(store, parse(body)?)?),
            "DescribeKey" => {
                let call: OfKey = parse(body)?;
                Some(json!({ "KeyMetadata": self.metadata(store.find(&call.key_id)?) }))
            }
            "ListKeys" => Some(self.list_keys(store)),
            "EnableKey" => {
                self.set_state(store, &parse::<OfKey>(body)?.key_id, State::Enabled)?;
                None
            }
            "DisableKey" => {
                self.set_state(store, &parse::<OfKey>(body)?.key_id, State::Disabled)?;
                None
            }
            "ScheduleKeyDeletion" => Some(self.schedule_deletion(store, &parse(body)?)?),
            "CancelKeyDeletion" => Some(self.cancel_deletion(store, &parse(body)?)?),
            "CreateAlias" => {
                self.create_alias(store, parse(body)?)?;
                None
            }
            "UpdateAlias" => {
                self.update_alias(store, parse(body)?)?;
                None
            }
            "DeleteAlias" => {
                let call: Alias = parse(body)?;
                store
                    .aliases
                    .remove(&call.alias_name)
                    .ok_or_else(|| no_alias(&call.alias_name))?;
                self.save(store)?;
                None
            }
            "ListAliases" => Some(self.list_aliases(store, &parse(body)?)?),
            "Encrypt" => Some(self.encrypt(store, &parse(body)?)?),
            "Decrypt" => Some(self.decrypt(store, &parse(body)?)?),
            "ReEncrypt" => Some(self.re_encrypt(store, &parse(body)?)?),
            "GenerateDataKey" => Some(self.data_key(store, &parse(body)?, true)?),
            "GenerateDataKeyWithoutPlaintext" => {
                Some(self.data_key(store, &parse(body)?, false)?)
            }
            _ => {
                return Err(Refusal::new(
                    "UnsupportedOperationException",
                    format!("{operation} is not emulated"),
                ));
            }
        };
        // Calls without an answer have an empty body, not an empty object.
        Ok(answer.map_or_else(Vec::new, |answer| answer.to_string().into_bytes()))
    }

    fn arn(&self, resource: &str) -> String {
        format!("arn:aws:kms:{}:{}:{resource}", self.region, self.account_id)
    }

    fn key_arn(&self, key: &Key) -> String {
        self.arn(&format!("key/{}", key.id))
    }

    fn metadata(&self, key: &Key) -> Value {
        let mut metadata = json!({
            "AWSAccountId": self.account_id,
            "Arn": self.key_arn(key),
            "CreationDate": key.created,
            "Description": key.description,
            "Enabled": key.state == State::Enabled,
            "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
            "KeyId": key.id,
            "KeyManager": "CUSTOMER",
            "KeySpec": "SYMMETRIC_DEFAULT",
            "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
            "KeyState": key.state.name(),
            "KeyUsage": "ENCRYPT_DECRYPT",
            "MultiRegion": false,
            "Origin": "AWS_KMS",
        });
        if let State::PendingDeletion(date) = key.state {
            metadata["DeletionDate"] = json!(date);
        }
        metadata
    }

    fn create_key(&self, store: &mut KeyStore, call: CreateKey) -> Result<Value, Refusal> {
        let symmetric = call.key_spec.is_none_or(|spec| spec == "SYMMETRIC_DEFAULT")
            && call
                .key_usage
                .is_none_or(|usage| usage == "ENCRYPT_DECRYPT");
        if !symmetric {
            return Err(Refusal::new(
                "UnsupportedOperationException",
                "only SYMMETRIC_DEFAULT keys are emulated",
            ));
        }
        let metadata = self.metadata(store.create(call.description, now())?);
        self.save(store)?;
        Ok(json!({ "KeyMetadata": metadata }))
    }

    fn list_keys(&self, store: &KeyStore) -> Value {
        let keys: Vec<_> = store
            .keys
            .values()
            .map(|key| json!({ "KeyId": key.id, "KeyArn": self.key_arn(key) }))
            .collect();
        json!({ "Keys": keys, "Truncated": false })
    }

    fn set_state(
        &self,
        store: &mut KeyStore,
        reference: &str,
        state: State,
    ) -> Result<(), Refusal> {
        let key = store.find_mut(reference)?;
        if matches!(key.state, State::PendingDeletion(_)) {
            return Err(Refusal::new(
                "KMSInvalidStateException",
                format!("key '{}' is pending deletion", key.id),
            ));
        }
        key.state = state;
        self.save(store)
    }

    fn schedule_deletion(
        &self,
        store: &mut KeyStore,
        call: &ScheduleKeyDeletion,
    ) -> Result<Value, Refusal> {
        let days = call.pending_window_in_days.unwrap_or(30);
        if !(7..=30).contains(&days) {
            return Err(Refusal::new(
                "ValidationException",
                "the window is 7 to 30 days",
            ));
        }
        let date = now() + f64::from(days) * DAY;
        self.set_state(store, &call.key_id, State::PendingDeletion(date))?;
        let arn = self.key_arn(store.find(&call.key_id)?);
        Ok(json!({ "KeyId": arn, "DeletionDate": date, "KeyState": "PendingDeletion" }))
    }

    fn cancel_deletion(&self, store: &mut KeyStore, call: &OfKey) -> Result<Value, Refusal> {
        let key = store.find_mut(&call.key_id)?;
        if !matches!(key.state, State::PendingDeletion(_)) {
            return Err(Refusal::new(
                "KMSInvalidStateException",
                "the key is not pending deletion",
            ));
        }
        key.state = State::Disabled;
        let arn = self.key_arn(key);
        self.save(store)?;
        Ok(json!({ "KeyId": arn }))
    }

    fn create_alias(&self, store: &mut KeyStore, call: Alias) -> Result<(), Refusal> {
        if !call.alias_name.starts_with("alias/") || call.alias_name.starts_with("alias/aws/") {
            return Err(Refusal::new("InvalidAliasNameException", call.alias_name));
        }
        if store.aliases.contains_key(&call.alias_name) {
            return Err(Refusal::new("AlreadyExistsException", call.alias_name));
        }
        self.set_alias(store, call)
    }

    fn update_alias(&self, store: &mut KeyStore, call: Alias) -> Result<(), Refusal> {
        if !store.aliases.contains_key(&call.alias_name) {
            return Err(no_alias(&call.alias_name));
        }
        self.set_alias(store, call)
    }

    fn set_alias(&self, store: &mut KeyStore, call: Alias) -> Result<(), Refusal> {
        let target = call.target_key_id.unwrap_or_default();
        let id = store.find(&target)?.id.clone();
        store.aliases.insert(call.alias_name, id);
        self.save(store)
    }

    fn list_aliases(&self, store: &KeyStore, call: &ListAliases) -> Result<Value, Refusal> {
        let wanted = match &call.key_id {
            Some(reference) => Some(&store.find(reference)?.id),
            None => None,
        };
        let aliases: Vec<_> = store
            .aliases
            .iter()
            .filter(|(_, id)| wanted.is_none_or(|wanted| wanted == *id))
            .map(|(name, id)| json!({ "AliasName": name, "AliasArn": self.arn(name), "TargetKeyId": id }))
            .collect();
        Ok(json!({ "Aliases": aliases, "Truncated": false }))
    }

    fn encrypt(&self, store: &KeyStore, call: &Encrypt) -> Result<Value, Refusal> {
        let plaintext = decode(&call.plaintext)?;
        if !(1..=MAX_PLAINTEXT).contains(&plaintext.len()) {
            return Err(Refusal::new(
                "ValidationException",
                "a plaintext has 1 to 4096 bytes",
            ));
        }
        let key = store.usable(&call.key_id)?;
        let blob = ciphertext::seal(key, &call.encryption_context, &plaintext)?;
        Ok(json!({
            "CiphertextBlob": STANDARD.encode(blob),
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "KeyId": self.key_arn(key),
        }))
    }

    fn decrypt(&self, store: &KeyStore, call: &Decrypt) -> Result<Value, Refusal> {
        let blob = decode(&call.ciphertext_blob)?;
        let (key, plaintext) = open(
            store,
            &blob,
            call.key_id.as_deref(),
            &call.encryption_context,
        )?;
        Ok(json!({
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "KeyId": self.key_arn(key),
            "Plaintext": STANDARD.encode(plaintext),
        }))
    }

    fn re_encrypt(&self, store: &KeyStore, call: &ReEncrypt) -> Result<Value, Refusal> {
        let blob = decode(&call.ciphertext_blob)?;
        let (source, plaintext) = open(
            store,
            &blob,
            call.source_key_id.as_deref(),
            &call.source_encryption_context,
        )?;
        let key = store.usable(&call.destination_key_id)?;
        let blob = ciphertext::seal(key, &call.destination_encryption_context, &plaintext)?;
        Ok(json!({
            "CiphertextBlob": STANDARD.encode(blob),
            "DestinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "KeyId": self.key_arn(key),
            "SourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "SourceKeyId": self.key_arn(source),
        }))
    }

    fn data_key(
        &self,
        store: &KeyStore,
        call: &GenerateDataKey,
        with_plaintext: bool,
    ) -> Result<Value, Refusal> {
        let length = match (call.key_spec.as_deref(), call.number_of_bytes) {
            (Some("AES_256"), None) => 32,
            (Some("AES_128"), None) => 16,
            (None, Some(length @ 1..=1024)) => length,
            _ => {
                return Err(Refusal::new(
                    "ValidationException",
                    "either KeySpec (AES_128, AES_256) or NumberOfBytes (1 to 1024)",
                ));
            }
        };
        let key = store.usable(&call.key_id)?;
        let mut plaintext = vec![0; length];
        getrandom::fill(&mut plaintext).map_err(Refusal::internal)?;
        let blob = ciphertext::seal(key, &call.encryption_context, &plaintext)?;
        let mut answer = json!({
            "CiphertextBlob": STANDARD.encode(blob),
            "KeyId": self.key_arn(key),
        });
        if with_plaintext {
            answer["Plaintext"] = json!(STANDARD.encode(plaintext));
        }
        Ok(answer)
    }
}

fn open<'a>(
    store: &'a KeyStore,
    blob: &[u8],
    expected: Option<&str>,
    context: &Context,
) -> Result<(&'a Key, Vec<u8>), Refusal> {
    let id = ciphertext::key_id(blob)?;
    if let Some(expected) = expected
        && store.find(expected)?.id != id
    {
        return Err(Refusal::new(
            "IncorrectKeyException",
            "the ciphertext was made with another key",
        ));
    }
    // A blob with the id of no key is no ciphertext of ours, rather than a missing key.
    if !store.keys.contains_key(id) {
        return Err(Refusal::new(
            "InvalidCiphertextException",
            "the ciphertext cannot be decrypted",
        ));
    }
    let key = store.usable(id)?;
    Ok((key, ciphertext::open(key, context, blob)?))
}

fn no_alias(name: &str) -> Refusal {
    Refusal::new(
        "NotFoundException",
        format!("alias '{name}' does not exist"),
    )
}
