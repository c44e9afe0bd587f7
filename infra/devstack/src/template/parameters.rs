//! Parameters: what the template declares, what is given, and whether the two agree.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{TemplateError, text};

/// A parameter as the template declares it.
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

/// The value of every parameter, checked against its declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    values: BTreeMap<String, Parameter>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parameter {
    text: String,
    list: bool,
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
            let value = match (given.get(name), &declared.default) {
                (Some(value), _) => value.clone(),
                (None, Some(default)) => text(default).ok_or_else(|| TemplateError::Parameter {
                    name: name.clone(),
                    reason: "its default is no scalar".into(),
                })?,
                (None, None) => return Err(TemplateError::MissingParameter(name.clone())),
            };
            declared
                .check(&value)
                .map_err(|reason| TemplateError::Parameter {
                    name: name.clone(),
                    reason: declared.constraint_description.clone().unwrap_or(reason),
                })?;
            let list =
                declared.r#type == "CommaDelimitedList" || declared.r#type.starts_with("List<");
            values.insert(name.clone(), Parameter { text: value, list });
        }
        Ok(Self { values })
    }

    /// The text of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values
            .get(name)
            .map(|parameter| parameter.text.as_str())
    }

    /// Names and texts of all parameters.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(name, parameter)| (name.as_str(), parameter.text.as_str()))
    }

    /// What `Ref` makes of a parameter.
    pub(super) fn reference(&self, name: &str) -> Option<Value> {
        let parameter = self.values.get(name)?;
        Some(if parameter.list {
            let items = parameter
                .text
                .split(',')
                .map(|item| Value::String(item.trim().to_owned()));
            Value::Array(items.collect())
        } else {
            Value::String(parameter.text.clone())
        })
    }
}

impl Declared {
    /// The reason why the value is refused.
    fn check(&self, value: &str) -> Result<(), String> {
        let allowed: Vec<String> = self.allowed_values.iter().filter_map(text).collect();
        if !allowed.is_empty() && !allowed.iter().any(|allowed| allowed == value) {
            return Err(format!("it must be one of {}", allowed.join(", ")));
        }
        if self.r#type == "Number" {
            let number: f64 = value
                .trim()
                .parse()
                .map_err(|_| "it must be a number".to_owned())?;
            if self.min_value.is_some_and(|least| number < least)
                || self.max_value.is_some_and(|most| number > most)
            {
                return Err("it is out of range".to_owned());
            }
        }
        let length = value.chars().count();
        if self.min_length.is_some_and(|least| length < least)
            || self.max_length.is_some_and(|most| length > most)
        {
            return Err(format!("its length of {length} is out of range"));
        }
        if let Some(pattern) = &self.allowed_pattern {
            // CloudFormation's patterns have to match the whole value.
            let whole = regex_lite::Regex::new(&format!("^(?:{pattern})$"))
                .map_err(|_| format!("the template's pattern {pattern} does not read"))?;
            if !whole.is_match(value) {
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

    fn declared() -> BTreeMap<String, Declared> {
        serde_json::from_value(json!({
            "Urls": {"Type": "CommaDelimitedList", "MinLength": 1},
            "Mode": {"Type": "String", "Default": "automatic", "AllowedValues": ["automatic", "on-demand"]},
            "Days": {"Type": "Number", "Default": 0, "MinValue": 0, "MaxValue": 30},
            "Public": {"Type": "String", "Default": "", "AllowedPattern": "|https?://.+"},
        }))
        .unwrap()
    }

    fn given(pairs: &[(&str, &str)]) -> Result<Parameters, TemplateError> {
        let given = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Parameters::new(&declared(), &given)
    }

    #[test]
    fn defaults_serve_where_nothing_is_given() {
        let parameters = given(&[("Urls", "http://a/, http://b/")]).unwrap();
        assert_eq!(
            parameters.reference("Urls"),
            Some(json!(["http://a/", "http://b/"]))
        );
        assert_eq!(parameters.reference("Days"), Some(json!("0")));
        assert_eq!(parameters.get("Mode"), Some("automatic"));
    }

    #[test]
    fn what_cloudformation_refuses_is_refused() {
        let refused = |pairs: &[(&str, &str)]| given(pairs).unwrap_err().to_string();
        assert!(refused(&[]).contains("Urls"));
        assert!(refused(&[("Urls", "a"), ("Nope", "1")]).contains("Nope"));
        assert!(refused(&[("Urls", "a"), ("Mode", "sometimes")]).contains("automatic, on-demand"));
        assert!(refused(&[("Urls", "a"), ("Days", "many")]).contains("number"));
        assert!(refused(&[("Urls", "a"), ("Days", "31")]).contains("range"));
        assert!(refused(&[("Urls", "a"), ("Public", "ftp://x")]).contains("match"));
        assert!(refused(&[("Urls", "")]).contains("length"));
    }
}
