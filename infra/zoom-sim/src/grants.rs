//! Authorization codes, grants and their tokens, by the rules of rotation.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use serde::Serialize;

use crate::clock::later;
use crate::config::Config;
use crate::ids::Ids;
use crate::tokens::Signer;
use crate::users::User;

/// Why a grant no longer serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeathCause {
    /// The same user authorized the app again.
    AuthorizedAgain,
    /// The app called `/oauth/revoke`.
    Revoked,
    /// The user removed the app.
    Deauthorized,
    /// The user left the account.
    UserRemoved,
}

/// One user's authorization of the app.
#[derive(Debug, Clone, Serialize)]
pub struct Grant {
    /// Its number.
    pub id: u64,
    /// Who authorized.
    pub user_id: String,
    /// The user's account.
    pub account_id: String,
    /// What was granted.
    pub scopes: Vec<String>,
    /// When.
    pub created_at: Timestamp,
    /// `None` while it lives.
    pub death: Option<DeathCause>,
    /// How often it was refreshed.
    pub refreshes: u32,
    /// How often a refresh token came that had been used already, while the grant lived: whoever sent it
    /// had lost an answer, or was not alone.
    pub spent_refreshes: u32,
    /// The newest access token; all of this is synthetic, so tests may look for leaks of it.
    pub access_token: String,
    /// The one refresh token that works.
    pub refresh_token: String,
    /// When that refresh token ends.
    pub refresh_expires_at: Timestamp,
    #[serde(skip)]
    access: VecDeque<(String, Timestamp)>,
}

impl Grant {
    /// Whether its tokens still work.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.death.is_none()
    }
}

/// What the consent page handed out.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub(crate) user_id: String,
    pub(crate) redirect_uri: String,
    pub(crate) challenge: Option<crate::oauth::Challenge>,
    pub(crate) expires_at: Timestamp,
    pub(crate) used: bool,
}

/// What minting tokens needs to know.
pub(crate) struct Mint<'a> {
    pub(crate) config: &'a Config,
    pub(crate) ids: &'a Ids,
    pub(crate) signer: &'a Signer,
    pub(crate) now: Timestamp,
}

#[derive(Debug, Default)]
pub(crate) struct Grants {
    pub(crate) codes: HashMap<String, Code>,
    all: Vec<Grant>,
    /// Every token ever issued leads to its grant's place in `all`.
    by_access: HashMap<String, usize>,
    by_refresh: HashMap<String, usize>,
}

impl Grants {
    pub(crate) fn all(&self) -> &[Grant] {
        &self.all
    }

    pub(crate) fn live_of(&self, user_id: &str) -> Option<&Grant> {
        self.all
            .iter()
            .rev()
            .find(|grant| grant.is_live() && grant.user_id == user_id)
    }

    /// A new grant for `user`; an older one dies of it.
    pub(crate) fn authorize(&mut self, user: &User, mint: &Mint<'_>) -> &Grant {
        self.kill(&user.id, DeathCause::AuthorizedAgain);
        let place = self.all.len();
        self.all.push(Grant {
            id: place as u64 + 1,
            user_id: user.id.clone(),
            account_id: user.account_id.clone(),
            scopes: user
                .scopes
                .clone()
                .unwrap_or_else(|| mint.config.scopes.clone()),
            created_at: mint.now,
            death: None,
            refreshes: 0,
            spent_refreshes: 0,
            access_token: String::new(),
            refresh_token: String::new(),
            refresh_expires_at: mint.now,
            access: VecDeque::new(),
        });
        self.issue(place, mint);
        &self.all[place]
    }

    /// Rotates: `None` for a token that is unknown, superseded, expired or dead.
    pub(crate) fn refresh(&mut self, refresh_token: &str, mint: &Mint<'_>) -> Option<&Grant> {
        let place = *self.by_refresh.get(refresh_token)?;
        let grant = &mut self.all[place];
        if !grant.is_live() || grant.refresh_expires_at <= mint.now {
            return None;
        }
        if grant.refresh_token != refresh_token {
            grant.spent_refreshes += 1;
            return None;
        }
        grant.refreshes += 1;
        self.issue(place, mint);
        Some(&self.all[place])
    }

    fn issue(&mut self, place: usize, mint: &Mint<'_>) {
        let grant = &mut self.all[place];
        let token = |seconds| {
            mint.signer.oauth(
                mint.ids,
                &mint.config.client_id,
                &grant.account_id,
                &grant.user_id,
                mint.now,
                seconds,
            )
        };
        let (access, refresh) = (
            token(mint.config.access_token_seconds),
            token(mint.config.refresh_token_seconds),
        );
        grant.access.push_front((
            access.clone(),
            later(mint.now, mint.config.access_token_seconds),
        ));
        grant
            .access
            .truncate(mint.config.access_token_tolerance + 1);
        grant.refresh_expires_at = later(mint.now, mint.config.refresh_token_seconds);
        grant.access_token.clone_from(&access);
        grant.refresh_token.clone_from(&refresh);
        self.by_access.insert(access, place);
        self.by_refresh.insert(refresh, place);
    }

    /// The live grant behind a valid access token.
    pub(crate) fn by_access(&self, token: &str, now: Timestamp) -> Option<&Grant> {
        let grant = &self.all[*self.by_access.get(token)?];
        let valid = grant
            .access
            .iter()
            .any(|(held, expires_at)| held == token && now < *expires_at);
        (grant.is_live() && valid).then_some(grant)
    }

    /// Whether this was an access token of ours once.
    pub(crate) fn knew_access(&self, token: &str) -> bool {
        self.by_access.contains_key(token)
    }

    /// The user whose live grant this token, of either kind, belongs to, expired or not.
    pub(crate) fn owner_of(&self, token: &str) -> Option<String> {
        let place = self
            .by_access
            .get(token)
            .or_else(|| self.by_refresh.get(token))?;
        let grant = &self.all[*place];
        grant.is_live().then(|| grant.user_id.clone())
    }

    /// Ends the user's live grant; false if there was none.
    pub(crate) fn kill(&mut self, user_id: &str, cause: DeathCause) -> bool {
        let live = self
            .all
            .iter_mut()
            .filter(|grant| grant.is_live() && grant.user_id == user_id);
        live.map(|grant| grant.death = Some(cause)).count() > 0
    }
}
