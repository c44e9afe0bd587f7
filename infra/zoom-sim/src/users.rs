//! Users and their accounts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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
    /// Plan: 1 Basic, 2 Licensed.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Scopes that this user grants; `None` means those of the configuration.
    pub scopes: Option<Vec<String>>,
    /// Whether the user was removed from the account: tokens no longer refresh.
    pub removed: bool,
    /// Time of creation.
    pub created_at: Timestamp,
}

/// A user to create. Missing fields are generated.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewUser {
    /// The user's id.
    pub id: Option<String>,
    /// The account; that of another user makes the two colleagues.
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
    /// Scopes that this user grants, if not those of the configuration.
    pub scopes: Option<Vec<String>>,
}

impl User {
    pub(crate) fn new(new: NewUser, ids: &Ids, now: Timestamp) -> Self {
        let id = new.id.unwrap_or_else(|| ids.zoom());
        let letters = id.chars().filter(char::is_ascii_alphanumeric);
        let tag: String = letters.take(6).collect();
        let email = || format!("{}@example.test", tag.to_ascii_lowercase());
        Self {
            account_id: new.account_id.unwrap_or_else(|| ids.zoom()),
            account_name: new.account_name.unwrap_or_else(|| "An account".into()),
            first_name: new.first_name.unwrap_or_else(|| "Sample".into()),
            last_name: new.last_name.unwrap_or_else(|| format!("Host {tag}")),
            email: new.email.unwrap_or_else(email),
            timezone: new.timezone.unwrap_or_else(|| "Europe/Berlin".into()),
            kind: new.kind.unwrap_or(2),
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
            "type": self.kind, "status": if self.removed { "inactive" } else { "active" },
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
pub(crate) fn initial_users() -> Vec<NewUser> {
    let northwind = ("Acct_Northwind00000001", "Northwind School");
    let contoso = ("AcctContoso-0000000002", "Contoso Research");
    let solo = ("AcctSoloCoach000000003", "Eva Falk Coaching");
    let users = [
        (
            "UserAdaBerg00000000001",
            northwind,
            "Ada Berg",
            "ada@northwind.example",
            "Europe/Berlin",
        ),
        (
            "UserBenCole_0000000002",
            northwind,
            "Ben Cole",
            "ben@northwind.example",
            "Europe/Berlin",
        ),
        (
            "-UserCemDiaz0000000003",
            contoso,
            "Cem Díaz",
            "cem@contoso.example",
            "America/Lima",
        ),
        (
            "UserEvaFalk00000000004",
            solo,
            "Eva Falk",
            "eva@falk.example",
            "Asia/Tokyo",
        ),
    ];
    let new = |(id, (account_id, account), name, email, timezone): (
        &str,
        (&str, &str),
        &str,
        &str,
        &str,
    )| {
        let (first, last) = name.split_once(' ').unwrap_or_default();
        NewUser {
            id: Some(id.into()),
            account_id: Some(account_id.into()),
            account_name: Some(account.into()),
            first_name: Some(first.into()),
            last_name: Some(last.into()),
            email: Some(email.into()),
            timezone: Some(timezone.into()),
            ..NewUser::default()
        }
    };
    users.map(new).into()
}
