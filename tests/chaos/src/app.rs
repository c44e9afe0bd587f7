//! Actions of users, browsers and the app's server: connect, visit the callback, confirm, disconnect.

use anyhow::{Context as _, anyhow, ensure};
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderName, Method};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use oauth_callback::OauthCallback;
use reelay_runtime::http::{Body, Request, Response};
use serde_json::{Value, json};
use url::Url;

use crate::world::World;

/// A redirect from Zoom to the callback that the browser has not followed yet.
#[derive(Debug, Clone)]
pub(crate) struct CallbackVisit {
    app_user: String,
    location: String,
    cookie: String,
}

/// The link claim that the browser brings back to the app.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    app_user: String,
    text: String,
}

impl CallbackVisit {
    /// Sends the request to `/zoom/callback`; returns the claim of a successful response.
    pub(crate) async fn send(&self, callback: &OauthCallback) -> anyhow::Result<Option<Claim>> {
        let request =
            http::Request::get(&self.location).header(COOKIE, &self.cookie).body(Body::Empty)?;
        let response = Box::pin(callback.handle(request)).await;
        let location = header(&response, LOCATION).and_then(|location| Url::parse(location).ok());
        let claim = location.and_then(|location| {
            let (_, claim) = location.query_pairs().find(|(name, _)| name == "zoom_link")?;
            Some(claim.into_owned())
        });
        Ok(claim.map(|text| Claim { app_user: self.app_user.clone(), text }))
    }
}

impl World {
    /// Starts the authorization and consents at Zoom, up to the redirect to the callback.
    pub(crate) async fn consent(
        &self,
        app_user: &str,
        zoom_user: &str,
    ) -> anyhow::Result<CallbackVisit> {
        let token = self.token("reelay:connect", app_user)?;
        let uri = format!("/zoom/connect?token={token}");
        let request = http::Request::get(uri).body(Body::Empty)?;
        let start = Box::pin(self.warm.oauth_start()?.handle(request)).await;
        let cookie = header(&start, SET_COOKIE).context("connect sets no cookie")?;
        let authorize = header(&start, LOCATION).context("connect does not redirect to Zoom")?;
        let url = format!("{authorize}&sim_decision=allow&sim_user={zoom_user}");
        let response = self.http.get(url).send().await?;
        let location = response.headers().get(LOCATION);
        let location = location.context("Zoom does not redirect to the callback")?;
        let location = Url::parse(location.to_str()?)?;
        Ok(CallbackVisit {
            app_user: app_user.to_owned(),
            location: location[url::Position::BeforePath..].to_owned(),
            cookie: cookie.split(';').next().unwrap_or_default().to_owned(),
        })
    }

    /// Links a Zoom user to an app user and confirms the link.
    pub(crate) async fn link(&self, app_user: &str, zoom_user: &str) -> anyhow::Result<()> {
        let visit = self.consent(app_user, zoom_user).await?;
        let claim = visit.send(self.warm.oauth_callback()?).await?;
        let claim = claim.context("callback returned no claim")?;
        let request = self.confirm_request(&claim)?;
        let response = Box::pin(self.warm.app_api()?.handle(request)).await;
        ensure!(response.status() == 200, "confirm returned {}", response.status());
        Ok(())
    }

    /// Builds the request that confirms a claim for its app user.
    pub(crate) fn confirm_request(&self, claim: &Claim) -> anyhow::Result<Request> {
        self.journal.record_confirm(&claim.app_user, &claim.text);
        let body = json!({"claim": claim.text}).to_string();
        let mut request =
            self.api_request(Method::POST, "/v1/links/confirm", &claim.app_user, Body::Text(body))?;
        let json = http::HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        Ok(request)
    }

    /// Builds the request that disconnects a link of an app user.
    pub(crate) fn disconnect_request(&self, app_user: &str, link: &str) -> anyhow::Result<Request> {
        self.api_request(Method::DELETE, &format!("/v1/links/{link}"), app_user, Body::Empty)
    }

    /// Lists an app user's links as the API returns them.
    pub(crate) async fn list_links(&self, app_user: &str) -> anyhow::Result<Vec<Value>> {
        let mut body = self.get("/v1/links", app_user).await?;
        match body["links"].take() {
            Value::Array(links) => Ok(links),
            _ => Err(anyhow!("failed to list links: {body}")),
        }
    }

    /// Gets a recording as the API returns it.
    pub(crate) async fn get_recording(&self, app_user: &str, id: &str) -> anyhow::Result<Value> {
        self.get(&format!("/v1/recordings/{id}"), app_user).await
    }

    async fn get(&self, path: &str, app_user: &str) -> anyhow::Result<Value> {
        let request = self.api_request(Method::GET, path, app_user, Body::Empty)?;
        let response = Box::pin(self.warm.app_api()?.handle(request)).await;
        Ok(serde_json::from_slice(response.body().as_ref())?)
    }

    fn api_request(
        &self,
        method: Method,
        path: &str,
        app_user: &str,
        body: Body,
    ) -> anyhow::Result<Request> {
        let token = self.token("reelay:api", app_user)?;
        Ok(http::Request::builder()
            .method(method)
            .uri(path)
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .body(body)?)
    }

    fn token(&self, audience: &str, app_user: &str) -> anyhow::Result<String> {
        let now = self.stack().clock().now().as_second();
        let claims = json!({"aud": audience, "sub": app_user, "iat": now, "exp": now + 300});
        let key = EncodingKey::from_secret(self.stack().config().secrets.app_secret.as_bytes());
        Ok(encode(&Header::new(Algorithm::HS256), &claims, &key)?)
    }
}

fn header(response: &Response<Body>, name: HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}
