//! Query strings, parsed from their raw form.
//!
//! API Gateway joins repeated parameters, but a repeated parameter of an OAuth response must be rejected
//! (RFC 6749 §3.1).

use std::collections::BTreeSet;
use std::fmt;

use lambda_http::Request;
use url::form_urlencoded;

/// A query contains a parameter more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a query parameter is repeated")]
pub struct RepeatedParameter;

/// The parameters of a query. `Debug` shows only names: values include codes, states and tokens.
#[derive(Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

impl Query {
    /// Parses the query of a request.
    pub fn from_request(request: &Request) -> Self {
        let query = request.uri().query().unwrap_or_default();
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// Returns whether the query has no other parameters than these.
    pub fn has_only(&self, names: &[&str]) -> bool {
        self.0.iter().all(|(name, _)| names.contains(&name.as_str()))
    }

    /// Verifies that no parameter is repeated (RFC 6749, section 3.1).
    ///
    /// # Errors
    /// If one is.
    pub fn reject_repetition(&self) -> Result<(), RepeatedParameter> {
        let mut names = BTreeSet::new();
        let are_distinct = self.0.iter().all(|(name, _)| names.insert(name));
        are_distinct.then_some(()).ok_or(RepeatedParameter)
    }

    /// Returns the value of a parameter. An empty value counts as absent.
    ///
    /// # Errors
    /// If the parameter is repeated.
    pub fn single(&self, name: &str) -> Result<Option<&str>, RepeatedParameter> {
        let mut values =
            self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let first = values.next();
        if values.next().is_some() {
            return Err(RepeatedParameter);
        }
        Ok(first.filter(|value| !value.is_empty()))
    }
}
