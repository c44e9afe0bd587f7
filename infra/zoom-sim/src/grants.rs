//! Authorization codes, grants, and the rotation of their tokens.

use std::collections::{HashMap, VecDeque};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::clock::later;
use crate::config::Config;
use crate::ids::Ids;
use crate::tokens::Signer;
use crate::users::User;

/// Lifetime of a refresh token.
pub(crate) const REFRESH_TOKEN_SECONDS: i64 = 90 * 86_400;
/// Zoom's number for a token that is unknown, used, expired, or that belongs to another client.
pub(crate) const TOKEN_NOT_FOUND: u32 = 4737;
/// Number of access tokens that stay valid: the newest and the one before it.
const VALID_ACCESS_TOKENS: usize = 2;

/// Reason why a grant is no longer valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantEndReason {
    /// The same user authorized the app again.
    AuthorizedAgain,
    /// The app called `/oauth/revoke`.
    Revoked,
    /// The user removed the app.
    Deauthorized,
    /// The user was removed from the account.
    UserRemoved,
}

impl GrantEndReason {
    /// Zoom's number for a token of such a grant.
    fn code(self) -> u32 {
        match self {
            Self::AuthorizedAgain => 4741,
            Self::UserRemoved => 4735,
            Self::Revoked | Self::Deauthorized => TOKEN_NOT_FOUND,
        }
    }
}

/// One user's authorization of the app.
#[derive(Debug, Clone, Serialize)]
pub struct Grant {
    /// Number of the grant.
    pub id: u64,
    /// The user who authorized.
    pub user_id: String,
    /// The client that obtained it, the only one that may refresh it.
    pub client_id: String,
    /// The user's account.
    pub account_id: String,
    /// Granted scopes.
    pub scopes: Vec<String>,
    /// Time of the authorization.
    pub created_at: Timestamp,
    /// `None` while the grant is valid.
    pub end_reason: Option<GrantEndReason>,
    /// Number of refreshes.
    pub refreshes: u32,
    /// Number of refreshes with a refresh token that was used already, while the grant was valid. The
    /// client then lost a response, or two clients refreshed at the same time.
    pub refresh_token_reuses: u32,
    /// The newest access token. All tokens are synthetic, so tests may search output for them.
    pub access_token: String,
    /// The only valid refresh token.
    pub refresh_token: String,
    /// Expiry of the refresh token.
    pub refresh_expires_at: Timestamp,
    #[serde(skip)]
    access_tokens: VecDeque<(String, Timestamp)>,
}

impl Grant {
    /// Returns whether the grant has not ended.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.end_reason.is_none()
    }
}

/// An authorization code of the consent page.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub(crate) user_id: String,
    pub(crate) client_id: String,
    pub(crate) redirect_uri: String,
    pub(crate) challenge: Option<Challenge>,
    pub(crate) expires_at: Timestamp,
    pub(crate) used: bool,
}

/// A PKCE `code_challenge` (RFC 7636).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Plain(String),
    S256(String),
}

impl Challenge {
    /// Parses the two parameters. Without a method it is `plain`, as at Zoom.
    ///
    /// # Errors
    /// For a method that does not exist.
    pub(crate) fn parse(challenge: Option<&str>, method: Option<&str>) -> Result<Option<Self>, ()> {
        match (challenge, method) {
            (None, _) => Ok(None),
            (Some(challenge), None | Some("plain")) => Ok(Some(Self::Plain(challenge.into()))),
            (Some(challenge), Some("S256")) => Ok(Some(Self::S256(challenge.into()))),
            _ => Err(()),
        }
    }

    pub(crate) fn matches(&self, verifier: &str) -> bool {
        let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if !(43..=128).contains(&verifier.len()) || !verifier.bytes().all(is_unreserved) {
            return false;
        }
        match self {
            Self::Plain(challenge) => challenge == verifier,
            Self::S256(challenge) => *challenge == URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)),
        }
    }
}

/// Everything that issuing tokens needs.
pub(crate) struct Issuer<'a> {
    pub(crate) config: &'a Config,
    pub(crate) ids: &'a Ids,
    pub(crate) signer: &'a Signer,
    pub(crate) now: Timestamp,
}

