//! The token vault: OAuth tokens, encrypted under a KMS key.
//!
//! Envelope encryption: KMS generates a data key bound to an encryption context (hash of the owner, purpose),
//! AES-256-GCM encrypts the tokens with it, and only the encrypted data key is stored. This costs one KMS
//! call per write or read for tokens of any length; KMS itself encrypts at most 4 KiB. Another owner cannot
//! decrypt the tokens: KMS rejects the data key, and the authenticated data contains the owner.

use std::fmt;

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Key};
use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use reelay_domain::ids::ZoomUser;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use reelay_runtime::AwsError;
use reelay_runtime::environment::{ConfigError, Environment};
use reelay_runtime::random;

/// The owner of tokens. It is KMS's encryption context, so it is fixed at encryption.
#[derive(Debug, Clone)]
pub enum TokenOwner {
    /// A grant.
    Grant(ZoomUser),
    /// An exchange whose Zoom user is not known yet, by its key.
    Exchange(String),
}

impl TokenOwner {
    /// The key and value in the encryption context. CloudTrail logs it, so the value is a hash.
    fn context(&self) -> (&'static str, String) {
        let (kind, id) = match self {
            Self::Grant(user) => ("grant", &user.key()),
            Self::Exchange(key) => ("exchange", key),
        };
        (kind, URL_SAFE_NO_PAD.encode(Sha256::digest(id)))
    }
}

/// A pair of OAuth tokens.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Valid for an hour.
    pub access_token: SecretString,
    /// Valid for one refresh within 90 days.
    pub refresh_token: SecretString,
}

/// Encrypted tokens, as a table stores them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncryptedTokens {
    /// Data key, encrypted by KMS.
    key: String,
    /// AES-GCM nonce, followed by the ciphertext.
    text: String,
}

impl fmt::Debug for EncryptedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptedTokens")
    }
}

/// A data key for one owner, obtained before Zoom issues tokens: encryption with it needs no call.
pub struct PreparedKey {
    aad: String,
    plain: Blob,
    encrypted: Blob,
}

impl fmt::Debug for PreparedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PreparedKey")
    }
}

impl PreparedKey {
    /// Encrypts a pair for the key's owner.
    ///
    /// # Errors
    /// [`VaultError::EncryptionFailed`] if KMS sent a key of another length.
    pub fn encrypt(&self, tokens: &Tokens) -> Result<EncryptedTokens, VaultError> {
        let plain = serde_json::to_vec(&Plain {
            a: tokens.access_token.expose_secret().to_owned(),
            r: tokens.refresh_token.expose_secret().to_owned(),
        })
        .map_err(|_| VaultError::EncryptionFailed)?;
        let nonce: [u8; NONCE] = random::bytes();
        let cipher = cipher(self.plain.as_ref()).ok_or(VaultError::EncryptionFailed)?;
        let payload = Payload { msg: &plain, aad: self.aad.as_bytes() };
        let ciphertext =
            cipher.encrypt(&nonce.into(), payload).map_err(|_| VaultError::EncryptionFailed)?;
        Ok(EncryptedTokens {
            key: STANDARD_NO_PAD.encode(self.encrypted.as_ref()),
            text: STANDARD_NO_PAD.encode([&nonce[..], &ciphertext].concat()),
        })
    }
}

/// Error of encryption or decryption.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// A KMS call failed.
    #[error(transparent)]
    Kms(#[from] AwsError),
    /// The data key cannot be used.
    #[error("failed to encrypt tokens")]
    EncryptionFailed,
    /// The tokens belong to another owner or were altered.
    #[error("failed to decrypt stored tokens")]
    DecryptionFailed,
}

#[derive(Serialize, Deserialize)]
struct Plain {
    a: String,
    r: String,
}

const PURPOSE: &str = "oauth-tokens";
const NONCE: usize = 12;

/// The token vault.
#[derive(Debug)]
pub struct Vault {
    client: Client,
    key_id: String,
}

impl Vault {
    /// The vault with the KMS key that `TOKEN_KEY_ID` names.
    ///
    /// # Errors
    /// If the variable is absent.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            client: environment.kms(),
            key_id: environment.variables.required("TOKEN_KEY_ID")?.to_owned(),
        })
    }

    /// Obtains a data key. Call it before tokens are requested from Zoom, so that a failed call cannot lose them.
    ///
    /// # Errors
    /// [`VaultError::Kms`].
    pub async fn prepare(&self, owner: &TokenOwner) -> Result<PreparedKey, VaultError> {
        let (kind, id) = owner.context();
        let generated = self
            .client
            .generate_data_key()
            .key_id(&self.key_id)
            .key_spec(DataKeySpec::Aes256)
            .encryption_context(kind, &id)
            .encryption_context("purpose", PURPOSE)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk("GenerateDataKey", &error))?;
        let (Some(plain), Some(encrypted)) = (generated.plaintext, generated.ciphertext_blob)
        else {
            return Err(AwsError::unexpected_response(
                "GenerateDataKey",
                "the response has no key",
            )
            .into());
        };
        Ok(PreparedKey { aad: aad(kind, &id), plain, encrypted })
    }

    /// Encrypts a pair that is already stored elsewhere.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn encrypt(
        &self,
        owner: &TokenOwner,
        tokens: &Tokens,
    ) -> Result<EncryptedTokens, VaultError> {
        self.prepare(owner).await?.encrypt(tokens)
    }

    /// Decrypts a pair of the given owner.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn decrypt(
        &self,
        owner: &TokenOwner,
        encrypted_tokens: &EncryptedTokens,
    ) -> Result<Tokens, VaultError> {
        let (kind, id) = owner.context();
        let encrypted = STANDARD_NO_PAD
            .decode(&encrypted_tokens.key)
            .map_err(|_| VaultError::DecryptionFailed)?;
        let text = STANDARD_NO_PAD
            .decode(&encrypted_tokens.text)
            .map_err(|_| VaultError::DecryptionFailed)?;
        let (nonce, text) =
            text.split_first_chunk::<NONCE>().ok_or(VaultError::DecryptionFailed)?;
        let data_key = self
            .client
            .decrypt()
            .key_id(&self.key_id)
            .ciphertext_blob(Blob::new(encrypted))
            .encryption_context(kind, &id)
            .encryption_context("purpose", PURPOSE)
            .send()
            .await
            .map_err(|error| match AwsError::from_sdk("Decrypt", &error) {
                failure if failure.code() == "InvalidCiphertextException" => {
                    VaultError::DecryptionFailed
                }
                failure => VaultError::Kms(failure),
            })?
            .plaintext
            .ok_or(VaultError::DecryptionFailed)?;
        let owner = aad(kind, &id);
        let payload = Payload { msg: text, aad: owner.as_bytes() };
        let plain = cipher(data_key.as_ref())
            .ok_or(VaultError::DecryptionFailed)?
            .decrypt(&(*nonce).into(), payload)
            .map_err(|_| VaultError::DecryptionFailed)?;
        let plain: Plain =
            serde_json::from_slice(&plain).map_err(|_| VaultError::DecryptionFailed)?;
        Ok(Tokens { access_token: plain.a.into(), refresh_token: plain.r.into() })
    }
}

fn cipher(key: &[u8]) -> Option<Aes256Gcm> {
    let key: [u8; 32] = key.try_into().ok()?;
    Some(Aes256Gcm::new(&Key::<Aes256Gcm>::from(key)))
}

fn aad(kind: &str, id: &str) -> String {
    format!("{PURPOSE} {kind} {id}")
}
