//! Fault injection and call counts, for every service and operation.
//!
//! The HTTP services consult [`Faults`] before each call. To a client an injected fault looks like a real one: an
//! HTTP status with the service's error format, a closed connection, or no response at all.

use std::{collections::HashMap, fmt, sync::Arc};

use parking_lot::Mutex;

/// Embedded services.
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

impl Service {
    /// Services with a JSON protocol.
    pub(crate) const JSON: [Self; 5] =
        [Self::DynamoDb, Self::EventBridge, Self::Kms, Self::SecretsManager, Self::Sqs];

    /// The part of `x-amz-target` before the dot. S3 has no such header.
    pub(crate) fn target_prefix(self) -> &'static str {
        match self {
            Self::DynamoDb => "DynamoDB_20120810",
            Self::EventBridge => "AWSEvents",
            Self::Kms => "TrentService",
            Self::S3 => "",
            Self::SecretsManager => "secretsmanager",
            Self::Sqs => "AmazonSQS",
        }
    }
}

/// A fault that replaces the response of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub(crate) effect: Effect,
    pub(crate) after_effect: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    Error { status: u16, code: String, message: String },
    CloseConnection,
    Hang,
    TransactionConflict { item: usize },
}

impl Fault {
    /// An error response with this HTTP status and AWS error code, e.g. `(503, "ServiceUnavailable")`.
    pub fn error(status: u16, code: impl Into<String>) -> Self {
        Self {
            effect: Effect::Error {
                status,
                code: code.into(),
                message: "injected fault".to_owned(),
            },
            after_effect: false,
        }
    }

    /// A closed connection without a response.
    #[must_use]
    pub fn connection_closed() -> Self {
        Self { effect: Effect::CloseConnection, after_effect: false }
    }

    /// No response until the client closes the connection: a client without a timeout waits forever.
    #[must_use]
    pub fn hang() -> Self {
        Self { effect: Effect::Hang, after_effect: false }
    }

    /// A conflict with another transaction in progress: `TransactionConflictException` (400) for `PutItem`,
    /// `UpdateItem` and `DeleteItem`; for `TransactWriteItems` and `TransactGetItems`
    /// `TransactionCanceledException` (400), whose reasons name the item at the index `item` (modulo their
    /// number). Other calls are not affected. AWS's SDKs retry neither.
    #[must_use]
    pub fn transaction_conflict(item: usize) -> Self {
        Self { effect: Effect::TransactionConflict { item }, after_effect: false }
    }

    /// Whether AWS can respond with this fault.
    fn is_possible(&self, service: Service, operation: &str) -> bool {
        match self.effect {
            Effect::TransactionConflict { .. } => {
                service == Service::DynamoDb && can_conflict(operation)
            }
            Effect::Error { .. } | Effect::CloseConnection | Effect::Hang => true,
        }
    }

    /// Runs the call and replaces only its response: the client cannot know that the call took effect.
    #[must_use]
    pub fn after_effect(mut self) -> Self {
        self.after_effect = true;
        self
    }
}

fn can_conflict(operation: &str) -> bool {
    let operations =
        ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "TransactGetItems"];
    operations.contains(&operation)
}

type Decide = dyn Fn(Service, &str) -> Option<Fault> + Send + Sync;
type Observe = dyn Fn(CompletedCall<'_>) + Send + Sync;

/// A call that took effect, even if a fault replaced its response.
#[derive(Debug, Clone, Copy)]
pub struct CompletedCall<'a> {
    /// Called service.
    pub service: Service,
    /// AWS's name of the operation.
    pub operation: &'a str,
    /// Request body: JSON.
    pub request: &'a [u8],
}

#[derive(Default)]
struct State {
    rules: HashMap<(Service, String), Rule>,
    calls: HashMap<(Service, String), u64>,
    decide: Option<Arc<Decide>>,
    observe: Option<Arc<Observe>>,
}

struct Rule {
    fault: Fault,
    /// `None`: unlimited.
    remaining: Option<u64>,
}

