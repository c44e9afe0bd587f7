//! URLs: return URLs of the app, URLs in parameters, and download hosts.

use http::Uri;
use reelay_domain::operator_url;
use reelay_domain::recording::{FileFilter, FileMetadata};
use reelay_domain::return_url::{LinkOutcome, ReturnUrl, ReturnUrls};
use reelay_zoom::{DownloadHosts, Endpoints, authorize_url};
use url::{Host, Url};

use crate::oracle::{self, decode, fields, split_url, text};

const LISTED: [&str; 4] = [
    "https://app.example/settings",
    "https://app.example:8443/",
    "https://xn--bcher-kva.example/a%20b",
    "http://localhost:3000/back",
];

/// An allowed `return_to` equals a listed URL apart from its query. The redirect has Reelay's parameter once
/// and all other parameters unchanged.
pub fn return_url(input: &[u8]) {
    let [list, return_to] = fields(input).map(text);
    let mut lists =
        vec![(ReturnUrls::parse(&LISTED.join(" , ")).unwrap(), LISTED.map(str::to_owned).to_vec())];
    // The default of a list with one entry is that entry.
    if let Ok(one) = ReturnUrls::parse(list)
        && !list.contains(',')
    {
        let entry = one.default_url().as_str().to_owned();
        lists.push((one, vec![entry]));
    }
    for (allowed, entries) in lists {
        let default = allowed.default_url();
        assert_redirect(&default);
        if let Ok(url) = allowed.allow(return_to) {
            let (parsed, written) = (split_url(url.as_str()).unwrap(), split_url(return_to));
            let written = written.unwrap_or_else(|| panic!("no host in {return_to}"));
            let is_listed = |entry: &String| {
                let entry = split_url(entry).unwrap();
                let same = |other: &oracle::UrlParts<'_>| {
                    entry.scheme.eq_ignore_ascii_case(other.scheme) && entry.path == other.path
                };
                same(&parsed) && same(&written) && entry.authority == parsed.authority
            };
            assert!(entries.iter().any(is_listed), "{return_to} gave {}", url.as_str());
            // The input may spell the host in another way, but must not add to it.
            assert!(!written.authority.contains(['@', '\\', '/', '?', '#']), "{return_to}");
            assert!(!return_to.contains(['#', '\\', '\t', '\r', ' ']), "{return_to}");
            assert_redirect(&url);
        }
    }
}

fn assert_redirect(url: &ReturnUrl) {
    assert_eq!(ReturnUrl::from_stored(url.as_str()).as_ref(), Some(url));
    let before = split_url(url.as_str()).unwrap();
    let pairs = |query: Option<&str>| -> Vec<String> {
        let query = query.unwrap_or_default();
        query.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned).collect()
    };
    let claim = "a claim & more";
    let location = url.with_outcome(LinkOutcome::Claim(claim));
    assert!(!location.contains(['#', '\n', '\r', ' ']), "{location}");
    let after = split_url(&location).unwrap();
    assert_eq!(
        (before.scheme, before.authority, before.path),
        (after.scheme, after.authority, after.path)
    );
    let mut sent = pairs(after.query);
    let outcome = sent.pop().unwrap();
    assert_eq!(sent, pairs(before.query), "the app's parameters changed");
    let (name, value) = outcome.split_once('=').unwrap();
    assert_eq!((name, decode(value)), ("zoom_link", claim.as_bytes().to_vec()));
    for pair in sent {
        let name = decode(pair.split('=').next().unwrap());
        assert!(name != b"zoom_link" && name != b"zoom_error", "{location}");
    }
}

