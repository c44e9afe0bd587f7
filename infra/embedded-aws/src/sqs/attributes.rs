//! Attributes that the owner of a queue sets.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::Value;

use super::error::SqsError;

/// Limits and defaults of the numeric attributes: name, minimum, maximum, default.
const NUMBERS: [(&str, u32, u32, u32); 5] = [
    ("DelaySeconds", 0, 900, 0),
    ("MaximumMessageSize", 1024, 1_048_576, 1_048_576),
    ("MessageRetentionPeriod", 60, 1_209_600, 345_600),
    ("ReceiveMessageWaitTimeSeconds", 0, 20, 0),
    ("VisibilityTimeout", 0, 43_200, 30),
];
/// Attributes that are stored and returned, and have no effect here.
const STORED: [&str; 5] = [
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "Policy",
    "RedriveAllowPolicy",
    "SqsManagedSseEnabled",
];

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attributes {
    /// As given, with the defaults.
    pub(super) texts: BTreeMap<String, String>,
    pub(super) delay_seconds: u32,
    pub(super) max_message_size: u32,
    pub(super) retention: SignedDuration,
    pub(super) wait_seconds: u32,
    pub(super) visibility_seconds: u32,
    pub(super) redrive: Option<Redrive>,
}

/// The redrive policy.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Redrive {
    pub(super) target_arn: String,
    pub(super) max_receive_count: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedrivePolicy {
    dead_letter_target_arn: String,
    /// A number, or a string that contains one.
    max_receive_count: Value,
}

impl Attributes {
    pub(super) fn parse(given: &BTreeMap<String, String>) -> Result<Self, SqsError> {
        let mut texts: BTreeMap<String, String> = NUMBERS
            .iter()
            .map(|(name, _, _, default)| ((*name).to_owned(), default.to_string()))
            .collect();
        let sse = ("SqsManagedSseEnabled".to_owned(), "true".to_owned());
        texts.extend([sse]);
        for (name, value) in given {
            let is_known = texts.contains_key(name)
                || STORED.contains(&name.as_str())
                || name == "RedrivePolicy";
            if !is_known {
                return Err(SqsError::client(
                    "InvalidAttributeName",
                    format!("{name} is unknown or not emulated"),
                ));
            }
            texts.insert(name.clone(), value.clone());
        }
        // An empty value removes an attribute.
        texts.retain(|_, value| !value.is_empty());
        let [delay_seconds, max_message_size, retention, wait_seconds, visibility_seconds] =
            NUMBERS.map(|(name, minimum, maximum, default)| {
                let Some(text) = texts.get(name) else {
                    return Ok(default);
                };
                let number = text.parse().ok().filter(|it| (minimum..=maximum).contains(it));
                number.ok_or_else(|| {
                    SqsError::client(
                        "InvalidAttributeValue",
                        format!("{name} is not between {minimum} and {maximum}"),
                    )
                })
            });
        let redrive = texts.get("RedrivePolicy").map(|policy| redrive(policy)).transpose()?;
        Ok(Self {
            delay_seconds: delay_seconds?,
            max_message_size: max_message_size?,
            retention: SignedDuration::from_secs(retention?.into()),
            wait_seconds: wait_seconds?,
            visibility_seconds: visibility_seconds?,
            redrive,
            texts,
        })
    }
}

fn redrive(policy: &str) -> Result<Redrive, SqsError> {
    let invalid = || SqsError::client("InvalidAttributeValue", "RedrivePolicy is not valid");
    let policy: RedrivePolicy = serde_json::from_str(policy).map_err(|_| invalid())?;
    let count = match &policy.max_receive_count {
        Value::Number(count) => count.as_u64(),
        Value::String(count) => count.parse().ok(),
        _ => None,
    };
    let count = count.and_then(|count| u32::try_from(count).ok());
    let max_receive_count = count.filter(|count| (1..=1000).contains(count)).ok_or_else(invalid)?;
    Ok(Redrive { target_arn: policy.dead_letter_target_arn, max_receive_count })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, value: &str) -> Result<Attributes, String> {
        let given = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        Attributes::parse(&given).map_err(|error| error.code)
    }

    #[test]
    fn numbers_have_limits_and_defaults() {
        assert_eq!(parse("VisibilityTimeout", "0").unwrap().visibility_seconds, 0);
        assert_eq!(parse("VisibilityTimeout", "").unwrap().visibility_seconds, 30);
        for value in ["43201", "-1", "1.5", "x"] {
            assert_eq!(parse("VisibilityTimeout", value).unwrap_err(), "InvalidAttributeValue");
        }
        assert_eq!(parse("FifoQueue", "true").unwrap_err(), "InvalidAttributeName");
    }

    #[test]
    fn receive_count_is_a_number_or_a_string() {
        let policy = |count: &str| {
            let policy = format!(r#"{{"deadLetterTargetArn":"a","maxReceiveCount":{count}}}"#);
            parse("RedrivePolicy", &policy).map(|attributes| attributes.redrive.unwrap())
        };
        let expected = Redrive { target_arn: "a".into(), max_receive_count: 3 };
        assert_eq!(policy("3"), Ok(expected.clone()));
        assert_eq!(policy("\"3\""), Ok(expected));
        for count in ["0", "1001", "null", "\"x\""] {
            assert_eq!(policy(count), Err("InvalidAttributeValue".to_owned()), "{count}");
        }
    }
}
