//! Query strings, read from their raw form: API Gateway joins repeated parameters, and a repeated
//! parameter of an OAuth answer must be refused (RFC 6749 §3.1).

use std::fmt;

use lambda_http::Request;
use url::form_urlencoded;

/// A parameter that stands in the query more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a query parameter is repeated")]
pub struct RepeatedParameter;

/// A query's parameters. Codes, states and tokens are among them, so `Debug` shows their names only.
#[derive(Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

impl Query {
    /// The parameters of a request.
    pub fn from_request(request: &Request) -> Self {
        let query = request.uri().query().unwrap_or_default();
        Self(
            form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// The value of a parameter that stands there at most once. Empty counts as absent.
    pub fn single(&self, name: &str) -> Result<Option<&str>, RepeatedParameter> {
        let mut values = self
            .0
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_str());
        let first = values.next();
        if values.next().is_some() {
            return Err(RepeatedParameter);
        }
        Ok(first.filter(|value| !value.is_empty()))
    }
}
