//! KMS: symmetric keys for envelope encryption.
//!
//! Emulated: `CreateKey`, `DescribeKey`, `GenerateDataKey` and `Decrypt`. Rustack's KMS is not used: its
//! encryption contexts `{a: bc}` and `{ab: c}` are interchangeable, and it needs a dozen crates for elliptic
//! curves.
//!
//! A ciphertext is `1 | key id (36 bytes) | nonce (12) | AES-256-GCM ciphertext and tag`. Key id and
//! encryption context are authenticated data.

use std::{
    collections::BTreeMap,
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use aes_gcm::{
    Aes256Gcm, Nonce,
    aead::{Aead, KeyInit, Payload},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::StatusCode;
use parking_lot::Mutex;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    faults::Service,
    json_response::{self, JsonResponse},
};

const VERSION: u8 = 1;
const KEY_ID_BYTES: usize = 36;
const NONCE_BYTES: usize = 12;

type Context = BTreeMap<String, String>;

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
struct DescribeKey {
    key_id: String,
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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Decrypt {
    key_id: Option<String>,
    ciphertext_blob: String,
    #[serde(default)]
    encryption_context: Context,
}

struct Key {
    id: String,
    description: String,
    /// Seconds since the epoch.
    created_at: f64,
    cipher: Aes256Gcm,
}

/// An error response of KMS.
struct KmsError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl KmsError {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message: message.into() }
    }

    fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message)
    }

    fn internal(cause: impl fmt::Display) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            ..Self::new("KMSInternalException", cause.to_string())
        }
    }

    /// KMS does not reveal why a ciphertext is invalid.
    fn invalid_ciphertext() -> Self {
        Self::new("InvalidCiphertextException", "failed to decrypt the ciphertext")
    }
}

pub(crate) struct Kms {
    region: String,
    account_id: String,
    /// By id.
    keys: Mutex<BTreeMap<String, Key>>,
}

impl Kms {
    pub(crate) fn new(region: &str, account_id: &str) -> Self {
        Self {
            region: region.to_owned(),
            account_id: account_id.to_owned(),
            keys: Mutex::default(),
        }
    }

    pub(crate) fn call(&self, operation: &str, body: &[u8]) -> JsonResponse {
        let result = match operation {
            "CreateKey" => parse(body).and_then(|call| self.create_key(call)),
            "DescribeKey" => parse(body).and_then(|call| self.describe_key(&call)),
            "GenerateDataKey" => parse(body).and_then(|call| self.generate_data_key(&call)),
            "Decrypt" => parse(body).and_then(|call| self.decrypt(&call)),
            _ => Err(KmsError::new(
                "UnsupportedOperationException",
                format!("{operation} is not emulated"),
            )),
        };
        match result {
            Ok(value) => json_response::success(Service::Kms, value.to_string()),
            Err(error) => {
                json_response::error(Service::Kms, error.status, error.code, &error.message)
            }
        }
    }