/// Handle that injects faults. Clones share one state.
///
/// `operation` is AWS's name (`SendMessage`, `UploadPart`, `TransactWriteItems`). In a rule, `*` stands for
/// every operation of the service without a rule.
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
    /// Fails the next `calls` calls of the operation. Retries of the AWS SDKs count.
    pub fn fail_next(&self, service: Service, operation: &str, calls: u64, fault: Fault) {
        self.put_rule(service, operation, Some(calls), fault);
    }

    /// Fails every call of the operation until [`clear`](Self::clear) or [`clear_all`](Self::clear_all).
    pub fn fail_until_cleared(&self, service: Service, operation: &str, fault: Fault) {
        self.put_rule(service, operation, None, fault);
    }

    /// Calls `decide` for every call without a rule, e.g. to draw faults from a seed.
    pub fn decide_with(
        &self,
        decide: impl Fn(Service, &str) -> Option<Fault> + Send + Sync + 'static,
    ) {
        self.state.lock().decide = Some(Arc::new(decide));
    }

    /// Calls `observe` with each call that took effect, before its response is sent. Calls to S3 are not
    /// observed because their bodies are streams.
    pub fn observe_with(&self, observe: impl Fn(CompletedCall<'_>) + Send + Sync + 'static) {
        self.state.lock().observe = Some(Arc::new(observe));
    }

    /// Removes the rule for the operation.
    pub fn clear(&self, service: Service, operation: &str) {
        self.state.lock().rules.remove(&(service, operation.to_owned()));
    }

    /// Removes all rules and the function of [`decide_with`](Self::decide_with).
    pub fn clear_all(&self) {
        let mut state = self.state.lock();
        state.rules.clear();
        state.decide = None;
    }

    /// Number of calls since the start or the last [`reset_calls`](Self::reset_calls), failed calls and
    /// retries included.
    #[must_use]
    pub fn calls(&self, service: Service, operation: &str) -> u64 {
        self.state.lock().calls.get(&(service, operation.to_owned())).copied().unwrap_or(0)
    }

    /// Sets all counts to zero.
    pub fn reset_calls(&self) {
        self.state.lock().calls.clear();
    }

    /// Counts the call and returns its fault, if any.
    pub(crate) fn admit(&self, service: Service, operation: &str) -> Option<Fault> {
        let decide = {
            let mut state = self.state.lock();
            *state.calls.entry((service, operation.to_owned())).or_default() += 1;
            for name in [operation, "*"] {
                if let Some(fault) = state.take(service, name, operation) {
                    return Some(fault);
                }
            }
            state.decide.clone()
        };
        // Called without the lock: it may use this handle.
        let fault = decide.and_then(|decide| decide(service, operation));
        fault.filter(|fault| fault.is_possible(service, operation))
    }

    /// Passes a call that took effect to the observer.
    pub(crate) fn notify(&self, call: CompletedCall<'_>) {
        let observe = self.state.lock().observe.clone();
        // Called without the lock: it may use this handle.
        if let Some(observe) = observe {
            observe(call);
        }
    }

    fn put_rule(&self, service: Service, operation: &str, remaining: Option<u64>, fault: Fault) {
        self.state.lock().rules.insert((service, operation.to_owned()), Rule { fault, remaining });
    }
}

impl State {
    /// The fault of the rule with this name for a call of `operation`.
    fn take(&mut self, service: Service, name: &str, operation: &str) -> Option<Fault> {
        let rule = self.rules.get_mut(&(service, name.to_owned()))?;
        if !rule.fault.is_possible(service, operation) {
            return None;
        }
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
    fn counted_rule_ends() {
        let faults = Faults::default();
        let fault = Fault::error(503, "ServiceUnavailable");
        faults.fail_next(Service::Sqs, "SendMessage", 2, fault.clone());
        assert_eq!(faults.admit(Service::Sqs, "ReceiveMessage"), None);
        assert_eq!(faults.admit(Service::Sqs, "SendMessage"), Some(fault.clone()));
        assert_eq!(faults.admit(Service::Sqs, "SendMessage"), Some(fault));
        assert_eq!(faults.admit(Service::Sqs, "SendMessage"), None);
        assert_eq!(faults.calls(Service::Sqs, "SendMessage"), 3);
    }

    #[test]
    fn wildcard_rule_holds_until_cleared() {
        let faults = Faults::default();
        faults.fail_until_cleared(Service::Kms, "*", Fault::connection_closed());
        assert!(faults.admit(Service::Kms, "Decrypt").is_some());
        assert!(faults.admit(Service::S3, "GetObject").is_none());
        faults.clear(Service::Kms, "*");
        assert!(faults.admit(Service::Kms, "Decrypt").is_none());
    }

    #[test]
    fn decision_may_use_the_handle() {
        let faults = Faults::default();
        let inner = faults.clone();
        faults.decide_with(move |service, operation| {
            (inner.calls(service, operation) == 2).then(Fault::connection_closed)
        });
        assert!(faults.admit(Service::S3, "PutObject").is_none());
        assert!(faults.admit(Service::S3, "PutObject").is_some());
    }
}
