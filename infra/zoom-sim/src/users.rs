//! Users and their accounts.

use jiff::Timestamp;
use serde::Serialize;

use crate::clock::iso;
use crate::ids::Ids;
use crate::json::{Object, object};

/// A Zoom user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// The user's id, which events call `host_id`.
    pub id: String,
    /// The account, that is the company; shared by colleagues.
    pub account_id: String,
    /// A name of the account for the pages; the API does not show it.
    pub account_name: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// E-mail address.
    pub email: String,
    /// IANA time zone.
    pub timezone: String,
    /// Scopes that this user grants; `None` means those of the configuration.
    pub scopes: Option<Vec<String>>,
    /// Whether the user was removed from the account: tokens no longer refresh.
    pub removed: bool,
    /// Time of creation.
    pub created_at: Timestamp,
}

/// A user to create. Missing fields are generated.
#[derive(Debug, Clone, Default)]
pub struct NewUser {
    /// The user's id.
    pub id: Option<String>,
    /// The account; that of another user makes the two colleagues.
    pub account_id: Option<String>,
    /// Scopes that this user grants, if not those of the configuration.
    pub scopes: Option<Vec<String>>,
}

impl User {
    pub(crate) fn new(new: NewUser, ids: &Ids, now: Timestamp) -> Self {
        let id = new.id.unwrap_or_else(|| ids.zoom());
        let letters = id.chars().filter(char::is_ascii_alphanumeric);
        let tag: String = letters.take(6).collect();
        Self {
            account_id: new.account_id.unwrap_or_else(|| ids.zoom()),
            account_name: "An account".into(),
            first_name: "Sample".into(),
            last_name: format!("Host {tag}"),
            email: format!("{}@example.test", tag.to_ascii_lowercase()),
            timezone: "Europe/Berlin".into(),
            scopes: new.scopes,
            removed: false,
            created_at: now,
            id,
        }
    }

    /// Returns first and last name.
    #[must_use]
    pub fn display_name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name)
    }

    /// The response of `GET /users/me`.
    pub(crate) fn profile(&self, now: Timestamp) -> Object {
        let none: [&str; 0] = [];
        // An arbitrary number that stays the same for an account.
        let bytes = self.account_id.bytes();
        let number = bytes.fold(10_000_000, |sum, byte| sum + u64::from(byte) * 7919);
        let pmi = 5_550_000_000 + number % 10_000_000;
        object! {
            "id": self.id, "account_id": self.account_id, "account_number": number, "email": self.email,
            "first_name": self.first_name, "last_name": self.last_name, "display_name": self.display_name(),
            "type": 2, "status": if self.removed { "inactive" } else { "active" },
            "role_name": "Member", "role_id": "2", "pmi": pmi, "use_pmi": false,
            "personal_meeting_url": format!("https://us06web.zoom.us/j/{pmi}"),
            "timezone": self.timezone, "language": "en-US", "dept": "", "verified": 1,
            "created_at": iso(self.created_at), "user_created_at": iso(self.created_at),
            "last_login_time": iso(now), "last_client_version": "6.0.0.1(mac)",
            "pic_url": format!("https://us06web.zoom.us/p/v2/{}", self.id), "cms_user_id": "",
            "jid": format!("{}@xmpp.zoom.us", self.id.to_ascii_lowercase()), "login_types": [1],
            "group_ids": none, "im_group_ids": none, "phone_numbers": none, "custom_attributes": none,
            "cluster": "us06", "zoom_one_type": 0, "plan_united_type": "1",
        }
    }
}

/// The initial users: two colleagues and two users of other accounts. Their ids are fixed, so that
/// scripts can name them. One begins with `-` and one contains `_`, as real ids may.
pub(crate) fn initial_users(now: Timestamp) -> Vec<User> {
    let users = "UserAdaBerg00000000001|Acct_Northwind00000001|Northwind School|Ada|Berg|Europe/Berlin
                 UserBenCole_0000000002|Acct_Northwind00000001|Northwind School|Ben|Cole|Europe/Berlin
                 -UserCemDiaz0000000003|AcctContoso-0000000002|Contoso Research|Cem|Díaz|America/Lima
                 UserEvaFalk00000000004|AcctSoloCoach000000003|Eva Falk Coaching|Eva|Falk|Asia/Tokyo";
    let new = |line: &str| {
        let mut fields = line.trim().split('|').map(ToOwned::to_owned);
        let mut next = || fields.next().unwrap_or_default();
        let (id, account_id, account_name) = (next(), next(), next());
        let (first_name, last_name, timezone) = (next(), next(), next());
        User {
            id,
            account_id,
            account_name,
            email: format!("{}@example.test", first_name.to_lowercase()),
            first_name,
            last_name,
            timezone,
            scopes: None,
            removed: false,
            created_at: now,
        }
    };
    users.lines().map(new).collect()
}
