//! Conversion between Lambda events and `http` requests.

use std::convert::Infallible;
use std::time::Duration;

use crate::environment::{Variables, deadline, preload_tls_roots};
use http::header::HOST;
use lambda_http::request::{LambdaRequest, RequestContext};
use lambda_http::{
    Adapter, Body, LambdaEvent, Request, RequestExt as _, Response, Service, service_fn,
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;

/// Characters to encode in a path. API Gateway passes the path decoded.
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

/// Characters to encode in a query, which API Gateway passes encoded.
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

/// Time before the invocation's deadline at which a request that is still in progress gets 503. Without it the
/// caller would get API Gateway's own response, which names no error code.
const RESPONSE_MARGIN: Duration = Duration::from_millis(500);

/// Runs an HTTP function in Lambda until the instance is retired. `timed_out` is the 503 of a request that is
/// still in progress shortly before the deadline.
///
/// # Errors
/// If the Lambda runtime API fails.
pub async fn run<H, F, T>(handle: H, timed_out: T) -> Result<(), lambda_http::Error>
where
    H: Fn(Request) -> F + Send,
    F: Future<Output = Response<Body>> + Send,
    T: Fn() -> Response<Body> + Clone + Send,
{
    tokio::task::spawn_blocking(preload_tls_roots);
    lambda_runtime::run(service(handle, timed_out)).await
}

/// The function as a Lambda service: an API Gateway event in, an API Gateway response out.
pub fn service<'a, H, F, T>(
    handle: H,
    timed_out: T,
) -> impl Service<
    LambdaEvent<LambdaRequest>,
    Response = impl Serialize + use<'a, H, F, T>,
    Error = Infallible,
    Future: Send,
>
where
    H: Fn(Request) -> F + Send + 'a,
    F: Future<Output = Response<Body>> + Send + 'a,
    T: Fn() -> Response<Body> + Clone + Send + 'a,
{
    use lambda_http::tower::ServiceExt as _;
    Adapter::from(service_fn(move |request: Request| {
        // Only tests call the service without a deadline.
        let context = request.lambda_context_ref().filter(|context| context.deadline > 0);
        let latest = context.map(|context| deadline(context) - RESPONSE_MARGIN);
        let timed_out = timed_out.clone();
        let response = handle(request);
        async move {
            let Some(latest) = latest else {
                return Ok::<_, Infallible>(response.await);
            };
            Ok(tokio::time::timeout_at(latest.into(), response).await.unwrap_or_else(|_| {
                tracing::error!("request timed out");
                timed_out()
            }))
        }
    }))
    .map_request(|event: LambdaEvent<LambdaRequest>| LambdaEvent {
        payload: sanitize(event.payload),
        context: event.context,
    })
}

/// Makes path and query valid parts of a URI, and removes the headers that would become its authority.
///
/// `lambda_http` builds a URI from these and panics if that fails; a decoded path may contain anything.
fn sanitize(request: LambdaRequest) -> LambdaRequest {
    match request {
        LambdaRequest::ApiGatewayV2(mut event) => {
            event.headers.remove(HOST);
            event.headers.remove("x-forwarded-proto");
            let encode = |text: String, set| utf8_percent_encode(&text, set).to_string();
            event.raw_path = event.raw_path.map(|path| encode(path, NOT_IN_A_PATH));
            event.raw_query_string =
                event.raw_query_string.map(|query| encode(query, NOT_IN_A_QUERY));
            LambdaRequest::ApiGatewayV2(event)
        }
        other => other,
    }
}

/// The public URL of this API: `PUBLIC_URL`, else the domain name in API Gateway's request context.
///
/// Headers are not used, because the caller controls them. The API's URL is not a variable, because that
/// would make the template circular.
pub fn public_url(variables: &Variables, request: &Request) -> Option<String> {
    if let Some(url) = variables.optional("PUBLIC_URL") {
        return Some(url.trim_end_matches('/').to_owned());
    }
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => {
            context.domain_name.as_ref().map(|domain| format!("https://{domain}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::response;
    use super::*;
    use http::StatusCode;
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
        let handle = |request: Request| async move {
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
        };
        let mut service = service(handle, || Response::new(Body::Empty));
        let response = service.call(LambdaEvent::new(request, Context::default())).await.unwrap();
        serde_json::to_value(response).unwrap()
    }

    #[tokio::test]
    async fn hostile_paths_and_queries_do_not_panic() {
        for (path, query) in [
            ("/v1/a b", ""),
            ("/v1/\u{e9}\u{1f600}", "x=\u{e9}"),
            ("/v1/%zz\"<>[]{}|\\^`", "a=\"<>{}|\\^` &b"),
            ("/v1/\u{0}\u{7f}", "\u{0}"),
            ("//evil.test/x", ""),
            ("", "%zz"),
            ("no-slash", "?"),
        ] {
            let response = call(event(path, query)).await;
            assert_eq!(response["statusCode"], 200, "{path} {query}");
        }
    }

    #[tokio::test]
    async fn hostile_hosts_and_schemes_do_not_panic() {
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
    async fn public_url_comes_from_request_context() {
        let response = call(event("/healthz", "a=1&a=2")).await;
        assert_eq!(
            response["body"],
            "/healthz Some(\"a=1&a=2\") https://a.execute-api.eu-central-1.amazonaws.com a=1; b=2"
        );
    }

    #[tokio::test]
    async fn hanging_request_gets_503_before_the_deadline() {
        let request: LambdaRequest = serde_json::from_value(event("/zoom/connect", "")).unwrap();
        let mut context = Context::default();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        context.deadline = u64::try_from((now + RESPONSE_MARGIN).as_millis()).unwrap();
        let timed_out = || response::empty(StatusCode::SERVICE_UNAVAILABLE);
        let mut service = service(|_| std::future::pending(), timed_out);
        let response = service.call(LambdaEvent::new(request, context)).await.unwrap();
        assert_eq!(serde_json::to_value(response).unwrap()["statusCode"], 503);
    }
}
