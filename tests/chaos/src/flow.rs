//! What users, browsers and the app's server do: connect, come back, confirm, disconnect.

use anyhow::{Context as _, anyhow, bail};
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reelay_runtime::http::{Body, Request, Response};
use serde_json::{Value, json};
use url::Url;

use crate::world::World;

/// A browser that Zoom has sent back, with a code; the callback is not visited yet.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    /// Who began.
    pub(crate) app_user: String,
    location: String,
    cookie: String,
}

/// What the browser brought back to the app.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    /// Who began.
    pub(crate) app_user: String,
    text: String,
}

impl Arrival {
    /// What the browser asks `/zoom/callback`.
    ///
    /// # Errors
    /// If it makes no request.
    pub(crate) fn request(&self) -> anyhow::Result<Request> {
        Ok(http::Request::get(&self.location)
            .header(COOKIE, &self.cookie)
            .body(Body::Empty)?)
    }

    /// The claim in the callback's answer, if it linked.
    pub(crate) fn claim(&self, answer: &Response<Body>) -> Option<Claim> {
        let location = Url::parse(header(answer, LOCATION)?).ok()?;
        let claim = location.query_pairs().find(|(name, _)| name == "zoom_link");
        Some(Claim {
            app_user: self.app_user.clone(),
            text: claim?.1.into_owned(),
        })
    }
}

impl World {
    /// From the app's button over Zoom's consent page to the address at which Zoom sends the browser back.
    ///
    /// # Errors
    /// If anything on the way does not answer as it should.
    pub(crate) async fn consent(&self, app_user: &str, zoom_user: &str) -> anyhow::Result<Arrival> {
        let token = self.token("reelay:connect", app_user)?;
        let uri = format!("/zoom/connect?token={token}");
        let request = http::Request::get(uri).body(Body::Empty)?;
        let start = self.warm.oauth_start()?.handle(request).await;
        let cookie = header(&start, SET_COOKIE).context("no cookie")?;
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let authorize = header(&start, LOCATION).context("no redirect to Zoom")?;
        let decided = format!("{authorize}&sim_decision=allow&sim_user={zoom_user}");
        let answer = self.http.get(decided).send().await?;
        let location = answer.headers().get(LOCATION).context("no redirect back")?;
        let location = Url::parse(location.to_str()?)?;
        Ok(Arrival {
            app_user: app_user.to_owned(),
            location: format!(
                "{}?{}",
                location.path(),
                location.query().unwrap_or_default()
            ),
            cookie,
        })
    }

    /// Links a Zoom user to an app user, all the way.
    ///
    /// # Errors
    /// If anything on the way does not answer as it should.
    pub(crate) async fn link(&self, app_user: &str, zoom_user: &str) -> anyhow::Result<()> {
        let arrival = self.consent(app_user, zoom_user).await?;
        let back = self.warm.oauth_callback()?.handle(arrival.request()?).await;
        let claim = arrival.claim(&back).context("no claim")?;
        let confirmed = self.warm.app_api()?.handle(self.confirming(&claim)?).await;
        if confirmed.status() != 200 {
            bail!("not confirmed: {}", confirmed.status());
        }
        Ok(())
    }

    /// The app's server posts a claim in its user's name.
    ///
    /// # Errors
    /// If it makes no request.
    pub(crate) fn confirming(&self, claim: &Claim) -> anyhow::Result<Request> {
        let body = json!({"claim": claim.text}).to_string();
        Ok(http::Request::post("/v1/links/confirm")
            .header(AUTHORIZATION, self.bearer(&claim.app_user)?)
            .header(CONTENT_TYPE, "application/json")
            .body(Body::Text(body))?)
    }

    /// The links that the app sees of a user, with their ids.
    ///
    /// # Errors
    /// If they are not listed.
    pub(crate) async fn listed(&self, app_user: &str) -> anyhow::Result<Vec<Value>> {
        let request = http::Request::get("/v1/links")
            .header(AUTHORIZATION, self.bearer(app_user)?)
            .body(Body::Empty)?;
        let answer = self.warm.app_api()?.handle(request).await;
        let body: Value = serde_json::from_slice(answer.body().as_ref())?;
        let links = body.get("links").and_then(Value::as_array);
        links
            .cloned()
            .ok_or_else(|| anyhow!("links are not listed: {}", answer.status()))
    }

    /// A recording as the app sees it.
    ///
    /// # Errors
    /// If it is no JSON.
    pub(crate) async fn seen(&self, app_user: &str, recording: &str) -> anyhow::Result<Value> {
        let request = http::Request::get(format!("/v1/recordings/{recording}"))
            .header(AUTHORIZATION, self.bearer(app_user)?)
            .body(Body::Empty)?;
        let answer = self.warm.app_api()?.handle(request).await;
        Ok(serde_json::from_slice(answer.body().as_ref())?)
    }

    /// The app's server gives up a link in its user's name.
    ///
    /// # Errors
    /// If it makes no request.
    pub(crate) fn disconnecting(&self, app_user: &str, link: &str) -> anyhow::Result<Request> {
        Ok(http::Request::delete(format!("/v1/links/{link}"))
            .header(AUTHORIZATION, self.bearer(app_user)?)
            .body(Body::Empty)?)
    }

    fn bearer(&self, app_user: &str) -> anyhow::Result<String> {
        Ok(format!("Bearer {}", self.token("reelay:api", app_user)?))
    }

    fn token(&self, audience: &str, app_user: &str) -> anyhow::Result<String> {
        let now = self.stack().clock().now().as_second();
        let claims = json!({"aud": audience, "sub": app_user, "iat": now, "exp": now + 300});
        let key = EncodingKey::from_secret(self.stack().config().secrets.app_secret.as_bytes());
        Ok(encode(&Header::new(Algorithm::HS256), &claims, &key)?)
    }
}

fn header(answer: &Response<Body>, name: http::HeaderName) -> Option<&str> {
    answer.headers().get(name)?.to_str().ok()
}