    fn create_key(&self, call: CreateKey) -> Result<Value, KmsError> {
        let is = |value: Option<String>, expected| value.is_none_or(|value| value == expected);
        if !is(call.key_spec, "SYMMETRIC_DEFAULT") || !is(call.key_usage, "ENCRYPT_DECRYPT") {
            return Err(KmsError::new(
                "UnsupportedOperationException",
                "only SYMMETRIC_DEFAULT keys are emulated",
            ));
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let key = Key {
            id: uuid::Uuid::new_v4().to_string(),
            description: call.description,
            created_at: since.map_or(0.0, |since| since.as_secs_f64()),
            cipher: Aes256Gcm::new(&random::<32>()?.into()),
        };
        let metadata = self.metadata(&key);
        self.keys.lock().insert(key.id.clone(), key);
        Ok(metadata)
    }

    fn describe_key(&self, call: &DescribeKey) -> Result<Value, KmsError> {
        let keys = self.keys.lock();
        Ok(self.metadata(find(&keys, &call.key_id)?))
    }

    fn generate_data_key(&self, call: &GenerateDataKey) -> Result<Value, KmsError> {
        let length = match (call.key_spec.as_deref(), call.number_of_bytes) {
            (Some("AES_256"), None) => 32,
            (Some("AES_128"), None) => 16,
            (None, Some(length @ 1..=1024)) => length,
            _ => {
                return Err(KmsError::validation(
                    "either KeySpec (AES_128, AES_256) or NumberOfBytes (1 to 1024)",
                ));
            }
        };
        let keys = self.keys.lock();
        let key = find(&keys, &call.key_id)?;
        let plaintext = &random::<1024>()?[..length];
        let blob = key.encrypt(&call.encryption_context, plaintext)?;
        Ok(json!({
            "CiphertextBlob": STANDARD.encode(blob),
            "KeyId": self.arn(key),
            "Plaintext": STANDARD.encode(plaintext),
        }))
    }

    fn decrypt(&self, call: &Decrypt) -> Result<Value, KmsError> {
        let blob = STANDARD
            .decode(&call.ciphertext_blob)
            .map_err(|error| KmsError::validation(error.to_string()))?;
        let keys = self.keys.lock();
        let id = key_id(&blob).ok_or_else(KmsError::invalid_ciphertext)?;
        if let Some(expected) = &call.key_id
            && find(&keys, expected)?.id != id
        {
            return Err(KmsError::new(
                "IncorrectKeyException",
                "the ciphertext was encrypted with another key",
            ));
        }
        let key = keys.get(id).ok_or_else(KmsError::invalid_ciphertext)?;
        let plaintext = key.decrypt(&call.encryption_context, &blob)?;
        Ok(json!({
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "KeyId": self.arn(key),
            "Plaintext": STANDARD.encode(plaintext),
        }))
    }

    fn arn(&self, key: &Key) -> String {
        let Self { region, account_id, .. } = self;
        format!("arn:aws:kms:{region}:{account_id}:key/{}", key.id)
    }

    fn metadata(&self, key: &Key) -> Value {
        json!({ "KeyMetadata": {
            "AWSAccountId": self.account_id,
            "Arn": self.arn(key),
            "CreationDate": key.created_at,
            "Description": key.description,
            "Enabled": true,
            "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
            "KeyId": key.id,
            "KeyManager": "CUSTOMER",
            "KeySpec": "SYMMETRIC_DEFAULT",
            "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
            "KeyState": "Enabled",
            "KeyUsage": "ENCRYPT_DECRYPT",
            "MultiRegion": false,
            "Origin": "AWS_KMS",
        } })
    }
}

impl Key {
    fn encrypt(&self, context: &Context, plaintext: &[u8]) -> Result<Vec<u8>, KmsError> {
        let nonce = random::<NONCE_BYTES>()?;
        let payload = Payload { msg: plaintext, aad: &authenticated_data(&self.id, context) };
        let encrypted = self.cipher.encrypt(&Nonce::from(nonce), payload);
        let encrypted = encrypted.map_err(KmsError::internal)?;
        Ok([&[VERSION], self.id.as_bytes(), &nonce, &encrypted].concat())
    }

    fn decrypt(&self, context: &Context, blob: &[u8]) -> Result<Vec<u8>, KmsError> {
        let (nonce, encrypted) = blob
            .get(1 + KEY_ID_BYTES..)
            .and_then(|rest| rest.split_first_chunk::<NONCE_BYTES>())
            .ok_or_else(KmsError::invalid_ciphertext)?;
        let payload = Payload { msg: encrypted, aad: &authenticated_data(&self.id, context) };
        let plaintext = self.cipher.decrypt(&Nonce::from(*nonce), payload);
        plaintext.map_err(|_| KmsError::invalid_ciphertext())
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, KmsError> {
    serde_json::from_slice(body).map_err(|error| KmsError::validation(error.to_string()))
}

/// Finds a key by id or ARN.
fn find<'a>(keys: &'a BTreeMap<String, Key>, reference: &str) -> Result<&'a Key, KmsError> {
    let id = reference.rsplit_once(":key/").map_or(reference, |(_, id)| id);
    keys.get(id).ok_or_else(|| {
        KmsError::new("NotFoundException", format!("key '{reference}' does not exist"))
    })
}

/// The id of the key that encrypted the blob.
fn key_id(blob: &[u8]) -> Option<&str> {
    let (VERSION, rest) = blob.split_first().map(|(version, rest)| (*version, rest))? else {
        return None;
    };
    std::str::from_utf8(rest.get(..KEY_ID_BYTES)?).ok()
}

/// Key id and context. Each part has a length prefix, so that distinct contexts have distinct bytes.
fn authenticated_data(id: &str, context: &Context) -> Vec<u8> {
    let parts = context.iter().flat_map(|(name, value)| [name, value]);
    let mut bytes = id.as_bytes().to_vec();
    for part in parts {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes
}

fn random<const N: usize>() -> Result<[u8; N], KmsError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(KmsError::internal)?;
    Ok(bytes)
}
