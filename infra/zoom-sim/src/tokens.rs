//! Tokens in the shape of Zoom's: JWTs that clients must treat as opaque.

use aws_lc_rs::encoding::{AsBigEndian, EcPublicKeyUncompressedBin};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::clock::later;
use crate::ids::Ids;
use crate::recordings::Recording;

/// The signing keys of one simulator. Tokens of another run are invalid here.
pub(crate) struct Signer {
    webhook: Keys,
    rest: Keys,
}

struct Keys {
    algorithm: Algorithm,
    signing: EncodingKey,
    verifying: DecodingKey,
    audience: &'static str,
    issuer: &'static str,
}

#[derive(Debug, Serialize, Deserialize)]
struct DownloadClaims {
    aud: String,
    iss: String,
    #[serde(rename = "accountId")]
    account_id: String,
    #[serde(rename = "userId")]
    user_id: String,
    /// Meeting UUID.
    mid: String,
    iat: i64,
    exp: i64,
}

/// Kind of a download token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DownloadToken {
    /// `download_token` of an event, for `webhook_download` URLs.
    Webhook,
    /// `download_access_token` of the REST API, for `download` URLs.
    Rest,
}

/// Result of the check of a download token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenCheck {
    Valid,
    Expired,
    Invalid,
}

impl Signer {
    pub(crate) fn new(secret: [u8; 64]) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let public: EcPublicKeyUncompressedBin<'_> = pair.public_key().as_be_bytes()?;
        let webhook = Keys {
            algorithm: Algorithm::ES256,
            signing: EncodingKey::from_ec_der(pair.to_pkcs8v1()?.as_ref()),
            verifying: DecodingKey::from_ec_der(public.as_ref()),
            audience: "WebRecDownload",
            issuer: "EventConsumerRecDownload",
        };
        let rest = Keys {
            algorithm: Algorithm::HS512,
            signing: EncodingKey::from_secret(&secret),
            verifying: DecodingKey::from_secret(&secret),
            audience: "https://oauth.zoom.us",
            issuer: "https://event.zoom.us",
        };
        Ok(Self { webhook, rest })
    }

    fn keys(&self, kind: DownloadToken) -> &Keys {
        match kind {
            DownloadToken::Webhook => &self.webhook,
            DownloadToken::Rest => &self.rest,
        }
    }

    /// Issues a token for the files of one meeting.
    pub(crate) fn download(
        &self,
        kind: DownloadToken,
        recording: &Recording,
        now: Timestamp,
        seconds: i64,
    ) -> String {
        let keys = self.keys(kind);
        let mut header = Header::new(keys.algorithm);
        for (name, value) in [("sv", "000001"), ("zm_skm", "zm_o2m")] {
            header.extras.insert(name, value);
        }
        let claims = DownloadClaims {
            aud: keys.audience.into(),
            iss: keys.issuer.into(),
            account_id: recording.account_id.clone(),
            user_id: recording.host_id.clone(),
            mid: recording.uuid.clone(),
            iat: now.as_second(),
            exp: later(now, seconds).as_second(),
        };
        // Signing fails only without memory or randomness. An empty token is invalid everywhere.
        jsonwebtoken::encode(&header, &claims, &keys.signing).unwrap_or_default()
    }

    /// Checks whether `token` gives access to the files of the meeting `uuid`.
    pub(crate) fn check(
        &self,
        kind: DownloadToken,
        token: &str,
        uuid: &str,
        now: Timestamp,
    ) -> TokenCheck {
        let keys = self.keys(kind);
        let mut rules = Validation::new(keys.algorithm);
        rules.validate_exp = false; // checked against the simulator's clock below
        rules.set_audience(&[keys.audience]);
        rules.set_issuer(&[keys.issuer]);
        match jsonwebtoken::decode::<DownloadClaims>(token, &keys.verifying, &rules) {
            Ok(data) if data.claims.mid != uuid => TokenCheck::Invalid,
            Ok(data) if data.claims.exp <= now.as_second() => TokenCheck::Expired,
            Ok(_) => TokenCheck::Valid,
            Err(_) => TokenCheck::Invalid,
        }
    }

    /// Issues an OAuth token of more than 600 characters, as Zoom's. It is looked up, never decoded.
    pub(crate) fn oauth(
        &self,
        ids: &Ids,
        client_id: &str,
        account_id: &str,
        user_id: &str,
        now: Timestamp,
        seconds: i64,
    ) -> String {
        let claims = serde_json::json!({
            "ver": 10, "auid": ids.hex::<16>(), "code": ids.opaque::<96>(), "iss": format!("zm:cid:{client_id}"),
            "gno": 0, "type": 0, "tid": 0, "aud": "https://oauth.zoom.us", "uid": user_id, "aid": account_id,
            "nbf": now.as_second(), "iat": now.as_second(), "exp": later(now, seconds).as_second(), "jti": ids.file(),
        });
        let header = Header::new(Algorithm::HS512);
        jsonwebtoken::encode(&header, &claims, &self.rest.signing).unwrap_or_default()
    }
}
