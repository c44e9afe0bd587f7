//! Expiration of objects by the rules of a bucket, at midnight UTC after their days.

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use s3s::{S3Request, S3Response, S3Result, dto::*, s3_error};

use super::{
    bucket::Bucket,
    object::{Object, whole_seconds},
    store::Store,
};

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

impl Bucket {
    /// Deletes the objects that have expired. S3 does so once a day.
    pub(super) fn expire(&self, now: Timestamp) {
        let today = now.to_zoned_datetime(TimeZone::UTC).date();
        let mut contents = self.contents();
        let lifecycle = &mut contents.lifecycle;
        if lifecycle.rules.is_empty() || lifecycle.expired_on >= Some(today) {
            return;
        }
        lifecycle.expired_on = Some(today);
        let rules = std::mem::take(&mut lifecycle.rules);
        contents.objects.retain(|_, object| !rules.iter().any(|rule| rule.expires(object, today)));
        contents.lifecycle.rules = rules;
    }
}

impl Store {
    pub(super) fn put_lifecycle(
        &self,
        request: S3Request<PutBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        let rules = request.input.lifecycle_configuration.unwrap_or_default().rules;
        let rules = rules.into_iter().map(Rule::new).collect::<S3Result<Vec<_>>>()?;
        bucket.contents().lifecycle =
            Lifecycle { rules: rules.into_iter().flatten().collect(), expired_on: None };
        Ok(S3Response::new(PutBucketLifecycleConfigurationOutput::default()))
    }
}
