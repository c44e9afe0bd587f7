//! Writes whose loss would lose tokens that Zoom issued: retried, and diverted to the other table.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reelay_runtime::AwsError;
use reelay_runtime::environment::Clock;
use reelay_runtime::random;

use crate::links::LinkTable;
use crate::sessions::{ExchangeItem, SessionTable};

/// Maximum delay between two rounds. The SDK's own retries come on top.
const MAX_DELAY_MILLISECONDS: u64 = 1_000;

/// Number of attempts at the pair's own table before the other table is tried as well.
const OWN_ATTEMPTS: u32 = 2;

/// Saves a pair in its own table or, if that keeps failing, in the other table (returns `None`), from which a job
/// moves it. Retries both until `deadline`, because throttling, transaction conflicts and outages are temporary.
///
/// # Errors
/// The last error of the own table, at once if it `is_final`.
pub async fn save_or_divert<T, E, Own, Other>(
    clock: &Clock,
    deadline: Timestamp,
    own: impl Fn() -> Own,
    is_final: impl Fn(&E) -> bool,
    other: impl Fn() -> Other,
) -> Result<Option<T>, E>
where
    Own: Future<Output = Result<T, E>>,
    Other: Future<Output = Result<(), AwsError>>,
{
    for round in 1.. {
        let error = match own().await {
            Ok(saved) => return Ok(Some(saved)),
            Err(error) => error,
        };
        if is_final(&error) {
            return Err(error);
        }
        if round >= OWN_ATTEMPTS {
            match other().await {
                Ok(()) => return Ok(None),
                Err(failure) => tracing::error!(error = %failure, "token pair not saved anywhere"),
            }
        }
        let delay = delay_milliseconds(round, random::bytes());
        if clock.now() + SignedDuration::from_millis(i64::try_from(delay).unwrap_or(0)) >= deadline
        {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    unreachable!("the rounds end at the deadline")
}

/// Saves an exchange with its tokens in the Sessions table, else in the Links table. Returns whether the
/// Sessions table has it.
///
/// # Errors
/// If neither table could be written until `deadline`.
pub async fn save_exchange(
    sessions: &SessionTable,
    links: &LinkTable,
    clock: &Clock,
    deadline: Timestamp,
    key: &str,
    item: &ExchangeItem,
) -> Result<bool, AwsError> {
    let saved = save_or_divert(
        clock,
        deadline,
        || sessions.save_exchange(key, item),
        |_| false,
        || links.save_spare_exchange(key, item),
    );
    Ok(saved.await?.is_some())
}

/// Exponential backoff with jitter: between half and all of 50 ms, doubled each round.
fn delay_milliseconds(round: u32, [random]: [u8; 1]) -> u64 {
    let max = (25u64 << round.min(6)).min(MAX_DELAY_MILLISECONDS);
    max / 2 + max * u64::from(random) / 510
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_second() {
        assert_eq!(delay_milliseconds(1, [255]), 50);
        assert_eq!(delay_milliseconds(1, [0]), 25);
        assert_eq!(delay_milliseconds(99, [255]), MAX_DELAY_MILLISECONDS);
    }
}
