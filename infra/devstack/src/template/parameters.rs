//! Parameters: declarations, values, and constraints.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::error::TemplateError;
use super::value::text;

/// A parameter's declaration in the template.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Declared {
    r#type: String,
    default: Option<Value>,
    #[serde(default)]
    allowed_values: Vec<Value>,
    allowed_pattern: Option<String>,
    constraint_description: Option<String>,
    min_length: Option<usize>,
    max_length: Option<usize>,
    min_value: Option<f64>,
    max_value: Option<f64>,
}

/// The values of all parameters, checked against their declarations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    values: BTreeMap<String, Parameter>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parameter {
    text: String,
    is_list: bool,
}

impl Parameters {
    pub(super) fn new(
        declared: &BTreeMap<String, Declared>,
        given: &BTreeMap<String, String>,
    ) -> Result<Self, TemplateError> {
        if let Some(name) = given.keys().find(|name| !declared.contains_key(*name)) {
            return Err(TemplateError::UnknownParameter {
                name: name.clone(),
                known: declared.keys().cloned().collect::<Vec<_>>().join(", "),
            });
        }
        let mut values = BTreeMap::new();
        for (name, declared) in declared {
            let invalid = |reason: String| TemplateError::Parameter { name: name.clone(), reason };
            let text = match (given.get(name), &declared.default) {
                (Some(value), _) => value.clone(),
                (None, Some(default)) => {
                    text(default).ok_or_else(|| invalid("its default is not a scalar".into()))?
                }
                (None, None) => return Err(TemplateError::MissingParameter(name.clone())),
            };
            declared.check(&text).map_err(|reason| {
                invalid(declared.constraint_description.clone().unwrap_or(reason))
            })?;
            let is_list =
                declared.r#type == "CommaDelimitedList" || declared.r#type.starts_with("List<");
            values.insert(name.clone(), Parameter { text, is_list });
        }
        Ok(Self { values })
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|parameter| parameter.text.as_str())
    }

    /// Names and values of all parameters.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, parameter)| (name.as_str(), parameter.text.as_str()))
    }

    /// The result of `Ref`: an array for a list parameter, otherwise a string.
    pub(super) fn reference(&self, name: &str) -> Option<Value> {
        let Parameter { text, is_list } = self.values.get(name)?;
        Some(if *is_list {
            text.split(',').map(|item| item.trim().to_owned()).collect()
        } else {
            Value::String(text.clone())
        })
    }
}

impl Declared {
    /// Returns the violated constraint.
    fn check(&self, value: &str) -> Result<(), String> {
        let allowed: Vec<String> = self.allowed_values.iter().filter_map(text).collect();
        if !allowed.is_empty() && !allowed.iter().any(|allowed| allowed == value) {
            return Err(format!("it must be one of {}", allowed.join(", ")));
        }
        if self.r#type == "Number" {
            let number: f64 = value.trim().parse().map_err(|_| "it must be a number")?;
            if self.min_value.is_some_and(|min| number < min)
                || self.max_value.is_some_and(|max| number > max)
            {
                return Err("it is out of range".to_owned());
            }
        }
        let length = value.chars().count();
        if self.min_length.is_some_and(|min| length < min)
            || self.max_length.is_some_and(|max| length > max)
        {
            return Err(format!("its length of {length} is out of range"));
        }
        if let Some(pattern) = &self.allowed_pattern {
            // CloudFormation matches the pattern against the whole value.
            let regex = regex_lite::Regex::new(&format!("^(?:{pattern})$"))
                .map_err(|_| format!("the template's pattern {pattern} is invalid"))?;
            if !regex.is_match(value) {
                return Err(format!("it must match {pattern}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parameters(given: &[(&str, &str)]) -> Result<Parameters, TemplateError> {
        let declared = serde_json::from_value(json!({
            "Urls": {"Type": "CommaDelimitedList", "MinLength": 1},
            "Mode": {"Type": "String", "Default": "automatic", "AllowedValues": ["automatic", "on-demand"]},
            "Days": {"Type": "Number", "Default": 0, "MinValue": 0, "MaxValue": 30},
            "Public": {"Type": "String", "Default": "", "AllowedPattern": "|https?://.+"},
        }))
        .unwrap();
        let given =
            given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Parameters::new(&declared, &given)
    }

    #[test]
    fn defaults_apply_to_missing_values() {
        let parameters = parameters(&[("Urls", "http://a/, http://b/")]).unwrap();
        let urls = json!(["http://a/", "http://b/"]);
        assert_eq!(parameters.reference("Urls"), Some(urls));
        assert_eq!(parameters.reference("Days"), Some(json!("0")));
        assert_eq!(parameters.get("Mode"), Some("automatic"));
    }

    #[test]
    fn invalid_values_are_rejected() {
        for (given, reason) in [
            (&[][..], "Urls is required"),
            (&[("Urls", "a"), ("Nope", "1")], "no parameter Nope"),
            (&[("Urls", "a"), ("Mode", "sometimes")], "automatic, on-demand"),
            (&[("Urls", "a"), ("Days", "many")], "number"),
            (&[("Urls", "a"), ("Days", "31")], "range"),
            (&[("Urls", "a"), ("Public", "ftp://x")], "match"),
            (&[("Urls", "")], "length"),
        ] {
            let error = parameters(given).unwrap_err().to_string();
            assert!(error.contains(reason), "{given:?}: {error}");
        }
    }
}
