//! Faults of AWS: those of single calls, and the behaviour that DynamoDB documents for concurrent use.

use clap::ValueEnum;
use reelay_embedded_aws::{Fault, Service};
use reelay_zoom_sim::Control;

use crate::rng::SeededRng;

/// Share of calls that fail while faults are injected.
const FAULT_PERCENT: usize = 6;

/// Share of writes that conflict with another transaction, in percent.
const CONFLICT_PERCENT: usize = 4;

/// Share of calls without a response, in thousandths.
const HANG_PER_MILLE: usize = 6;

/// Behaviour of AWS beyond errors and closed connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AwsCondition {
    /// Indexes receive a write some calls later.
    IndexLag,
    /// Writes conflict with transactions in progress.
    Conflicts,
    /// Calls receive no response, before or after their effect.
    Hangs,
}

impl AwsCondition {
    /// The conditions of a run that names none.
    pub const DEFAULT: &[Self] = &[];
}

/// Selects the calls that fail.
#[derive(Debug, Default)]
pub(crate) struct FaultInjector {
    /// Present while single calls fail.
    pub(crate) faults: Option<SeededRng>,
    /// Present while `conditions` hold.
    pub(crate) disturbance: Option<SeededRng>,
    pub(crate) conditions: Vec<AwsCondition>,
    /// Calls that are rejected after a refresh.
    pub(crate) rejected_calls: Option<RejectedCalls>,
    /// Calls after which a token pair may be lost.
    pub(crate) faulted_calls: usize,
    /// Conflicts and hanging calls.
    pub(crate) disturbed_calls: usize,
}

/// Calls that may save or encrypt the pair of a refresh, and that are rejected once Zoom has issued it.
#[derive(Debug)]
pub(crate) struct RejectedCalls {
    pub(crate) user_id: String,
    /// Refreshes of the grant so far; the calls after a further one are rejected.
    pub(crate) refreshes: u32,
    /// Number of calls.
    pub(crate) count: usize,
}

impl FaultInjector {
    /// Returns the fault of the next call.
    pub(crate) fn next_fault(
        &mut self,
        service: Service,
        operation: &str,
        zoom: &Control,
    ) -> Option<Fault> {
        // The number of S3 calls depends on timing, so faults in them are not reproducible.
        if service == Service::S3 {
            return None;
        }
        if let Some(fault) = self.faults.as_mut().and_then(draw_fault) {
            self.faulted_calls += 1;
            return Some(fault);
        }
        let is_refreshed = |calls: &&mut RejectedCalls| {
            let grant = zoom.live_grant(&calls.user_id);
            calls.count > 0 && grant.is_some_and(|grant| grant.refreshes > calls.refreshes)
        };
        if may_save_pair(service, operation)
            && let Some(calls) = self.rejected_calls.as_mut().filter(is_refreshed)
        {
            calls.count -= 1;
            self.disturbed_calls += 1;
            return Some(Fault::error(400, "AccessDeniedException"));
        }
        let fault = draw_disturbance(self.disturbance.as_mut()?, &self.conditions)?;
        self.disturbed_calls += 1;
        Some(fault)
    }
}

/// Returns no fault, an error response or a closed connection, each before or after the call's effect.
fn draw_fault(rng: &mut SeededRng) -> Option<Fault> {
    if !rng.percent(FAULT_PERCENT) {
        return None;
    }
    let fault = if rng.percent(50) {
        Fault::error(400, "AccessDeniedException")
    } else {
        Fault::connection_closed()
    };
    Some(if rng.percent(50) { fault.after_effect() } else { fault })
}

fn may_save_pair(service: Service, operation: &str) -> bool {
    match service {
        Service::Kms => true,
        Service::DynamoDb => matches!(operation, "PutItem" | "UpdateItem" | "TransactWriteItems"),
        _ => false,
    }
}

fn draw_disturbance(rng: &mut SeededRng, conditions: &[AwsCondition]) -> Option<Fault> {
    if conditions.contains(&AwsCondition::Conflicts) && rng.percent(CONFLICT_PERCENT) {
        return Some(Fault::transaction_conflict(rng.below(100)));
    }
    if conditions.contains(&AwsCondition::Hangs) && rng.below(1_000) < HANG_PER_MILLE {
        let fault = Fault::hang();
        return Some(if rng.percent(50) { fault.after_effect() } else { fault });
    }
    None
}
