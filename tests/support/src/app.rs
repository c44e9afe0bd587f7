//! The app's server: it signs tokens and calls `/v1`.

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

/// A response of `/v1`.
#[derive(Debug, Clone)]
pub struct ApiResponse {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// `Content-Type`.
    pub content_type: String,
    /// Body.
    pub body: String,
}

impl ApiResponse {
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

    /// Asserts the status and code of a problem.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str, case: &str) {
        assert_eq!((self.status, &*self.code()), (status, code), "{case}: {self:?}");
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

    /// The functions' current time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Valid claims for an audience.
    pub fn claims(&self, audience: &str, user: &str) -> Value {
        let now = self.now().as_second();
        json!({"aud": audience, "sub": user, "iat": now, "exp": now + 300})
    }

    /// Signs claims with the app secret.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(claims, &Header::new(Algorithm::HS256), &self.secret)
    }

    /// Signs claims with any header and secret.
    pub fn sign_with(&self, claims: &Value, header: &Header, secret: &str) -> String {
        encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    }

    /// A connect token for a user.
    pub fn connect_token(&self, user: &str) -> String {
        self.sign(&self.claims("reelay:connect", user))
    }

    /// A connect token with more claims.
    pub fn connect_token_with(&self, user: &str, more: Value) -> String {
        let mut claims = self.claims("reelay:connect", user);
        let more = more.as_object().unwrap().clone();
        claims.as_object_mut().unwrap().extend(more);
        self.sign(&claims)
    }

    /// The URL behind the app's button.
    pub fn connect_url(&self, token: &str) -> String {
        let mut url = Url::parse(&format!("{}/zoom/connect", self.url)).unwrap();
        url.query_pairs_mut().append_pair("token", token);
        url.into()
    }

    /// An API token for a user.
    pub fn api_token(&self, user: &str) -> String {
        self.sign(&self.claims("reelay:api", user))
    }

    /// Calls `/v1` for a user.
    pub async fn call(&self, method: Method, path: &str, user: &str) -> ApiResponse {
        let token = self.api_token(user);
        self.call_with(method, path, Some(&token), None).await
    }

    /// Calls `/v1` with any token and body.
    pub async fn call_with(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<String>,
    ) -> ApiResponse {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let response = request.send().await.unwrap();
        let headers = response.headers().clone();
        let content_type = headers.get("content-type");
        let content_type = content_type.map(|value| value.to_str().unwrap().to_owned());
        ApiResponse {
            status: response.status().as_u16(),
            content_type: content_type.unwrap_or_default(),
            headers,
            body: response.text().await.unwrap(),
        }
    }

    /// `GET` for a user.
    pub async fn get(&self, path: &str, user: &str) -> ApiResponse {
        self.call(Method::GET, path, user).await
    }

    /// `GET` with this token.
    pub async fn get_with(&self, path: &str, token: &str) -> ApiResponse {
        self.call_with(Method::GET, path, Some(token), None).await
    }

    /// `POST` of a JSON body for a user.
    pub async fn post(&self, path: &str, user: &str, body: String) -> ApiResponse {
        let token = self.api_token(user);
        self.call_with(Method::POST, path, Some(&token), Some(body)).await
    }

    /// Confirms a claim for a user.
    pub async fn confirm(&self, user: &str, claim: &str) -> ApiResponse {
        let body = json!({"claim": claim}).to_string();
        self.post("/v1/links/confirm", user, body).await
    }

    /// A user's links as every response but this list shows them: without the e-mail address.
    pub async fn links(&self, user: &str) -> Vec<Value> {
        let mut body = self.get("/v1/links", user).await.json();
        let links = body["links"].as_array_mut().unwrap();
        links.iter_mut().for_each(|link| link["zoom"]["email"] = Value::Null);
        std::mem::take(links)
    }

    /// Disconnects all links of a user.
    pub async fn disconnect_all(&self, user: &str) {
        for link in self.links(user).await {
            let path = format!("/v1/links/{}", link["id"].as_str().unwrap());
            assert_eq!(self.call(Method::DELETE, &path, user).await.status, 204);
        }
    }

    /// A user's 100 newest recordings.
    pub async fn recordings(&self, user: &str) -> Vec<Value> {
        let body = self.get("/v1/recordings?limit=100", user).await.json();
        body["recordings"].as_array().unwrap().clone()
    }
}
