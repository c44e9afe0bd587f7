//! A whole system for one test.

use reelay_devstack::{FunctionChange, Options, Stack};
use reelay_zoom_sim::Control;
use serde_json::Value;

use crate::{App, Browser};

/// A running system whose queues are worked off when the test says so.
#[derive(Debug)]
pub struct System {
    /// All of it.
    pub stack: Stack,
    /// The app's server.
    pub app: App,
}

impl System {
    /// With the template's defaults.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With these template parameters.
    pub async fn with(parameters: &[(&str, &str)]) -> Self {
        let parameters = parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Self::with_options(Options {
            parameters,
            ..Options::default()
        })
        .await
    }

    /// With a function that is hosted otherwise than the template says.
    pub async fn with_function(change: FunctionChange) -> Self {
        Self::with_options(Options {
            functions: vec![change],
            ..Options::default()
        })
        .await
    }

    async fn with_options(options: Options) -> Self {
        let stack = Stack::start(Options {
            poll: false,
            ..options
        })
        .await
        .unwrap();
        let app = App::new(&stack);
        Self { stack, app }
    }

    /// The simulator.
    pub fn zoom(&self) -> &Control {
        self.stack.simulator().unwrap().control()
    }

    /// A fresh browser.
    pub fn browser(&self) -> Browser {
        Browser::new(self.stack.url())
    }

    /// Works off the queues; what failed is tried again at once, until done or dead.
    pub async fn work(&self) {
        self.stack.drain_without_pauses().await;
    }

    /// Links a Zoom user to an app user, all the way.
    pub async fn link(&self, app_user: &str, zoom_user: &str) -> Value {
        let claim = self.consent(&mut self.browser(), app_user, zoom_user).await;
        let answer = self.app.confirm(app_user, &claim).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        // The app is told of the link; what a test looks at comes after.
        self.work().await;
        answer.json()
    }

    /// From the app's button to the claim in the return URL.
    pub async fn consent(&self, browser: &mut Browser, app_user: &str, zoom_user: &str) -> String {
        let back = self.callback(browser, app_user, zoom_user).await;
        let visit = browser.visit(&back).await;
        visit
            .parameter("zoom_link")
            .unwrap_or_else(|| panic!("no claim: {visit:?}"))
    }

    /// From the app's button to the address at which Zoom sends the browser back to us, not yet visited.
    pub async fn callback(&self, browser: &mut Browser, app_user: &str, zoom_user: &str) -> String {
        let authorize = self
            .authorize(browser, &self.app.connect_token(app_user))
            .await;
        self.allow(browser, &authorize, zoom_user).await
    }

    /// From the app's button to the address of Zoom's consent page, not yet visited.
    pub async fn authorize(&self, browser: &mut Browser, token: &str) -> String {
        let start = browser.visit(&self.app.connect_url(token)).await;
        start
            .location
            .clone()
            .unwrap_or_else(|| panic!("no redirect to Zoom: {start:?}"))
    }

    /// Consents at Zoom: the address at which it sends the browser back to us, not yet visited.
    pub async fn allow(&self, browser: &mut Browser, authorize: &str, zoom_user: &str) -> String {
        self.decide(
            browser,
            authorize,
            &format!("sim_decision=allow&sim_user={zoom_user}"),
        )
        .await
    }

    /// Declines at Zoom: the address at which it sends the browser back to us, not yet visited.
    pub async fn deny(&self, browser: &mut Browser, authorize: &str) -> String {
        self.decide(browser, authorize, "sim_decision=deny").await
    }

    async fn decide(&self, browser: &mut Browser, authorize: &str, decision: &str) -> String {
        let consent = browser.visit(&format!("{authorize}&{decision}")).await;
        consent
            .location
            .clone()
            .unwrap_or_else(|| panic!("no redirect back: {consent:?}"))
    }
}
