//! `/v1`: the API for the app's server. Confirms claims, lists and removes links, lists recordings and
//! notifications, and starts downloads and backfills.
//!
//! The app user is always the API token's `sub`; no path and no body names one. Another user's link,
//! recording or cursor is not found.

mod links;
mod notifications;
mod reconciliation;
mod recordings;
mod route;

use futures_util::future::try_join_all;
use http::{HeaderValue, StatusCode};
use reelay_domain::ids::AppUserId;
use reelay_domain::jwt::Audience;
use reelay_domain::link::LinkView;
use reelay_domain::message::{DownloadMessage, JobMessage};
use reelay_runtime::environment::{Clock, ConfigError, Environment};
use reelay_runtime::http::app_tokens::{AppTokenError, AppTokens, bearer};
use reelay_runtime::http::query::Query;
use reelay_runtime::http::response::{self, Problem};
use reelay_runtime::http::{Body, Request, Response};
use reelay_runtime::secrets::Secret;
use reelay_runtime::{AwsError, Chain};
use reelay_store::bucket::Bucket;
use reelay_store::links::{LinkError, LinkTable};
use reelay_store::outbox::NotificationPublisher;
use reelay_store::queue::Queue;
use reelay_store::recordings::RecordingTable;
use reelay_store::sessions::SessionTable;
use serde::Serialize;
use serde_json::json;

use crate::route::{NoRoute, Route};

/// The `app-api` function.
#[derive(Debug)]
pub struct AppApi {
    app_tokens: AppTokens,
    state_key: Secret,
    sessions: SessionTable,
    links: LinkTable,
    recordings: RecordingTable,
    notifications: NotificationPublisher,
    downloads: Queue<DownloadMessage>,
    jobs: Queue<JobMessage>,
    /// Whether reconciliations are scheduled (`ReconcileEveryHours`).
    is_reconciling: bool,
    bucket: Bucket,
    verification_code: Option<String>,
    clock: Clock,
}

/// Error of a request: a problem of the caller's, or an internal failure (503).
#[derive(Debug, thiserror::Error)]
enum ApiError {
    #[error("{0:?}")]
    Problem(Problem),
    #[error(transparent)]
    Aws(#[from] AwsError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the app's keys are unavailable: {0}")]
    Tokens(String),
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

#[derive(Serialize)]
struct Links {
    links: Vec<LinkView>,
}

impl AppApi {
    /// Reads the configuration and creates the clients, once per instance.
    ///
    /// # Errors
    /// If a variable is absent or invalid.
    pub fn new(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            app_tokens: AppTokens::new(environment)?,
            state_key: Secret::from_env(environment, "STATE_KEY")?,
            sessions: SessionTable::new(environment)?,
            links: LinkTable::new(environment)?,
            recordings: RecordingTable::new(environment)?,
            notifications: NotificationPublisher::new(environment)?,
            downloads: Queue::from_env(environment, "DOWNLOADS_QUEUE_URL")?,
            jobs: Queue::from_env(environment, "JOBS_QUEUE_URL")?,
            is_reconciling: environment.variables.parsed::<u32>("RECONCILE_EVERY_HOURS")? > 0,
            bucket: Bucket::new(environment)?,
            verification_code: environment
                .variables
                .optional("ZOOM_VERIFICATION_CODE")
                .map(str::to_owned),
            clock: environment.clock.clone(),
        })
    }

    /// Responds to a request.
    pub async fn handle(&self, request: Request) -> Response<Body> {
        let route = match Route::parse(request.method(), request.uri().path()) {
            Ok(Route::Health) => return response::json(StatusCode::OK, &json!({"status": "ok"})),
            Ok(Route::Verification) => return self.verification(),
            Ok(route) => route,
            Err(NoRoute::Path) => return Problem::RouteNotFound.into_response(),
            Err(NoRoute::Method(allowed)) => {
                let mut response = Problem::MethodNotAllowed.into_response();
                response
                    .headers_mut()
                    .insert(http::header::ALLOW, HeaderValue::from_static(allowed));
                return response;
            }
        };
        match self.respond(route, &request).await {
            Ok(response) => response,
            Err(ApiError::Problem(problem)) => {
                tracing::info!(?problem, "request rejected");
                problem.into_response()
            }
            Err(error) => {
                tracing::error!(error = %Chain(&error), "request failed");
                Problem::Unavailable.into_response()
            }
        }
    }

    /// Zoom's domain verification file, which is public.
    fn verification(&self) -> Response<Body> {
        match &self.verification_code {
            Some(code) => response::html(StatusCode::OK, code.clone()),
            None => Problem::RouteNotFound.into_response(),
        }
    }

    async fn respond(&self, route: Route, request: &Request) -> Result<Response<Body>, ApiError> {
        let user = self.authenticate(request).await?;
        let query = Query::from_request(request);
        let (parameters, detail) = route.parameters();
        if !query.has_only(parameters) {
            return Err(Problem::RequestInvalid(detail).into());
        }
        match route {
            // `handle` responds to these without authentication.
            Route::Health => Ok(response::empty(StatusCode::OK)),
            Route::Verification => Ok(self.verification()),
            Route::ConfirmLink => self.confirm_link(&user, request.body()).await,
            Route::Links => {
                let links = self.links.visible_links(&user).await?;
                let views = links.iter().map(async |link| {
                    let mut view = self.view_link(link).await?;
                    view.zoom.email.clone_from(&link.email);
                    Ok::<_, AwsError>(view)
                });
                let links = try_join_all(views).await?;
                Ok(response::json(StatusCode::OK, &Links { links }))
            }
            Route::Reconciliation(id) => self.reconciliation(&user, id).await,
            Route::Link(id) => self.disconnect(&user, id).await,
            Route::Notifications => self.list_notifications(&user, &query).await,
            Route::Backfill => self.backfill(&user, request.body()).await,
            Route::Recordings => self.list_recordings(&user, &query).await,
            Route::Recording(id) => self.recording(&user, &id).await,
            Route::DeleteRecording(id) => self.delete_recording(&user, &id, &query).await,
            Route::Download(id) => self.download(&user, &id, request.body()).await,
        }
    }

    async fn authenticate(&self, request: &Request) -> Result<AppUserId, ApiError> {
        let token = bearer(request).ok_or(Problem::TokenMissing)?;
        match self.app_tokens.verify(token, Audience::Api).await {
            Ok(token) => Ok(token.app_user),
            Err(AppTokenError::Rejected(error)) => Err(Problem::TokenInvalid(error).into()),
            Err(AppTokenError::Unavailable(reason)) => Err(ApiError::Tokens(reason)),
        }
    }
}
