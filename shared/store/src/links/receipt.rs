//! Erasure receipts: when, why and how much was erased. Operators can show them; they contain no personal
//! data.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use jiff::fmt::strtime;
use reelay_domain::erasure::{ErasureTotals, RemovalReason};
use reelay_domain::link::{GrantChange, GrantState, GrantStatus};

use crate::item::{Item, text};
use reelay_runtime::random;

/// The receipt of a change, or `None` if it erases nothing. It is part of the erasing transaction.
pub(super) fn receipt(
    change: &GrantChange,
    before: &GrantState,
    after: &GrantState,
    now: Timestamp,
) -> Option<Item> {
    let has_tokens = |state: &GrantState| {
        state.marking.is_some()
            || matches!(state.grant, Some(GrantStatus::Live | GrantStatus::Revoking))
    };
    let tokens = has_tokens(before) && !has_tokens(after);
    let links = before.links.len().saturating_sub(after.links.len());
    if !tokens && links == 0 {
        return None;
    }
    item(
        reason(change),
        now,
        [("tokens", AttributeValue::Bool(tokens)), ("links", AttributeValue::N(links.to_string()))],
    )
}

/// The receipt of a completed erasure of recordings, or `None` if there were none.
pub(super) fn of_erasure(
    reason: RemovalReason,
    totals: &ErasureTotals,
    now: Timestamp,
) -> Option<Item> {
    if totals.recordings == 0 && totals.objects == 0 {
        return None;
    }
    let reason = match reason {
        RemovalReason::Disconnected => "recordings_after_unlink",
        RemovalReason::Deauthorized => "recordings_after_deauthorization",
        RemovalReason::Erased => "recordings_by_operator",
    };
    let count = |count: u64| AttributeValue::N(count.to_string());
    let counts = [
        ("recordings", count(totals.recordings)),
        ("files", count(totals.files)),
        ("objects", count(totals.objects)),
        ("bytes", count(totals.bytes)),
        ("uploads", count(totals.uploads)),
    ];
    item(reason, now, counts)
}

fn item<const N: usize>(
    reason: &str,
    now: Timestamp,
    counts: [(&str, AttributeValue); N],
) -> Option<Item> {
    let month = strtime::format("%Y-%m", now).ok()?;
    // The random part makes the key unique.
    let entry = format!("{now}#{:016x}", u64::from_be_bytes(random::bytes()));
    let mut item = Item::from([
        ("zoom_user".to_owned(), text(format!("erasures#{month}"))),
        ("entry".to_owned(), text(entry)),
        ("reason".to_owned(), text(reason)),
    ]);
    item.extend(counts.map(|(name, count)| (name.to_owned(), count)));
    Some(item)
}

fn reason(change: &GrantChange) -> &'static str {
    match change {
        GrantChange::Consent { .. }
        | GrantChange::Confirm { .. }
        | GrantChange::Revive
        | GrantChange::SetIssue { .. }
        | GrantChange::RequestBackfill { .. } => "replaced",
        GrantChange::Disconnect { .. } => "disconnected",
        GrantChange::Erase { .. } => "erased",
        GrantChange::ExpirePending { .. } => "never_confirmed",
        GrantChange::RequireReauthorization { .. } => "refused_by_zoom",
        GrantChange::Deauthorize | GrantChange::DeauthorizeEarlier { .. } => "deauthorized",
        GrantChange::CompleteRevocation => "revoked",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reelay_domain::ids::{AppUserId, LinkId, ZoomUser};
    use reelay_domain::link::{Link, LinkStatus};

    fn active() -> GrantState {
        let app_user: AppUserId = "alice-the-app-user".parse().unwrap();
        let zoom_user = ZoomUser {
            account_id: "TheAccount".parse().unwrap(),
            user_id: "TheZoomUser".parse().unwrap(),
        };
        let link = Link {
            id: LinkId::derive(&app_user, &zoom_user),
            app_user,
            zoom_user,
            display_name: "Their Name".to_owned(),
            status: LinkStatus::Active,
            created_at: Timestamp::UNIX_EPOCH,
            consented_at: None,
            activated_at: None,
            pending_until: None,
            cut_off_at: None,
            coverage: Default::default(),
            inactive_since: None,
            issue: None,
            email: None,
            last_event_at: None,
            previous_zoom_users: Vec::new(),
        };
        GrantState { grant: Some(GrantStatus::Live), links: vec![link], marking: None }
    }

    #[test]
    fn receipt_contains_no_personal_data() {
        let now: Timestamp = "2026-11-23T17:00:00Z".parse().unwrap();
        let before = active();
        let after = before.apply(&GrantChange::Deauthorize, now).unwrap();
        let receipt = receipt(&GrantChange::Deauthorize, &before, &after, now).unwrap();
        assert_eq!(receipt["zoom_user"], AttributeValue::S("erasures#2026-11".to_owned()));
        assert_eq!(receipt["reason"], AttributeValue::S("deauthorized".to_owned()));
        assert_eq!(receipt["tokens"], AttributeValue::Bool(true));
        assert_eq!(receipt["links"], AttributeValue::N("1".to_owned()));
        let text = format!("{receipt:?}");
        let link = &before.links[0];
        for private in ["alice", "TheAccount", "TheZoomUser", "Their Name", link.id.as_str()] {
            assert!(!text.contains(private), "{private}");
        }
    }

    #[test]
    fn harmless_change_has_no_receipt() {
        let now = Timestamp::UNIX_EPOCH;
        let before = active();
        let app_user = before.links[0].app_user.clone();
        let confirm = GrantChange::Confirm { app_user };
        let after = before.apply(&confirm, now).unwrap();
        assert_eq!(receipt(&confirm, &before, &after, now), None);
    }
}
