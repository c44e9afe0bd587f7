//! Between Lambda's events and `http` requests.

use std::convert::Infallible;

use crate::environment::{Variables, preload_tls_roots};
use http::header::HOST;
use lambda_http::request::{LambdaRequest, RequestContext};
use lambda_http::{
    Adapter, Body, LambdaEvent, Request, RequestExt as _, Response, Service, service_fn,
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;

/// What may not stand in a URI's path. API Gateway hands over the path decoded.
const NOT_IN_A_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// What may not stand in a URI's query; what is encoded already stays as it is.
const NOT_IN_A_QUERY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Runs a function of HTTP requests in Lambda until the instance is retired.
pub async fn run<H, F>(handle: H) -> Result<(), lambda_http::Error>
where
    H: Fn(Request) -> F + Send,
    F: Future<Output = Response<Body>> + Send,
{
    tokio::task::spawn_blocking(preload_tls_roots);
    lambda_http::lambda_runtime::run(service(handle)).await
}

/// The function as Lambda sees it: API Gateway's event in, API Gateway's answer out.
pub fn service<'a, H, F>(
    handle: H,
) -> impl Service<
    LambdaEvent<LambdaRequest>,
    Response = impl Serialize + use<'a, H, F>,
    Error = Infallible,
    Future: Send,
>
where
    H: Fn(Request) -> F + Send + 'a,
    F: Future<Output = Response<Body>> + Send + 'a,
{
    use lambda_http::tower::ServiceExt as _;
    Adapter::from(service_fn(move |request: Request| {
        let answer = handle(request);
        async move { Ok::<_, Infallible>(answer.await) }
    }))
    .map_request(|event: LambdaEvent<LambdaRequest>| LambdaEvent {
        payload: well_formed(event.payload),
        context: event.context,
    })
}

/// Puts path and query into the form that a URI must have, and takes out the headers that would become a
/// part of it. `lambda_http` builds a URI from all of these and takes for granted that it succeeds; a path
/// that API Gateway has decoded may hold anything, and what those headers say is used for nothing.
fn well_formed(request: LambdaRequest) -> LambdaRequest {
    match request {
        LambdaRequest::ApiGatewayV2(mut event) => {
            event.headers.remove(HOST);
            event.headers.remove("x-forwarded-proto");
            let encode = |text: String, set| utf8_percent_encode(&text, set).to_string();
            event.raw_path = event.raw_path.map(|path| encode(path, NOT_IN_A_PATH));
            event.raw_query_string = event
                .raw_query_string
                .map(|query| encode(query, NOT_IN_A_QUERY));
            LambdaRequest::ApiGatewayV2(event)
        }
        other => other,
    }
}

/// The URL under which the outside reaches this API: `PUBLIC_URL`, else API Gateway's own word for its
/// domain. Never a header: those are the caller's. No function is told its API's URL, which would make
/// the template circular.
pub fn public_url(variables: &Variables, request: &Request) -> Option<String> {
    if let Some(url) = variables.optional("PUBLIC_URL") {
        return Some(url.trim_end_matches('/').to_owned());
    }
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context
            .domain_name
            .as_ref()
            .map(|domain| format!("https://{domain}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lambda_http::lambda_runtime::Context;
    use serde_json::{Value, json};

    fn event(path: &str, query: &str) -> Value {
        json!({
            "version": "2.0", "routeKey": "ANY /v1/{proxy+}", "rawPath": path, "rawQueryString": query,
            "headers": {"host": "evil.test", "x-forwarded-host": "evil.test"},
            "cookies": ["a=1", "b=2"],
            "requestContext": {
                "accountId": "1", "apiId": "a", "domainName": "a.execute-api.eu-central-1.amazonaws.com",
                "domainPrefix": "a", "http": {"method": "GET", "path": path, "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1", "userAgent": "t"}, "requestId": "r", "routeKey": "$default",
                "stage": "$default", "time": "01/Jan/2026:00:00:00 +0000", "timeEpoch": 1
            },
            "isBase64Encoded": false
        })
    }

    async fn call(event: Value) -> Value {
        let request: LambdaRequest = serde_json::from_value(event).unwrap();
        let mut service = service(|request: Request| async move {
            let url = public_url(&Variables::default(), &request).unwrap_or_default();
            let cookie = request
                .headers()
                .get("cookie")
                .map(|c| c.to_str().unwrap().to_owned())
                .unwrap_or_default();
            Response::new(Body::from(format!(
                "{} {:?} {url} {cookie}",
                request.uri().path(),
                request.uri().query()
            )))
        });
        let answer = service
            .call(LambdaEvent::new(request, Context::default()))
            .await
            .unwrap();
        serde_json::to_value(answer).unwrap()
    }

    #[tokio::test]
    async fn hostile_paths_and_queries_do_not_bring_the_function_down() {
        for (path, query) in [
            ("/v1/a b", ""),
            ("/v1/\u{e9}\u{1f600}", "x=\u{e9}"),
            ("/v1/%zz\"<>[]{}|\\^`", "a=\"<>{}|\\^` &b"),
            ("/v1/\u{0}\u{7f}", "\u{0}"),
            ("//evil.test/x", ""),
            ("", "%zz"),
            ("no-slash", "?"),
        ] {
            let answer = call(event(path, query)).await;
            assert_eq!(answer["statusCode"], 200, "{path} {query}");
        }
    }

    #[tokio::test]
    async fn hostile_hosts_and_schemes_do_not_bring_the_function_down() {
        for (host, proto) in [
            ("evil.test:99999", "https"),
            ("[::1", "https"),
            ("", "https"),
            ("evil.test", ""),
            ("evil.test", "java script"),
        ] {
            let mut event = event("/healthz", "");
            event["headers"] = json!({"host": host, "x-forwarded-proto": proto});
            assert_eq!(call(event).await["statusCode"], 200, "{host} {proto}");
        }
    }

    #[tokio::test]
    async fn the_public_url_is_api_gateways_word_and_never_a_header() {
        let answer = call(event("/healthz", "a=1&a=2")).await;
        assert_eq!(
            answer["body"],
            "/healthz Some(\"a=1&a=2\") https://a.execute-api.eu-central-1.amazonaws.com a=1; b=2"
        );
    }
}
