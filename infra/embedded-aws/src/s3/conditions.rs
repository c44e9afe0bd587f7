//! Conditional requests: `If-Match`, `If-None-Match`, `If-Modified-Since` and `If-Unmodified-Since`.

use s3s::{
    S3Result,
    dto::{ETagCondition, Timestamp},
    s3_error,
};

use super::object::Object;

/// Condition of a write on the existing object.
#[derive(Debug, Default)]
pub(super) struct WriteCondition {
    if_match: Option<ETagCondition>,
    only_if_absent: bool,
}

impl WriteCondition {
    pub(super) fn new(
        if_match: Option<ETagCondition>,
        if_none_match: Option<&ETagCondition>,
    ) -> S3Result<Self> {
        if if_none_match.is_some_and(|condition| !condition.is_any()) {
            return Err(s3_error!(
                NotImplemented,
                "A write accepts If-None-Match only with the value *"
            ));
        }
        Ok(Self { if_match, only_if_absent: if_none_match.is_some() })
    }

    pub(super) fn check(&self, current: Option<&str>) -> S3Result<()> {
        if self.only_if_absent && current.is_some() {
            return Err(failed());
        }
        match (&self.if_match, current) {
            (None, _) | (Some(ETagCondition::Any), Some(_)) => Ok(()),
            (Some(_), None) => Err(s3_error!(NoSuchKey, "The specified key does not exist.")),
            (Some(ETagCondition::ETag(expected)), Some(current)) if expected.value() == current => {
                Ok(())
            }
            _ => Err(failed()),
        }
    }
}

/// Condition of a read on the existing object.
pub(super) struct ReadCondition<'a> {
    pub(super) if_match: Option<&'a ETagCondition>,
    pub(super) if_none_match: Option<&'a ETagCondition>,
    pub(super) if_modified_since: Option<&'a Timestamp>,
    pub(super) if_unmodified_since: Option<&'a Timestamp>,
}

impl ReadCondition<'_> {
    /// Checks in the order of RFC 9110, section 13.2.2: entity tags before times.
    pub(super) fn check(&self, object: &Object) -> S3Result<()> {
        let modified = &object.modified_at;
        let matches = |condition: &ETagCondition| match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(tag) => tag.value() == object.etag,
        };
        match (self.if_match, self.if_unmodified_since) {
            (Some(condition), _) if !matches(condition) => return Err(failed()),
            (None, Some(time)) if modified > time => return Err(failed()),
            _ => {}
        }
        match (self.if_none_match, self.if_modified_since) {
            (Some(condition), _) if matches(condition) => Err(s3_error!(NotModified)),
            (None, Some(time)) if modified <= time => Err(s3_error!(NotModified)),
            _ => Ok(()),
        }
    }
}

fn failed() -> s3s::S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}
