//! Template parameters of a devstack. The user's values have precedence.

use std::collections::BTreeMap;

use url::{Host, Url};

/// URLs that become parameters.
pub(super) struct Urls<'a> {
    pub(super) public: &'a str,
    pub(super) zoom: &'a Url,
    pub(super) return_url: Option<Url>,
    pub(super) webhook_url: Option<Url>,
}

/// All parameters that differ from the template's defaults.
pub(super) fn parameters(urls: &Urls<'_>, given: &[(String, String)]) -> BTreeMap<String, String> {
    let zoom = urls.zoom.as_str().trim_end_matches('/');
    let mut parameters = BTreeMap::new();
    let mut put = |name: &str, value: String| {
        parameters.insert(name.to_owned(), value);
    };
    put("PublicUrl", urls.public.to_owned());
    put("ZoomOAuthUrl", zoom.to_owned());
    put("ZoomApiUrl", zoom.to_owned());
    put("DownloadHosts", download_hosts(urls.zoom));
    if let Some(url) = &urls.return_url {
        put("ReturnUrls", url.to_string());
    }
    if let Some(url) = &urls.webhook_url {
        put("AppWebhookUrl", url.to_string());
    }
    parameters.extend(given.iter().cloned());
    // The demo app can connect in any case. The default stays the user's first URL.
    if let (Some(url), Some(listed)) = (&urls.return_url, parameters.get_mut("ReturnUrls"))
        && !listed.split(',').any(|listed| listed.trim() == url.as_str())
    {
        *listed = format!("{listed},{url}");
    }
    parameters
}

/// Both names of this machine, and Zoom's host.
fn download_hosts(zoom: &Url) -> String {
    let mut hosts = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    if let Some(host) = zoom.host().map(|host: Host<&str>| host.to_string())
        && !hosts.contains(&host)
    {
        hosts.push(host);
    }
    hosts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters_for(zoom: &str, given: &[(&str, &str)]) -> BTreeMap<String, String> {
        let zoom = zoom.parse().unwrap();
        let urls = Urls {
            public: "http://127.0.0.1:1",
            zoom: &zoom,
            return_url: Some("http://localhost:2/return".parse().unwrap()),
            webhook_url: None,
        };
        let given: Vec<_> =
            given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        parameters(&urls, &given)
    }

    #[test]
    fn parameters_contain_the_urls() {
        let parameters = parameters_for("http://127.0.0.1:3/", &[]);
        assert_eq!(parameters["ZoomOAuthUrl"], "http://127.0.0.1:3");
        assert_eq!(parameters["ZoomApiUrl"], "http://127.0.0.1:3");
        assert_eq!(parameters["DownloadHosts"], "127.0.0.1,localhost");
        assert_eq!(parameters["PublicUrl"], "http://127.0.0.1:1");
        assert_eq!(parameters["ReturnUrls"], "http://localhost:2/return");
        assert_eq!(parameters.get("AppWebhookUrl"), None);
    }

    #[test]
    fn demo_app_is_among_the_return_urls_once() {
        let listed = "https://app/, http://localhost:2/return";
        let parameters = parameters_for("http://127.0.0.1:3/", &[("ReturnUrls", listed)]);
        assert_eq!(parameters["ReturnUrls"], listed);
    }

    #[test]
    fn external_zoom_host_and_given_values_are_used() {
        let parameters = parameters_for(
            "http://zoom.test:3/base/",
            &[("ReturnUrls", "https://app/"), ("AppWebhookUrl", "")],
        );
        assert_eq!(parameters["ZoomOAuthUrl"], "http://zoom.test:3/base");
        assert_eq!(parameters["DownloadHosts"], "127.0.0.1,localhost,zoom.test");
        assert_eq!(parameters["ReturnUrls"], "https://app/,http://localhost:2/return");
        assert_eq!(parameters["AppWebhookUrl"], "");
    }
}
