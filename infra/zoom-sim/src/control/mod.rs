//! Control of the simulator from inside the process. `http` exposes the same methods below `/_sim/`.

pub(crate) mod http;
mod recordings;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use reelay_clock::Clock;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::clock::AdvanceClock;
use crate::config::Config;
use crate::deliveries::{Delivery, Target, Validation};
use crate::faults::{ArmedFault, NewFault};
use crate::grants::{Grant, GrantEndReason};
use crate::recordings::{Recording, RecordingFile};
use crate::request_log::ReceivedRequest;
use crate::sender;
use crate::state::Shared;
use crate::sync::lock;
use crate::users::{NewUser, User};

/// Reason why a control operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The user does not exist.
    #[error("user {0:?} does not exist")]
    UnknownUser(String),
    /// The recording does not exist.
    #[error("recording {0:?} does not exist")]
    UnknownRecording(String),
    /// The file does not exist.
    #[error("file {0:?} does not exist")]
    UnknownFile(String),
    /// The delivery does not exist.
    #[error("delivery {0} does not exist")]
    UnknownDelivery(u64),
    /// The id is in use.
    #[error("{0:?} exists already")]
    Exists(String),
    /// The arguments are not valid.
    #[error("{0}")]
    Invalid(String),
}

/// Handle that controls a simulator. Cheap to clone.
///
/// Methods that send events spawn tasks and must be called within a Tokio runtime.
#[derive(Clone)]
pub struct Control {
    sim: Shared,
}

/// A recording after a change, and the deliveries that the change started.
#[derive(Debug, Clone, Serialize)]
pub struct Created {
    /// The recording.
    pub recording: Recording,
    /// Numbers of the deliveries.
    pub deliveries: Vec<u64>,
}

/// The files that a change concerns, and the user who makes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// File ids; `None` means all files.
    pub files: Option<Vec<String>>,
    /// The user who makes the change; `None` means the host.
    pub operator_id: Option<String>,
    /// Makes the change without an event.
    pub silent: bool,
}

/// A file with its checksum.
#[derive(Debug, Clone, Serialize)]
pub struct FileView {
    /// The file.
    #[serde(flatten)]
    pub file: RecordingFile,
    /// The meeting it belongs to.
    pub uuid: String,
    /// SHA-256 in hex.
    pub sha256: String,
}

/// An event with an arbitrary body.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawEvent {
    /// The raw body.
    pub body: String,
    /// The endpoint.
    pub target: Target,
    /// `x-zm-request-id`; `None` means a new one.
    pub request_id: Option<String>,
}

impl Control {
    pub(crate) fn new(sim: &Shared) -> Self {
        let sim = Arc::clone(sim);
        Self { sim }
    }

