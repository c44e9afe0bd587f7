//! Routes with API Gateway's precedence: an exact path precedes a greedy path, a longer greedy path a shorter one,
//! and a method precedes `ANY`. `$default` is last.

use crate::template::Route;

/// All routes with their targets.
#[derive(Debug, Clone)]
pub(crate) struct Routes<T> {
    routes: Vec<(Pattern, T)>,
}

impl<T> Default for Routes<T> {
    fn default() -> Self {
        Self { routes: Vec::new() }
    }
}

#[derive(Debug, Clone)]
struct Pattern {
    /// Value of `routeKey`.
    key: String,
    method: String,
    segments: Option<Vec<Segment>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    One(String),
    Rest(String),
}

/// The route of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Matched<'a, T> {
    pub(crate) key: &'a str,
    pub(crate) parameters: Vec<(&'a str, String)>,
    pub(crate) target: &'a T,
}

impl<T> Routes<T> {
    pub(crate) fn add(&mut self, route: &Route, target: T) {
        let default = route.path == "$default";
        let key = if default {
            "$default".to_owned()
        } else {
            format!("{} {}", route.method, route.path)
        };
        let segments = (!default)
            .then(|| route.path.trim_start_matches('/').split('/').map(segment).collect());
        self.routes.push((Pattern { key, method: route.method.clone(), segments }, target));
    }

    /// Finds the route for a method and a percent-decoded path.
    pub(crate) fn find(&self, method: &str, path: &str) -> Option<Matched<'_, T>> {
        let mut best: Option<(Rank, Matched<'_, T>)> = None;
        for (pattern, target) in &self.routes {
            let Some((rank, parameters)) = pattern.matches(method, path) else {
                continue;
            };
            if best.as_ref().is_none_or(|(known, _)| rank > *known) {
                best = Some((rank, Matched { key: &pattern.key, parameters, target }));
            }
        }
        best.map(|(_, matched)| matched)
    }
}

/// Precedence; greater wins. The fields mean: not `$default`, not greedy, number of literal segments, own method.
type Rank = (bool, bool, usize, bool);

impl Pattern {
    fn matches(&self, method: &str, path: &str) -> Option<(Rank, Vec<(&str, String)>)> {
        let own_method = self.method == method;
        if !own_method && self.method != "ANY" {
            return None;
        }
        let Some(segments) = &self.segments else {
            return Some(((false, false, 0, own_method), Vec::new()));
        };
        let mut rest = path.strip_prefix('/')?;
        let (mut literals, mut parameters, mut greedy) = (0, Vec::new(), false);
        for (place, segment) in segments.iter().enumerate() {
            let last = place + 1 == segments.len();
            let (here, after) = match rest.split_once('/') {
                Some((here, after)) => (here, Some(after)),
                None => (rest, None),
            };
            match segment {
                Segment::Rest(name) if !rest.is_empty() => {
                    parameters.push((name.as_str(), rest.to_owned()));
                    greedy = true;
                    break;
                }
                Segment::Literal(literal) if literal == here => literals += 1,
                Segment::One(name) if !here.is_empty() => {
                    parameters.push((name.as_str(), here.to_owned()))
                }
                _ => return None,
            }
            match (last, after) {
                (true, None) => {}
                (false, Some(after)) => rest = after,
                _ => return None,
            }
        }
        Some(((true, !greedy, literals, own_method), parameters))
    }
}

fn segment(text: &str) -> Segment {
    match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        Some(name) => match name.strip_suffix('+') {
            Some(name) => Segment::Rest(name.to_owned()),
            None => Segment::One(name.to_owned()),
        },
        None => Segment::Literal(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(keys: &[&str]) -> Routes<()> {
        let mut routes = Routes::default();
        for key in keys {
            let (method, path) = key.split_once(' ').unwrap_or(("ANY", key));
            routes.add(&Route { method: method.to_owned(), path: path.to_owned() }, ());
        }
        routes
    }

    #[test]
    fn most_specific_route_wins() {
        let routes = routes(&[
            "ANY /v1/{proxy+}",
            "GET /v1/{a}",
            "ANY /v1/links",
            "GET /v1/links",
            "ANY /v1",
            "GET /healthz",
        ]);
        for (method, path, key) in [
            ("GET", "/v1", Some("ANY /v1")),
            ("GET", "/v1/links", Some("GET /v1/links")),
            ("POST", "/v1/links", Some("ANY /v1/links")),
            ("GET", "/v1/x", Some("GET /v1/{a}")),
            ("PUT", "/v1/x", Some("ANY /v1/{proxy+}")),
            ("GET", "/v1/x/y", Some("ANY /v1/{proxy+}")),
            ("GET", "/v1/", None),
            ("GET", "/healthz", Some("GET /healthz")),
            ("HEAD", "/healthz", None),
            ("GET", "/healthz/", None),
            ("GET", "/", None),
            ("GET", "/V1/x", None),
        ] {
            assert_eq!(
                routes.find(method, path).map(|matched| matched.key),
                key,
                "{method} {path}"
            );
        }
    }

    #[test]
    fn path_parameters_are_extracted() {
        let routes = routes(&["GET /v1/{proxy+}", "GET /a/{b}/c"]);
        assert_eq!(
            routes.find("GET", "/v1/x/y z/").unwrap().parameters,
            [("proxy", "x/y z/".to_owned())]
        );
        assert_eq!(routes.find("GET", "/a/1/c").unwrap().parameters, [("b", "1".to_owned())]);
        assert_eq!(routes.find("GET", "/a//c"), None);
    }

    #[test]
    fn default_route_matches_the_rest() {
        let routes = routes(&["$default", "GET /a"]);
        assert_eq!(routes.find("GET", "/a").unwrap().key, "GET /a");
        assert_eq!(routes.find("PATCH", "/b").unwrap().key, "$default");
    }
}
