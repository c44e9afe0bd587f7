//! Tokens in the shape of Zoom's: JWTs that clients must treat as opaque.

use aws_lc_rs::encoding::{AsBigEndian, EcPublicKeyUncompressedBin};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::clock::later;
use crate::ids::Ids;

/// The keys of one simulator; tokens of an earlier run are strangers to it.
pub(crate) struct Signer {
    download: EncodingKey,
    download_public: DecodingKey,
    shared: EncodingKey,
    shared_public: DecodingKey,
}

/// What a download token says: which meeting, whose, until when.
#[derive(Debug, Serialize, Deserialize)]
struct DownloadClaims {
    aud: String,
    iss: String,
    #[serde(rename = "accountId")]
    account_id: String,
    #[serde(rename = "userId")]
    user_id: String,
    mid: String,
    iat: i64,
    exp: i64,
}

/// Which of the two kinds of download tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DownloadToken {
    /// `download_token` of an event, for `webhook_download` URLs.
    Webhook,
    /// `download_access_token` of the REST API, for `download` URLs.
    Rest,
}

/// Whom a download token is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meeting<'a> {
    pub(crate) account_id: &'a str,
    pub(crate) user_id: &'a str,
    pub(crate) uuid: &'a str,
}

/// What a presented token is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    Expired,
    Bad,
}

impl Signer {
    pub(crate) fn new(secret: [u8; 64]) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let public: EcPublicKeyUncompressedBin<'_> = pair.public_key().as_be_bytes()?;
        Ok(Self {
            download: EncodingKey::from_ec_der(pair.to_pkcs8v1()?.as_ref()),
            download_public: DecodingKey::from_ec_der(public.as_ref()),
            shared: EncodingKey::from_secret(&secret),
            shared_public: DecodingKey::from_secret(&secret),
        })
    }

    /// A token for the files of one meeting.
    pub(crate) fn download(
        &self,
        kind: DownloadToken,
        meeting: Meeting<'_>,
        now: Timestamp,
        seconds: i64,
    ) -> String {
        let (algorithm, key, aud, iss) = self.of(kind);
        let mut header = Header::new(algorithm);
        for (name, value) in [("sv", "000001"), ("zm_skm", "zm_o2m")] {
            header.extras.insert(name, value);
        }
        let claims = DownloadClaims {
            aud: aud.into(),
            iss: iss.into(),
            account_id: meeting.account_id.into(),
            user_id: meeting.user_id.into(),
            mid: meeting.uuid.into(),
            iat: now.as_second(),
            exp: later(now, seconds).as_second(),
        };
        // Key and algorithm belong together and the claims are plain, so signing fails only without
        // memory or randomness; an empty token is then refused everywhere, visibly.
        jsonwebtoken::encode(&header, &claims, key).unwrap_or_default()
    }

    /// Whether `token` opens the files of `uuid`.
    pub(crate) fn check(
        &self,
        kind: DownloadToken,
        token: &str,
        uuid: &str,
        now: Timestamp,
    ) -> Verdict {
        let (algorithm, _, aud, iss) = self.of(kind);
        let key = match kind {
            DownloadToken::Webhook => &self.download_public,
            DownloadToken::Rest => &self.shared_public,
        };
        let mut rules = Validation::new(algorithm);
        rules.validate_exp = false; // against our clock, below
        rules.set_audience(&[aud]);
        rules.set_issuer(&[iss]);
        match jsonwebtoken::decode::<DownloadClaims>(token, key, &rules) {
            Ok(data) if data.claims.mid != uuid => Verdict::Bad,
            Ok(data) if data.claims.exp <= now.as_second() => Verdict::Expired,
            Ok(_) => Verdict::Good,
            Err(_) => Verdict::Bad,
        }
    }

    /// An OAuth token: more than 600 characters, as Zoom's. It is looked up, never read.
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
        jsonwebtoken::encode(&Header::new(Algorithm::HS512), &claims, &self.shared)
            .unwrap_or_default()
    }

    fn of(&self, kind: DownloadToken) -> (Algorithm, &EncodingKey, &'static str, &'static str) {
        match kind {
            DownloadToken::Webhook => (
                Algorithm::ES256,
                &self.download,
                "WebRecDownload",
                "EventConsumerRecDownload",
            ),
            DownloadToken::Rest => (
                Algorithm::HS512,
                &self.shared,
                "https://oauth.zoom.us",
                "https://event.zoom.us",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn download_tokens_open_one_meeting_for_a_while() {
        let signer = Signer::new([1; 64]).expect("keys");
        let now = Timestamp::from_second(1_767_225_600).expect("valid");
        let meeting = Meeting {
            account_id: "a",
            user_id: "u",
            uuid: "m==",
        };
        for kind in [DownloadToken::Webhook, DownloadToken::Rest] {
            let token = signer.download(kind, meeting, now, 86_400);
            assert_eq!(token.split('.').count(), 3);
            assert_eq!(signer.check(kind, &token, "m==", now), Verdict::Good);
            assert_eq!(signer.check(kind, &token, "other==", now), Verdict::Bad);
            assert_eq!(
                signer.check(kind, &token, "m==", later(now, 86_399)),
                Verdict::Good
            );
            assert_eq!(
                signer.check(kind, &token, "m==", later(now, 86_400)),
                Verdict::Expired
            );
            assert_eq!(
                signer.check(kind, "synthetic.download.token", "m==", now),
                Verdict::Bad
            );
        }
        let webhook = signer.download(DownloadToken::Webhook, meeting, now, 86_400);
        assert_eq!(
            signer.check(DownloadToken::Rest, &webhook, "m==", now),
            Verdict::Bad
        );
        assert!(
            signer
                .oauth(&Ids::new([0; 32]), "c", "a", "u", now, 3599)
                .len()
                > 600
        );
    }
}