    /// Returns `http://127.0.0.1:port/`.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.sim.url
    }

    /// Returns the current configuration.
    #[must_use]
    pub fn settings(&self) -> Config {
        self.sim.config()
    }

    /// Changes the configuration; `bind` and `seed` no longer have an effect.
    pub fn change_settings(&self, change: impl FnOnce(&mut Config)) {
        change(&mut lock(&self.sim.config));
    }

    /// Sets the endpoint for events.
    pub fn set_webhook_url(&self, url: impl Into<String>) {
        let url = url.into();
        self.change_settings(|config| config.webhook_url = Some(url));
    }

    /// Returns the clock, by which tokens expire and retries become due.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.sim.clock
    }

    /// Passes moves of the clock by the control page and its API to `advance`, which moves all that share the clock.
    /// Later calls have no effect.
    pub fn advance_clock_with(&self, advance: AdvanceClock) {
        self.sim.advance_clock.set(advance).ok();
    }

    /// Advances the clock by seconds.
    pub fn advance(&self, seconds: i64) {
        self.sim.clock.advance(SignedDuration::from_secs(seconds));
    }

    /// Returns whether no delivery is under way and none is due.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let now = self.sim.clock.now();
        self.sim.deliveries.all(|delivery| delivery.is_idle_at(now))
    }

    /// Waits until [`Self::is_idle`].
    pub async fn wait_until_idle(&self) {
        let clock = &self.sim.clock;
        self.sim.deliveries.wait_for_all(|delivery| delivery.is_idle_at(clock.now())).await;
    }

    /// Returns the time of the first retry that waits.
    #[must_use]
    pub fn next_retry_at(&self) -> Option<Timestamp> {
        self.sim.deliveries.next_retry_at()
    }

    /// Returns all users, removed ones included.
    #[must_use]
    pub fn users(&self) -> Vec<User> {
        lock(&self.sim.world).users.clone()
    }

    /// Creates a user.
    ///
    /// # Errors
    /// If the id is in use.
    pub fn create_user(&self, new: NewUser) -> Result<User, ControlError> {
        let user = User::new(new, &self.sim.ids, self.sim.clock.now());
        let mut world = lock(&self.sim.world);
        if world.user(&user.id).is_some() {
            return Err(ControlError::Exists(user.id));
        }
        world.users.push(user.clone());
        Ok(user)
    }

    fn change_user(
        &self,
        user_id: &str,
        change: impl FnOnce(&mut User),
    ) -> Result<(), ControlError> {
        let mut world = lock(&self.sim.world);
        let user = world.users.iter_mut().find(|user| user.id == user_id);
        user.map(change).ok_or_else(|| unknown_user(user_id))
    }

    /// Sets the scopes that the user grants in future authorizations; `None` means those of the
    /// configuration.
    ///
    /// # Errors
    /// If the user does not exist.
    pub fn set_scopes(
        &self,
        user_id: &str,
        scopes: Option<Vec<String>>,
    ) -> Result<(), ControlError> {
        self.change_user(user_id, |user| user.scopes = scopes)
    }

    /// Returns all grants, ended ones included, oldest first.
    #[must_use]
    pub fn grants(&self) -> Vec<Grant> {
        lock(&self.sim.world).grants.all().to_vec()
    }

    /// Returns the user's live grant.
    #[must_use]
    pub fn live_grant(&self, user_id: &str) -> Option<Grant> {
        lock(&self.sim.world).grants.live_of(user_id).cloned()
    }

    /// Authorizes the app without a browser. As any authorization, it ends an older grant.
    ///
    /// # Errors
    /// If the user does not exist or was removed.
    pub fn authorize(&self, user_id: &str) -> Result<Grant, ControlError> {
        let config = self.sim.config();
        let issuer = self.sim.issuer(&config);
        let mut world = lock(&self.sim.world);
        let world = &mut *world;
        let mut users = world.users.iter();
        let user = users.find(|user| user.id == user_id && !user.removed);
        let user = user.ok_or_else(|| unknown_user(user_id))?;
        Ok(world.grants.authorize(user, &config.client_id, &issuer).clone())
    }

    /// The user removes the app: ends the grant, if there is one, and sends `app_deauthorized`.
    ///
    /// # Errors
    /// If the user does not exist.
    pub fn deauthorize(&self, user_id: &str) -> Result<u64, ControlError> {
        self.send_deauthorized(user_id, Some(GrantEndReason::Deauthorized))
    }

    /// Sends `app_deauthorized` and keeps the grant: a late or wrong event.
    ///
    /// # Errors
    /// If the user does not exist.
    pub fn send_deauthorized_event(&self, user_id: &str) -> Result<u64, ControlError> {
        self.send_deauthorized(user_id, None)
    }

    /// Sends the event for the client of the live grant, or without one for that of the configuration.
    fn send_deauthorized(
        &self,
        user_id: &str,
        reason: Option<GrantEndReason>,
    ) -> Result<u64, ControlError> {
        let grant = self.live_grant(user_id);
        let client_id = grant.map_or_else(|| self.sim.config().client_id, |grant| grant.client_id);
        let delivery = sender::send_deauthorized(&self.sim, user_id, &client_id, reason);
        delivery.ok_or_else(|| unknown_user(user_id))
    }

    /// Removes the user from the account, without an event: tokens no longer refresh, and the API no
    /// longer knows the user.
    ///
    /// # Errors
    /// If the user does not exist.
    pub fn remove_user(&self, user_id: &str) -> Result<(), ControlError> {
        self.change_user(user_id, |user| user.removed = true)?;
        let mut world = lock(&self.sim.world);
        world.grants.end(user_id, None, GrantEndReason::UserRemoved);
        Ok(())
    }

    /// Moves the user to another account; the user id and the grants stay. Events, recordings and
    /// `users/me` name the new account from then on.
    ///
    /// # Errors
    /// If the user does not exist.
    pub fn move_user(&self, user_id: &str, account_id: &str) -> Result<(), ControlError> {
        self.change_user(user_id, |user| account_id.clone_into(&mut user.account_id))
    }

    /// Changes the user's e-mail address. `users/me` and the events of later recordings name the new one.
    ///
    /// # Errors
    /// If the user does not exist.
    pub fn change_email(&self, user_id: &str, email: &str) -> Result<(), ControlError> {
        self.change_user(user_id, |user| email.clone_into(&mut user.email))
    }

    fn send_event(&self, body: String) -> u64 {
        sender::send(&self.sim, Target::Webhook, body, None)
    }

    /// Sends an event with an arbitrary body, with retries.
    #[must_use]
    pub fn send_raw(&self, event: RawEvent) -> u64 {
        let RawEvent { body, target, request_id } = event;
        sender::send(&self.sim, target, body, request_id)
    }

    /// Sends the body of a delivery again: with the same request id as a repetition, with a new one as
    /// through a second subscription.
    ///
    /// # Errors
    /// If the delivery does not exist.
    pub fn duplicate(&self, delivery_id: u64, same_request_id: bool) -> Result<u64, ControlError> {
        let first = self.delivery(delivery_id);
        let first = first.ok_or(ControlError::UnknownDelivery(delivery_id))?;
        Ok(self.send_raw(RawEvent {
            body: first.body,
            target: first.target,
            request_id: same_request_id.then_some(first.request_id),
        }))
    }

    /// Validates an endpoint, as Zoom does when the endpoint is saved and every 72 hours.
    pub async fn validate(&self, target: Target) -> Validation {
        sender::validate(&self.sim, target).await
    }

    /// Returns the delivery log, oldest first.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.sim.deliveries.list()
    }

    /// Returns one delivery.
    #[must_use]
    pub fn delivery(&self, id: u64) -> Option<Delivery> {
        self.sim.deliveries.get(id)
    }

    /// Waits until `count` attempts of a delivery are complete, or the delivery is settled.
    pub async fn wait_for_attempts(&self, id: u64, count: usize) -> Option<Delivery> {
        let is_done = |delivery: &Delivery| {
            let attempts = delivery.attempts.iter();
            let complete =
                attempts.filter(|attempt| attempt.status.is_some() || attempt.error.is_some());
            delivery.id != id || delivery.is_settled() || complete.count() >= count
        };
        self.sim.deliveries.wait_for_all(is_done).await;
        self.delivery(id)
    }

    /// Waits until no delivery is in flight or waits for a retry.
    pub async fn wait_until_settled(&self) {
        self.sim.deliveries.wait_for_all(Delivery::is_settled).await;
    }

    /// Activates a fault and returns its number.
    ///
    /// # Errors
    /// If the fault is not possible at its point.
    pub fn arm(&self, fault: NewFault) -> Result<u64, ControlError> {
        let id = self.sim.faults.arm(fault);
        id.ok_or_else(|| ControlError::Invalid("this fault is not possible at this point".into()))
    }

    /// Returns the faults, used-up ones included.
    #[must_use]
    pub fn faults(&self) -> Vec<ArmedFault> {
        self.sim.faults.list()
    }

    /// Removes one fault, or all.
    pub fn clear_faults(&self, id: Option<u64>) {
        self.sim.faults.clear(id);
    }

    /// Returns the received requests, oldest first, without those of the control API.
    #[must_use]
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.sim.requests.list()
    }

    /// Clears the log of received requests.
    pub fn clear_requests(&self) {
        self.sim.requests.clear();
    }

    /// Removes all recordings without an event, settled deliveries, the log of received requests, and what has expired, so
    /// that a run of hours takes no more memory than its last part.
    pub fn forget(&self) {
        lock(&self.sim.world).forget(self.sim.clock.now());
        self.sim.deliveries.forget_settled();
        self.clear_requests();
    }
}

fn unknown_user(user_id: &str) -> ControlError {
    ControlError::UnknownUser(user_id.into())
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("url", &self.sim.url.as_str()).finish_non_exhaustive()
    }
}