impl Issuer<'_> {
    fn token(&self, grant: &Grant, seconds: i64) -> String {
        let (client_id, now) = (&grant.client_id, self.now);
        self.signer.oauth(self.ids, client_id, &grant.account_id, &grant.user_id, now, seconds)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Grants {
    pub(crate) codes: HashMap<String, Code>,
    all: Vec<Grant>,
    /// Index in `all` by every access token ever issued.
    by_access: HashMap<String, usize>,
    /// Index in `all` by every refresh token ever issued.
    by_refresh: HashMap<String, usize>,
}

impl Grants {
    pub(crate) fn all(&self) -> &[Grant] {
        &self.all
    }

    pub(crate) fn live_of(&self, user_id: &str) -> Option<&Grant> {
        let mut newest_first = self.all.iter().rev();
        newest_first.find(|grant| grant.is_live() && grant.user_id == user_id)
    }

    /// Creates a grant for `user` and ends an older one of the same client.
    pub(crate) fn authorize(
        &mut self,
        user: &User,
        client_id: &str,
        issuer: &Issuer<'_>,
    ) -> &Grant {
        self.end(&user.id, Some(client_id), GrantEndReason::AuthorizedAgain);
        let index = self.all.len();
        let scopes = user.scopes.as_ref().unwrap_or(&issuer.config.scopes);
        self.all.push(Grant {
            id: index as u64 + 1,
            user_id: user.id.clone(),
            client_id: client_id.into(),
            account_id: user.account_id.clone(),
            scopes: scopes.clone(),
            created_at: issuer.now,
            end_reason: None,
            refreshes: 0,
            refresh_token_reuses: 0,
            access_token: String::new(),
            refresh_token: String::new(),
            refresh_expires_at: issuer.now,
            access_tokens: VecDeque::new(),
        });
        self.issue(index, issuer);
        &self.all[index]
    }

    /// Rotates the tokens.
    ///
    /// # Errors
    /// Zoom's number if the token is unknown, used, expired or another client's, or the grant has ended.
    pub(crate) fn refresh(
        &mut self,
        refresh_token: &str,
        client_id: &str,
        issuer: &Issuer<'_>,
    ) -> Result<&Grant, u32> {
        let index = *self.by_refresh.get(refresh_token).ok_or(TOKEN_NOT_FOUND)?;
        let grant = &mut self.all[index];
        if grant.client_id != client_id {
            return Err(TOKEN_NOT_FOUND);
        }
        if let Some(reason) = grant.end_reason {
            return Err(reason.code());
        }
        if grant.refresh_expires_at <= issuer.now {
            return Err(TOKEN_NOT_FOUND);
        }
        if grant.refresh_token != refresh_token {
            grant.refresh_token_reuses += 1;
            return Err(TOKEN_NOT_FOUND);
        }
        grant.refreshes += 1;
        self.issue(index, issuer);
        Ok(&self.all[index])
    }

    fn issue(&mut self, index: usize, issuer: &Issuer<'_>) {
        let grant = &mut self.all[index];
        let access_seconds = issuer.config.access_token_seconds;
        let access = issuer.token(grant, access_seconds);
        let refresh = issuer.token(grant, REFRESH_TOKEN_SECONDS);
        let access_expires_at = later(issuer.now, access_seconds);
        grant.access_tokens.push_front((access.clone(), access_expires_at));
        grant.access_tokens.truncate(VALID_ACCESS_TOKENS);
        grant.refresh_expires_at = later(issuer.now, REFRESH_TOKEN_SECONDS);
        grant.access_token.clone_from(&access);
        grant.refresh_token.clone_from(&refresh);
        self.by_access.insert(access, index);
        self.by_refresh.insert(refresh, index);
    }

    /// Removes expired codes, and the tokens of ended grants.
    pub(crate) fn forget_expired(&mut self, now: Timestamp) {
        self.codes.retain(|_, code| code.expires_at > now);
        self.by_access.retain(|_, index| self.all[*index].is_live());
        self.by_refresh.retain(|_, index| self.all[*index].is_live());
    }

    /// The live grant of a valid access token.
    pub(crate) fn by_access(&self, token: &str, now: Timestamp) -> Option<&Grant> {
        let grant = &self.all[*self.by_access.get(token)?];
        let mut valid = grant.access_tokens.iter();
        let is_valid = valid.any(|(held, expires_at)| held == token && now < *expires_at);
        (grant.is_live() && is_valid).then_some(grant)
    }

    /// Whether this simulator issued `token` as an access token.
    pub(crate) fn issued_access(&self, token: &str) -> bool {
        self.by_access.contains_key(token)
    }

    /// The user of the live grant to which a token of either kind belongs, expired or not.
    pub(crate) fn user_of(&self, token: &str) -> Option<String> {
        let index = self.by_access.get(token).or_else(|| self.by_refresh.get(token))?;
        let grant = &self.all[*index];
        grant.is_live().then(|| grant.user_id.clone())
    }

    /// Ends the user's live grants: of one client, or all.
    pub(crate) fn end(&mut self, user_id: &str, client_id: Option<&str>, reason: GrantEndReason) {
        for grant in &mut self.all {
            let is_meant = client_id.is_none_or(|client_id| grant.client_id == client_id);
            if grant.is_live() && grant.user_id == user_id && is_meant {
                grant.end_reason = Some(reason);
            }
        }
    }
}
