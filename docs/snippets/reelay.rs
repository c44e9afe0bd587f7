// cargo add http serde_json standardwebhooks reqwest -F reqwest/json; cargo add jsonwebtoken -F aws_lc_rs
use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};

pub struct Reelay { pub api_url: String, pub connect_url: String, pub app_secret: String, pub notification_secret: String }

impl Reelay {
    fn token(&self, user: &str, audience: &str) -> String {
        let now = get_current_timestamp();
        let claims = json!({"sub": user, "aud": audience, "iat": now, "exp": now + 300});
        encode(&Header::default(), &claims, &EncodingKey::from_secret(self.app_secret.as_bytes())).expect("JSON")
    }
    /// The target of the button "Connect Zoom".
    pub fn connect_url(&self, user: &str) -> String { format!("{}?token={}", self.connect_url, self.token(user, "reelay:connect")) }
    /// `user`: the user in whose session `zoom_link` arrived.
    pub async fn confirm(&self, user: &str, claim: &str) -> reqwest::Result<Value> {
        let request = reqwest::Client::new().post(format!("{}/links/confirm", self.api_url)).json(&json!({"claim": claim}));
        request.bearer_auth(self.token(user, "reelay:api")).send().await?.error_for_status()?.json().await
    }
    pub async fn recordings(&self, user: &str) -> reqwest::Result<Value> {
        let request = reqwest::Client::new().get(format!("{}/recordings?limit=100", self.api_url));
        request.bearer_auth(self.token(user, "reelay:api")).send().await?.error_for_status()?.json().await
    }
    /// `body`: the bytes as they arrived.
    pub fn verify(&self, headers: &http::HeaderMap, body: &[u8]) -> Result<(), standardwebhooks::WebhookError> {
        standardwebhooks::Webhook::new(&self.notification_secret)?.verify(body, headers)
    }
}
