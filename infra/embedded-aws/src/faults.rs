//! Faults on demand and a count of calls, for every service and operation.
//!
//! A test that claims "nothing is lost when SQS is down" needs an SQS that is down on command. The front
//! of the engines asks [`Faults`] about each call before it runs one, so that a fault looks to a client
//! exactly like the real thing: an HTTP status with the service's own error shape, or a connection that
//! is cut.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The services that are embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Amazon DynamoDB.
    DynamoDb,
    /// Amazon EventBridge.
    EventBridge,
    /// AWS Key Management Service.
    Kms,
    /// Amazon S3.
    S3,
    /// AWS Secrets Manager.
    SecretsManager,
    /// Amazon SQS.
    Sqs,
}

/// What a call gets instead of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub(crate) reply: Reply,
    pub(crate) after_effect: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Error {
        status: u16,
        code: String,
        message: String,
    },
    ConnectionCut,
}

impl Fault {
    /// An error answer with this HTTP status and AWS error code, e.g. `(503, "ServiceUnavailable")`.
    pub fn error(status: u16, code: impl Into<String>) -> Self {
        Self {
            reply: Reply::Error {
                status,
                code: code.into(),
                message: "injected fault".to_owned(),
            },
            after_effect: false,
        }
    }

    /// No answer at all: the connection is closed.
    #[must_use]
    pub fn connection_cut() -> Self {
        Self {
            reply: Reply::ConnectionCut,
            after_effect: false,
        }
    }

    /// Lets the call take effect first and spoils only its answer: the case of a lost reply, in which a
    /// client cannot know what happened.
    #[must_use]
    pub fn after_effect(mut self) -> Self {
        self.after_effect = true;
        self
    }
}

type Decide = dyn Fn(Service, &str) -> Option<Fault> + Send + Sync;
type Watch = dyn Fn(Done<'_>) + Send + Sync;

/// A call that an engine has carried out, whatever its client was told of it.
#[derive(Debug, Clone, Copy)]
pub struct Done<'a> {
    /// Whose call.
    pub service: Service,
    /// AWS's name of it.
    pub operation: &'a str,
    /// The request's body: JSON.
    pub request: &'a [u8],
}

#[derive(Default)]
struct State {
    rules: HashMap<(Service, String), Rule>,
    calls: HashMap<(Service, String), u64>,
    decide: Option<Arc<Decide>>,
    watch: Option<Arc<Watch>>,
}

struct Rule {
    fault: Fault,
    /// `None`: until cleared.
    remaining: Option<u64>,
}

/// The handle by which tests and demos break the engines. Clones share one state.
///
/// `operation` is AWS's name of it (`SendMessage`, `UploadPart`, `TransactWriteItems`), or `*` in a rule
/// for every operation of the service that has no rule of its own.
#[derive(Clone, Default)]
pub struct Faults {
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").finish_non_exhaustive()
    }
}

impl Faults {
    /// Fails the next `calls` calls of the operation. Mind that the AWS SDKs retry by themselves.
    pub fn fail_next(&self, service: Service, operation: &str, calls: u64, fault: Fault) {
        self.put_rule(service, operation, Some(calls), fault);
    }

    /// Fails every call of the operation until [`clear`](Self::clear) or [`clear_all`](Self::clear_all).
    pub fn fail_until_cleared(&self, service: Service, operation: &str, fault: Fault) {
        self.put_rule(service, operation, None, fault);
    }

    /// Asks `decide` about every call for which no rule is set: for faults drawn from a seed.
    pub fn decide_with(
        &self,
        decide: impl Fn(Service, &str) -> Option<Fault> + Send + Sync + 'static,
    ) {
        self.lock().decide = Some(Arc::new(decide));
    }