/// Accepted base URLs, host lists, download URLs, operator URLs and file filters match a plain reading of the
/// text.
pub fn parameters(input: &[u8]) {
    let [oauth, api, hosts, url, types] = fields(input).map(text);
    assert_operator_url(url);
    assert_filter(types);

    let zoom = Endpoints::parse("https://zoom.us", "https://api.zoom.us").unwrap();
    let local = Endpoints::parse("http://127.0.0.1:9", "http://127.0.0.1:9").unwrap();
    let given = Endpoints::parse(oauth, api);
    if let Ok(given) = &given {
        let page = authorize_url(given, "id", "https://reelay.example/zoom/callback", "s", "c");
        let written = split_url(page.as_str()).unwrap();
        let local = is_loopback(page.host().unwrap());
        assert!(written.scheme == "https" || written.scheme == "http" && local);
        assert!(!written.authority.contains('@') && written.path.ends_with("/oauth/authorize"));
        assert!(!given.is_loopback() || local);
    }
    for endpoints in [Some(zoom), Some(local), given.ok()].into_iter().flatten() {
        for list in [hosts, "zoom.us,zoomgov.com", "zoom.us,127.0.0.1,localhost,::1"] {
            if let Ok(allowed) = DownloadHosts::parse(list, &endpoints) {
                assert_download_url(list, &allowed, endpoints.is_loopback(), url);
            }
        }
    }
}

fn is_loopback(host: Host<&str>) -> bool {
    match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(ip) => ip.octets()[0] == 127,
        Host::Ipv6(ip) => ip.segments() == [0, 0, 0, 0, 0, 0, 0, 1],
    }
}

fn assert_download_url(list: &str, hosts: &DownloadHosts, is_local_zoom: bool, text: &str) {
    let Ok(allowed) = hosts.parse_url(text) else {
        return;
    };
    let host = allowed.host();
    // The host is a listed name or a subdomain of one.
    let listed = list.split(',').map(|entry| entry.trim().to_lowercase());
    let is_listed = listed.into_iter().any(|entry| {
        let bracketed = format!("[{entry}]");
        host == entry
            || host == bracketed
            || entry.contains('.') && host.ends_with(&format!(".{entry}"))
            // IP addresses and internationalized names have several spellings; compare the normal form.
            || Host::parse(&entry).or_else(|_| Host::parse(&bracketed)).is_ok_and(|entry| {
                let entry = entry.to_string();
                host == entry || entry.contains('.') && host.ends_with(&format!(".{entry}"))
            })
    });
    assert!(is_listed, "{text}: host {host} is not in {list}");
    assert!(!text.contains('\\') && !text.chars().any(char::is_control));

    let url = Url::parse(text).unwrap();
    assert_eq!(url.host_str(), Some(host));
    let local = is_local_zoom && is_loopback(url.host().unwrap());
    assert!(url.scheme() == "https" || url.scheme() == "http" && local);
    assert!(url.port_or_known_default() == Some(443) || local);
    assert!(url.username().is_empty() && url.password().is_none());
    assert!(!format!("{allowed:?}").contains(url.path()) || url.path().len() < 8);
    // Another URL parser that accepts the text finds the same host.
    if let Ok(uri) = text.parse::<Uri>()
        && let Some(seen) = uri.host()
        && !seen.contains('%')
    {
        let seen = Host::parse(seen).unwrap().to_string();
        assert_eq!(seen, host, "two parsers find different hosts in {text}");
    }
}

fn assert_operator_url(text: &str) {
    if let Ok(url) = operator_url::parse(text) {
        let written = split_url(url.as_str()).unwrap();
        let local = is_loopback(url.host().unwrap());
        assert!(written.scheme == "https" || written.scheme == "http" && local);
        assert!(!written.authority.is_empty());
    }
}

fn assert_filter(types: &str) {
    let listed_types: Vec<String> =
        types.split(',').map(|name| name.trim().to_ascii_uppercase()).collect();
    let none = listed_types.iter().all(String::is_empty);
    let all = none || listed_types.iter().any(|name| name == "ALL");
    for file_type in ["MP4", "M4A", "TIMELINE", "ALL", "X"] {
        let file = FileMetadata {
            file_type: Some(file_type.to_owned()),
            ..FileMetadata::unknown("f".parse().unwrap())
        };
        let is_wanted = all || listed_types.iter().any(|name| name == file_type);
        let skipped = FileFilter::new(types, "", 5).skip_reason(Some(5), &file);
        assert_eq!(skipped.is_none(), is_wanted, "{types} {file_type}");
        assert!(FileFilter::new(types, "", 6).skip_reason(Some(5), &file).is_some());
    }
}
