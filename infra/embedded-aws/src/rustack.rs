//! Calls to rustack's engines, which share one shape but no common trait.

/// Evaluates to the engine's response to one operation, errors included.
///
/// `$http` is the engine's `rustack_*_http` crate; its `dispatch` trait must be in scope.
macro_rules! call {
    ($http:ident, $handler:expr, $service:expr, $operation:expr, $body:expr) => {{
        let mut headers = http::HeaderMap::new();
        let target = format!("{}.{}", $service.target_prefix(), $operation);
        if let Ok(value) = http::HeaderValue::from_str(&target) {
            headers.insert("x-amz-target", value);
        }
        let result = match $http::router::resolve_operation(&headers) {
            Ok(operation) => $handler.handle_operation(operation, $body).await,
            Err(error) => Err(error),
        };
        let response = match result {
            Ok(response) => response,
            Err(error) => $http::response::error_to_response(&error, "failed"),
        };
        $crate::json_response::buffered($service, response).await
    }};
}
pub(crate) use call;
