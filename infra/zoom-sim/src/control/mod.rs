//! Everything that can be done to this Zoom, from inside the process.
//!
//! The HTTP API below `/_sim/` is a thin cover over the same methods.

pub(crate) mod departures;
pub(crate) mod http;
mod recordings;

use std::sync::Arc;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::{self, Delivery, DeliveryState, Forgery, Target, Validation};
use crate::events::{self, UserChange};
use crate::faults::{ArmedFault, NewFault};
use crate::grants::{DeathCause, Grant, Mint};
use crate::lock;
use crate::request_log::ReceivedRequest;
use crate::sim::Shared;
use crate::users::{NewUser, User};

pub use recordings::{Created, FileView, Selection};

/// Why something could not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// No such user.
    #[error("there is no user {0:?}")]
    UnknownUser(String),
    /// No such recording.
    #[error("there is no recording {0:?}")]
    UnknownRecording(String),
    /// No such file.
    #[error("there is no file {0:?}")]
    UnknownFile(String),
    /// No such delivery.
    #[error("there is no delivery {0}")]
    UnknownDelivery(u64),
    /// The id is taken.
    #[error("{0:?} exists already")]
    Exists(String),
    /// It makes no sense.
    #[error("{0}")]
    Invalid(String),
}

/// The handle by which a simulator is steered. Cheap to clone.
///
/// Methods that send events spawn tasks, so they are called within a Tokio runtime.
#[derive(Clone)]
pub struct Control {
    pub(crate) sim: Shared,
}

/// An event written by the caller.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawEvent {
    /// The very body.
    pub body: String,
    /// Which endpoint.
    pub target: Target,
    /// `x-zm-request-id`, if not a new one.
    pub request_id: Option<String>,
    /// How to sign it wrongly.
    pub forgery: Forgery,
}