    /// Shows `watch` each call from now on that took effect, before its answer goes out: what a client
    /// that died over it can no longer tell. S3 is not watched, for its bodies are streams.
    pub fn watch_with(&self, watch: impl Fn(Done<'_>) + Send + Sync + 'static) {
        self.lock().watch = Some(Arc::new(watch));
    }

    /// Removes the rule for the operation.
    pub fn clear(&self, service: Service, operation: &str) {
        self.lock().rules.remove(&(service, operation.to_owned()));
    }

    /// Removes all rules and the function given to [`decide_with`](Self::decide_with).
    pub fn clear_all(&self) {
        let mut state = self.lock();
        state.rules.clear();
        state.decide = None;
    }

    /// How often the operation was called since the start or the last [`reset_calls`](Self::reset_calls),
    /// failed calls and the SDK's retries included.
    #[must_use]
    pub fn calls(&self, service: Service, operation: &str) -> u64 {
        self.lock()
            .calls
            .get(&(service, operation.to_owned()))
            .copied()
            .unwrap_or(0)
    }

    /// Sets all counts back to zero.
    pub fn reset_calls(&self) {
        self.lock().calls.clear();
    }

    /// Counts the call and says what is to go wrong with it.
    pub(crate) fn admit(&self, service: Service, operation: &str) -> Option<Fault> {
        let decide = {
            let mut state = self.lock();
            *state
                .calls
                .entry((service, operation.to_owned()))
                .or_default() += 1;
            for name in [operation, "*"] {
                if let Some(fault) = state.take(service, name) {
                    return Some(fault);
                }
            }
            state.decide.clone()
        };
        // Called without the lock, for it may use this handle.
        decide.and_then(|decide| decide(service, operation))
    }

    /// Shows a call that was carried out to whoever watches.
    pub(crate) fn carried_out(&self, done: Done<'_>) {
        let watch = self.lock().watch.clone();
        // Called without the lock, for it may use this handle.
        if let Some(watch) = watch {
            watch(done);
        }
    }

    fn put_rule(&self, service: Service, operation: &str, remaining: Option<u64>, fault: Fault) {
        self.lock()
            .rules
            .insert((service, operation.to_owned()), Rule { fault, remaining });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The maps are valid after any panic: no update of them spans two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, service: Service, operation: &str) -> Option<Fault> {
        let rule = self.rules.get_mut(&(service, operation.to_owned()))?;
        match &mut rule.remaining {
            None => Some(rule.fault.clone()),
            Some(0) => None,
            Some(remaining) => {
                *remaining -= 1;
                Some(rule.fault.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_rule_ends_by_itself() {
        let faults = Faults::default();
        let fault = Fault::error(503, "ServiceUnavailable");
        faults.fail_next(Service::Sqs, "SendMessage", 2, fault.clone());
        assert_eq!(faults.admit(Service::Sqs, "ReceiveMessage"), None);
        assert_eq!(
            faults.admit(Service::Sqs, "SendMessage"),
            Some(fault.clone())
        );
        assert_eq!(faults.admit(Service::Sqs, "SendMessage"), Some(fault));
        assert_eq!(faults.admit(Service::Sqs, "SendMessage"), None);
        assert_eq!(faults.calls(Service::Sqs, "SendMessage"), 3);
    }

    #[test]
    fn a_rule_for_all_operations_holds_until_cleared() {
        let faults = Faults::default();
        faults.fail_until_cleared(Service::Kms, "*", Fault::connection_cut());
        assert!(faults.admit(Service::Kms, "Decrypt").is_some());
        assert!(faults.admit(Service::S3, "GetObject").is_none());
        faults.clear(Service::Kms, "*");
        assert!(faults.admit(Service::Kms, "Decrypt").is_none());
    }

    #[test]
    fn a_decision_may_use_the_handle() {
        let faults = Faults::default();
        let inner = faults.clone();
        faults.decide_with(move |service, operation| {
            (inner.calls(service, operation) == 2).then(Fault::connection_cut)
        });
        assert!(faults.admit(Service::S3, "PutObject").is_none());
        assert!(faults.admit(Service::S3, "PutObject").is_some());
    }
}
