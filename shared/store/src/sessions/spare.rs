//! Refreshed token pairs that the Links table could not take. See [`crate::save`].

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use reelay_domain::ids::ZoomUser;
use reelay_runtime::AwsError;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{SessionTable, TABLE, with_id};
use crate::item::from_item;
use crate::links::NewTokens;
use crate::vault::EncryptedTokens;

/// Time for which a pair waits for a job that moves it to its grant.
const SPARE_TTL: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A refreshed pair whose grant still has the older one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SparePair {
    /// Version of the pair that Zoom consumed. For a grant with another version the pair is worthless.
    pub replaces_version: u64,
    /// Encrypted for [`crate::vault::TokenOwner::Grant`].
    pub tokens: EncryptedTokens,
    /// Expiry of the access token, epoch seconds.
    pub access_expires_at: i64,
    /// Granted scopes.
    pub scope: Option<String>,
    /// Expiry, epoch seconds.
    pub expires_at: i64,
}

impl SparePair {
    /// The pair of a refresh.
    pub fn new(replaces_version: u64, new: &NewTokens, now: Timestamp) -> Self {
        Self {
            replaces_version,
            tokens: new.tokens.clone(),
            access_expires_at: new.access_expires_at,
            scope: new.scope.clone(),
            expires_at: (now + SPARE_TTL).as_second(),
        }
    }
}

impl SessionTable {
    /// Saves a pair in place of [`crate::links::LinkTable::save_refreshed`].
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn save_spare_pair(
        &self,
        zoom_user: &ZoomUser,
        pair: &SparePair,
    ) -> Result<(), AwsError> {
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(with_id(spare_key(zoom_user), pair)?))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| AwsError::from_sdk("PutItem Sessions", &error))
    }

    /// Reads a Zoom user's unexpired spare pair.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn spare_pair(
        &self,
        zoom_user: &ZoomUser,
        now: Timestamp,
    ) -> Result<Option<SparePair>, AwsError> {
        let item = self.get_item(spare_key(zoom_user)).await?;
        let pair: Option<SparePair> = item.map(|item| from_item(TABLE, item)).transpose()?;
        Ok(pair.filter(|pair| pair.expires_at > now.as_second()))
    }

    /// Deletes a Zoom user's spare pair.
    ///
    /// # Errors
    /// If the DynamoDB call fails.
    pub async fn delete_spare_pair(&self, zoom_user: &ZoomUser) -> Result<(), AwsError> {
        self.delete(spare_key(zoom_user)).await
    }
}

fn spare_key(zoom_user: &ZoomUser) -> String {
    format!("spare#{}", URL_SAFE_NO_PAD.encode(Sha256::digest(zoom_user.key())))
}
