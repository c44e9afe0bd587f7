//! Expiration of objects by the rules of a bucket, at midnight UTC after their days.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use s3s::{S3Error, S3Result, dto::*, s3_error};

use super::object::{Object, whole_seconds};

/// The rules of a bucket.
#[derive(Default)]
pub(super) struct Lifecycle {
    rules: Vec<Rule>,
    /// The last day on which objects were expired.
    expired_on: Option<Date>,
}

/// An enabled rule that expires objects.
struct Rule {
    prefix: String,
    tags: Vec<(String, String)>,
    days: i32,
}

impl Rule {
    /// `None` for rules that expire no object.
    fn new(rule: LifecycleRule) -> S3Result<Option<Self>> {
        let Some(days) = rule.expiration.and_then(|expiration| expiration.days) else {
            return Ok(None);
        };
        if rule.status.as_str() != ExpirationStatus::ENABLED {
            return Ok(None);
        }
        let filter = rule.filter.unwrap_or_default();
        let and = filter.and.unwrap_or_default();
        let prefix = rule.prefix.or(filter.prefix).or(and.prefix).unwrap_or_default();
        let tags = filter.tag.into_iter().chain(and.tags.unwrap_or_default());
        let tags = tags.map(|tag| tag.key.zip(tag.value)).collect::<Option<_>>();
        let tags = tags.ok_or_else(|| s3_error!(MalformedXML, "A tag lacks its key or value"))?;
        Ok(Some(Self { prefix, tags, days }))
    }

    fn expires(&self, object: &Object, today: Date) -> bool {
        let tags = &object.description.tags;
        let midnight = today.saturating_sub(self.days.days()).at(0, 0, 0, 0);
        let midnight = TimeZone::UTC.to_timestamp(midnight);
        midnight.is_ok_and(|midnight| object.modified_at < whole_seconds(midnight))
            && object.key.starts_with(&self.prefix)
            && self.tags.iter().all(|(key, value)| tags.get(key) == Some(value))
    }
}

impl Lifecycle {
    /// Deletes the objects that have expired. S3 does so once a day.
    pub(super) fn expire(&mut self, objects: &mut BTreeMap<String, Arc<Object>>, now: Timestamp) {
        let today = now.to_zoned_datetime(TimeZone::UTC).date();
        if self.rules.is_empty() || self.expired_on >= Some(today) {
            return;
        }
        self.expired_on = Some(today);
        objects.retain(|_, object| !self.rules.iter().any(|rule| rule.expires(object, today)));
    }
}

impl TryFrom<BucketLifecycleConfiguration> for Lifecycle {
    type Error = S3Error;

    fn try_from(configuration: BucketLifecycleConfiguration) -> S3Result<Self> {
        let rules = configuration.rules.into_iter().map(Rule::new);
        let rules = rules.collect::<S3Result<Vec<_>>>()?;
        Ok(Self { rules: rules.into_iter().flatten().collect(), expired_on: None })
    }
}
