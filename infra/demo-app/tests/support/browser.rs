//! One browser: it keeps cookies and follows nothing by itself.

use std::collections::BTreeMap;
use std::sync::Mutex;

use reqwest::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Client, RequestBuilder, StatusCode, redirect};
use url::Url;

pub(crate) struct Browser {
    http: Client,
    base: Url,
    cookies: Mutex<BTreeMap<String, String>>,
}

pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn location(&self) -> &str {
        let location = self.headers.get(LOCATION).expect("a redirect");
        location.to_str().expect("ASCII")
    }
}

impl Browser {
    pub(crate) fn new(base: &Url) -> Self {
        let http = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .expect("a client");
        Self {
            http,
            base: base.clone(),
            cookies: Mutex::default(),
        }
    }

    /// A browser in which `user` is signed in.
    pub(crate) async fn of(base: &Url, user: &str) -> Self {
        let browser = Self::new(base);
        let page = browser.post("/sign-in", &[("user", user)]).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER);
        browser
    }

    pub(crate) async fn get(&self, path: &str) -> Page {
        self.send(self.http.get(self.at(path))).await
    }

    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Page {
        self.send(self.http.post(self.at(path)).form(form)).await
    }

    pub(crate) async fn post_from(&self, origin: &str, path: &str) -> Page {
        let request = self.http.post(self.at(path)).header("origin", origin);
        self.send(request).await
    }

    pub(crate) fn cookie(&self) -> String {
        let cookies = self.cookies.lock().expect("no panic");
        let pairs: Vec<_> = cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
        pairs.join("; ")
    }

    fn at(&self, path: &str) -> Url {
        self.base.join(path).expect("a path")
    }

    async fn send(&self, request: RequestBuilder) -> Page {
        let answer = request
            .header(COOKIE, self.cookie())
            .send()
            .await
            .expect("an answer");
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let pair = cookie.to_str().expect("ASCII").split(';').next();
            let (name, value) = pair
                .and_then(|pair| pair.split_once('='))
                .expect("a cookie");
            let mut cookies = self.cookies.lock().expect("no panic");
            cookies.insert(name.to_owned(), value.to_owned());
        }
        Page {
            status: answer.status(),
            headers: answer.headers().clone(),
            text: answer.text().await.expect("text"),
        }
    }
}