impl Control {
    /// `http://127.0.0.1:port/`.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.sim.url
    }

    // --- configuration and time --------------------------------------------------------------------

    /// The configuration as it is now.
    #[must_use]
    pub fn settings(&self) -> Config {
        self.sim.config()
    }

    /// Changes the configuration; `bind` and `seed` have had their effect already.
    pub fn change_settings(&self, change: impl FnOnce(&mut Config)) {
        change(&mut lock(&self.sim.config));
    }

    /// Where events go from now on.
    pub fn set_webhook_url(&self, url: impl Into<String>) {
        let url = url.into();
        self.change_settings(|config| config.webhook_url = Some(url));
    }

    /// Where `app_deauthorized` goes from now on.
    pub fn set_deauthorize_url(&self, url: impl Into<String>) {
        let url = url.into();
        self.change_settings(|config| config.deauthorize_url = Some(url));
    }

    /// Allows one more redirect URI.
    pub fn allow_redirect_uri(&self, uri: impl Into<String>) {
        let uri = uri.into();
        self.change_settings(|config| {
            if !config.redirect_uris.contains(&uri) {
                config.redirect_uris.push(uri);
            }
        });
    }

    /// The clock; move it to let tokens expire and retries come due.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.sim.clock
    }

    /// Moves the clock by seconds.
    pub fn advance(&self, seconds: i64) {
        self.sim.clock.advance(SignedDuration::from_secs(seconds));
    }

    // --- users and grants --------------------------------------------------------------------------

    /// All users, removed ones included.
    #[must_use]
    pub fn users(&self) -> Vec<User> {
        lock(&self.sim.world).users.clone()
    }

    /// Adds a user.
    ///
    /// # Errors
    /// If the id is taken.
    pub fn create_user(&self, new: NewUser) -> Result<User, ControlError> {
        let user = User::new(new, &self.sim.ids, self.sim.clock.now());
        let mut world = lock(&self.sim.world);
        if world.user(&user.id).is_some() {
            return Err(ControlError::Exists(user.id));
        }
        world.users.push(user.clone());
        Ok(user)
    }

    /// Sets what the user grants from the next authorization on; `None` means the configured scopes.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn set_scopes(
        &self,
        user_id: &str,
        scopes: Option<Vec<String>>,
    ) -> Result<(), ControlError> {
        let mut world = lock(&self.sim.world);
        let user = world.users.iter_mut().find(|user| user.id == user_id);
        user.ok_or_else(|| ControlError::UnknownUser(user_id.into()))?
            .scopes = scopes;
        Ok(())
    }

    /// All grants, live or dead, oldest first.
    #[must_use]
    pub fn grants(&self) -> Vec<Grant> {
        lock(&self.sim.world).grants.all().to_vec()
    }

    /// The user's live grant.
    #[must_use]
    pub fn live_grant(&self, user_id: &str) -> Option<Grant> {
        lock(&self.sim.world).grants.live_of(user_id).cloned()
    }

    /// Authorizes the app without a browser; kills an older grant as any authorization does.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn authorize(&self, user_id: &str) -> Result<Grant, ControlError> {
        let config = self.sim.config();
        let mint = Mint {
            config: &config,
            ids: &self.sim.ids,
            signer: &self.sim.signer,
            now: self.sim.clock.now(),
        };
        let mut world = lock(&self.sim.world);
        let world = &mut *world;
        let user = world
            .users
            .iter()
            .find(|user| user.id == user_id && !user.removed);
        let user = user.ok_or_else(|| ControlError::UnknownUser(user_id.into()))?;
        Ok(world.grants.authorize(user, &mint).clone())
    }

    /// The user removes the app: the grant dies and `app_deauthorized` is sent, also when there is none.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn deauthorize(&self, user_id: &str) -> Result<u64, ControlError> {
        departures::end_grant(&self.sim, user_id, DeathCause::Deauthorized)
            .ok_or_else(|| ControlError::UnknownUser(user_id.into()))
    }

    /// Sends `app_deauthorized` although the grant goes on: a forged or belated one.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn send_deauthorized_only(&self, user_id: &str) -> Result<u64, ControlError> {
        departures::notify(&self.sim, user_id)
            .ok_or_else(|| ControlError::UnknownUser(user_id.into()))
    }

    /// The user leaves the account: tokens no longer refresh, and the API knows the user no more. No event.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn remove_user(&self, user_id: &str) -> Result<(), ControlError> {
        let mut world = lock(&self.sim.world);
        let user = world.users.iter_mut().find(|user| user.id == user_id);
        user.ok_or_else(|| ControlError::UnknownUser(user_id.into()))?
            .removed = true;
        world.grants.kill(user_id, DeathCause::UserRemoved);
        Ok(())
    }

    /// The user changes to another account and keeps the user id; grants go along. Events, recordings and
    /// `users/me` name the new account from then on.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn move_user(&self, user_id: &str, account_id: &str) -> Result<(), ControlError> {
        let mut world = lock(&self.sim.world);
        let user = world.users.iter_mut().find(|user| user.id == user_id);
        account_id.clone_into(
            &mut user
                .ok_or_else(|| ControlError::UnknownUser(user_id.into()))?
                .account_id,
        );
        Ok(())
    }

    /// Sends `user.deactivated`, `.deleted` or `.disassociated`; changes nothing else.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn send_user_event(&self, user_id: &str, change: UserChange) -> Result<u64, ControlError> {
        let user = lock(&self.sim.world)
            .user(user_id)
            .cloned()
            .ok_or_else(|| ControlError::UnknownUser(user_id.into()))?;
        let body = events::user_changed(&user, change, &user, self.sim.clock.now());
        Ok(self.send_body(body))
    }

    // --- deliveries --------------------------------------------------------------------------------

    fn send_body(&self, body: String) -> u64 {
        delivery::send(&self.sim, Target::Webhook, body, None, Forgery::default())
    }

    /// Sends an event of the caller's own making, with retries.
    #[must_use]
    pub fn send_raw(&self, event: RawEvent) -> u64 {
        delivery::send(
            &self.sim,
            event.target,
            event.body,
            event.request_id,
            event.forgery,
        )
    }

    /// Delivers the same body once more. With `same_request_id` as a repeat of one delivery, else as
    /// through a second subscription.
    ///
    /// # Errors
    /// If there is no such delivery.
    pub fn duplicate(&self, delivery_id: u64, same_request_id: bool) -> Result<u64, ControlError> {
        let first = self
            .delivery(delivery_id)
            .ok_or(ControlError::UnknownDelivery(delivery_id))?;
        let request_id = same_request_id.then_some(first.request_id);
        Ok(delivery::send(
            &self.sim,
            first.target,
            first.body,
            request_id,
            Forgery::default(),
        ))
    }

    /// Validates an endpoint as Zoom does when it is saved, and every 72 hours.
    pub async fn validate(&self, target: Target) -> Validation {
        delivery::validate(&self.sim, target).await
    }

    /// The delivery log, oldest first.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.sim.deliveries.list()
    }

    /// One delivery.
    #[must_use]
    pub fn delivery(&self, id: u64) -> Option<Delivery> {
        self.sim.deliveries.get(id)
    }

    /// Waits until `number` attempts of a delivery have come to an end, or it is settled.
    pub async fn attempted(&self, id: u64, number: usize) -> Option<Delivery> {
        let place = usize::try_from(id.checked_sub(1)?).ok()?;
        let done = |delivery: &Delivery| {
            let ended = delivery
                .attempts
                .iter()
                .filter(|attempt| attempt.status.is_some() || attempt.error.is_some())
                .count();
            ended >= number || delivery.state != DeliveryState::Pending
        };
        self.sim
            .deliveries
            .wait(|list| list.get(place).is_none_or(done))
            .await;
        self.delivery(id)
    }

    /// Waits until no delivery is under way or waiting for a retry.
    pub async fn settled(&self) {
        self.sim
            .deliveries
            .wait(|list| {
                list.iter()
                    .all(|delivery| delivery.state != DeliveryState::Pending)
            })
            .await;
    }

    // --- faults and the request log ----------------------------------------------------------------

    /// Arms a fault; the number can be used to clear it.
    ///
    /// # Errors
    /// If it has no meaning at that point.
    pub fn arm(&self, fault: NewFault) -> Result<u64, ControlError> {
        self.sim
            .faults
            .arm(fault)
            .ok_or_else(|| ControlError::Invalid("this fault has no meaning at that point".into()))
    }

    /// The faults armed, spent ones included.
    #[must_use]
    pub fn faults(&self) -> Vec<ArmedFault> {
        self.sim.faults.list()
    }

    /// Disarms one fault, or all.
    pub fn clear_faults(&self, id: Option<u64>) {
        self.sim.faults.clear(id);
    }

    /// What was received, oldest first; control requests are not in it.
    #[must_use]
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.sim.requests.list()
    }

    /// Forgets what was received.
    pub fn clear_requests(&self) {
        self.sim.requests.clear();
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("url", &self.sim.url.as_str())
            .finish_non_exhaustive()
    }
}

/// Keeps `Arc` out of the signatures of the modules below.
pub(crate) fn of(sim: &Shared) -> Control {
    Control {
        sim: Arc::clone(sim),
    }
}
