//! The app's server: it mints tokens and calls `/v1`.

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reelay_devstack::Stack;
use reelay_runtime::environment::Clock;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use url::Url;

/// The app's server.
#[derive(Debug, Clone)]
pub struct App {
    http: reqwest::Client,
    url: String,
    secret: String,
    clock: Clock,
}

/// An answer of `/v1`.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// `Content-Type`.
    pub content_type: String,
    /// Body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The problem's `code`.
    pub fn code(&self) -> String {
        assert_eq!(self.content_type, "application/problem+json", "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status, "{self:?}");
        body["code"].as_str().unwrap().to_owned()
    }
}

impl App {
    pub(crate) fn new(stack: &Stack) -> Self {
        Self {
            http: reqwest::Client::new(),
            url: stack.url().to_owned(),
            secret: stack.config().secrets.app_secret.clone(),
            clock: stack.clock().clone(),
        }
    }

    /// Now, as the functions see it.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Claims that are good for both audiences but for `aud`.
    pub fn claims(&self, audience: &str, user: &str) -> Value {
        let now = self.now().as_second();
        json!({"aud": audience, "sub": user, "iat": now, "exp": now + 300})
    }

    /// Signs claims as the app does.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(claims, &Header::new(Algorithm::HS256), &self.secret)
    }

    /// Signs claims in another way.
    pub fn sign_with(&self, claims: &Value, header: &Header, secret: &str) -> String {
        encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    }

    /// A connect token for a user.
    pub fn connect_token(&self, user: &str) -> String {
        self.sign(&self.claims("reelay:connect", user))
    }

    /// A connect token with more in it.
    pub fn connect_token_with(&self, user: &str, more: Value) -> String {
        let mut claims = self.claims("reelay:connect", user);
        claims
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        self.sign(&claims)
    }

    /// The address behind the app's button.
    pub fn connect_url(&self, token: &str) -> String {
        let mut url = Url::parse(&format!("{}/zoom/connect", self.url)).unwrap();
        url.query_pairs_mut().append_pair("token", token);
        url.into()
    }

    /// An API token for a user.
    pub fn api_token(&self, user: &str) -> String {
        self.sign(&self.claims("reelay:api", user))
    }

    /// Calls `/v1` in a user's name.
    pub async fn call(&self, method: Method, path: &str, user: &str) -> Answer {
        self.call_with(method, path, Some(&self.api_token(user)), None)
            .await
    }

    /// Calls with any token and body.
    pub async fn call_with(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<String>,
    ) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        let answer = request.send().await.unwrap();
        Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            content_type: answer
                .headers()
                .get("content-type")
                .map(|value| value.to_str().unwrap().to_owned())
                .unwrap_or_default(),
            body: answer.text().await.unwrap(),
        }
    }

    /// `GET`.
    pub async fn get(&self, path: &str, user: &str) -> Answer {
        self.call(Method::GET, path, user).await
    }

    /// Posts a claim in a user's name.
    pub async fn confirm(&self, user: &str, claim: &str) -> Answer {
        let body = json!({"claim": claim}).to_string();
        self.call_with(
            Method::POST,
            "/v1/links/confirm",
            Some(&self.api_token(user)),
            Some(body),
        )
        .await
    }

    /// A user's links.
    pub async fn links(&self, user: &str) -> Vec<Value> {
        self.get("/v1/links", user).await.json()["links"]
            .as_array()
            .unwrap()
            .clone()
    }

    /// A user's newest recordings.
    pub async fn recordings(&self, user: &str) -> Vec<Value> {
        self.get("/v1/recordings?limit=100", user).await.json()["recordings"]
            .as_array()
            .unwrap()
            .clone()
    }
}
