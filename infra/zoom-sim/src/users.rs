//! The people of this Zoom and the accounts they belong to.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::iso;
use crate::ids::Ids;
use crate::ordered::Object;

/// A Zoom user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// The user's id, which events call `host_id`.
    pub id: String,
    /// The account, that is the company; shared by colleagues.
    pub account_id: String,
    /// A name for the account, for people who look at the pages; the API does not tell it.
    pub account_name: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// E-mail address.
    pub email: String,
    /// IANA time zone.
    pub timezone: String,
    /// Plan: 1 Basic, 2 Licensed.
    #[serde(rename = "type")]
    pub kind: u8,
    /// What this user grants; `None` means the scopes of the configuration.
    pub scopes: Option<Vec<String>>,
    /// Removed from the account: tokens no longer refresh.
    pub removed: bool,
    /// When the user came to be.
    pub created_at: Timestamp,
}

/// What to create a user from. Everything left out is made up.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewUser {
    /// The user's id.
    pub id: Option<String>,
    /// The account; name an existing one to create a colleague.
    pub account_id: Option<String>,
    /// A name for the account.
    pub account_name: Option<String>,
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// IANA time zone.
    pub timezone: Option<String>,
    /// Plan: 1 Basic, 2 Licensed.
    #[serde(rename = "type")]
    pub kind: Option<u8>,
    /// What this user grants, if not the scopes of the configuration.
    pub scopes: Option<Vec<String>>,
}

impl User {
    pub(crate) fn new(new: NewUser, ids: &Ids, now: Timestamp) -> Self {
        let id = new.id.unwrap_or_else(|| ids.zoom());
        let tag: String = id
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(6)
            .collect();
        Self {
            account_id: new.account_id.unwrap_or_else(|| ids.zoom()),
            account_name: new.account_name.unwrap_or_else(|| "An account".into()),
            first_name: new.first_name.unwrap_or_else(|| "Sample".into()),
            last_name: new.last_name.unwrap_or_else(|| format!("Host {tag}")),
            email: new
                .email
                .unwrap_or_else(|| format!("{}@example.test", tag.to_ascii_lowercase())),
            timezone: new.timezone.unwrap_or_else(|| "Europe/Berlin".into()),
            kind: new.kind.unwrap_or(2),
            scopes: new.scopes,
            removed: false,
            created_at: now,
            id,
        }
    }

    /// First and last name.
    #[must_use]
    pub fn display_name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name)
    }

    /// The answer of `GET /users/me`.
    pub(crate) fn profile(&self, now: Timestamp) -> Object {
        let none: [&str; 0] = [];
        // Not a fact about the user, but it has to be a number that stays the same.
        let number: u64 = self
            .account_id
            .bytes()
            .fold(10_000_000, |sum, byte| sum + u64::from(byte) * 7919);
        let pmi = 5_550_000_000 + number % 10_000_000;
        Object::new()
            .put("id", &self.id)
            .put("account_id", &self.account_id)
            .put("account_number", number)
            .put("email", &self.email)
            .put("first_name", &self.first_name)
            .put("last_name", &self.last_name)
            .put("display_name", self.display_name())
            .put("type", self.kind)
            .put("status", if self.removed { "inactive" } else { "active" })
            .put("role_name", "Member")
            .put("role_id", "2")
            .put("pmi", pmi)
            .put("use_pmi", false)
            .put(
                "personal_meeting_url",
                format!("https://us06web.zoom.us/j/{pmi}"),
            )
            .put("timezone", &self.timezone)
            .put("language", "en-US")
            .put("dept", "")
            .put("verified", 1)
            .put("created_at", iso(self.created_at))
            .put("user_created_at", iso(self.created_at))
            .put("last_login_time", iso(now))
            .put("last_client_version", "6.0.0.1(mac)")
            .put(
                "pic_url",
                format!("https://us06web.zoom.us/p/v2/{}", self.id),
            )
            .put("cms_user_id", "")
            .put(
                "jid",
                format!("{}@xmpp.zoom.us", self.id.to_ascii_lowercase()),
            )
            .put("login_types", [1])
            .put("group_ids", none)
            .put("im_group_ids", none)
            .put("phone_numbers", none)
            .put("custom_attributes", none)
            .put("cluster", "us06")
            .put("zoom_one_type", 0)
            .put("plan_united_type", "1")
    }
}

/// The users every simulator begins with: two colleagues, and two people from elsewhere. Ids are fixed,
/// so that scripts can name them; one begins with `-`, one holds `_`, as real ids may.
pub(crate) fn seeded() -> Vec<NewUser> {
    let person = |id: &str,
                  account_id: &str,
                  account: &str,
                  first: &str,
                  last: &str,
                  email: &str,
                  zone: &str| NewUser {
        id: Some(id.into()),
        account_id: Some(account_id.into()),
        account_name: Some(account.into()),
        first_name: Some(first.into()),
        last_name: Some(last.into()),
        email: Some(email.into()),
        timezone: Some(zone.into()),
        ..NewUser::default()
    };
    const NORTHWIND: &str = "Acct_Northwind00000001";
    vec![
        person(
            "UserAdaBerg00000000001",
            NORTHWIND,
            "Northwind School",
            "Ada",
            "Berg",
            "ada@northwind.example",
            "Europe/Berlin",
        ),
        person(
            "UserBenCole_0000000002",
            NORTHWIND,
            "Northwind School",
            "Ben",
            "Cole",
            "ben@northwind.example",
            "Europe/Berlin",
        ),
        person(
            "-UserCemDiaz0000000003",
            "AcctContoso-0000000002",
            "Contoso Research",
            "Cem",
            "Díaz",
            "cem@contoso.example",
            "America/Lima",
        ),
        person(
            "UserEvaFalk00000000004",
            "AcctSoloCoach000000003",
            "Eva Falk Coaching",
            "Eva",
            "Falk",
            "eva@falk.example",
            "Asia/Tokyo",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_users_look_real_and_two_are_colleagues() {
        let users = seeded();
        for user in &users {
            assert_eq!(user.id.as_ref().map(String::len), Some(22));
            assert_eq!(user.account_id.as_ref().map(String::len), Some(22));
        }
        assert_eq!(users[0].account_id, users[1].account_id);
    }
}
