//! What applications rely on of AWS, seen through AWS's own SDKs.
//!
//! The suite runs on the embedded engines. Pointed at another endpoint it says whether that one behaves
//! alike: set `EMBEDDED_AWS_TEST_S3_ENDPOINT`, `…_SQS_…`, `…_DYNAMODB_…`, `…_KMS_…`,
//! `…_SECRETSMANAGER_…` or `…_EVENTS_…` (credentials `test`/`test`, region `us-east-1`). Tests of what
//! only the engines have (faults, restarts, the TTL sweep) ignore these.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod cloud;
mod dynamodb;
mod eventbridge;
mod faults;
mod kms;
mod restart;
mod s3_multipart;
mod s3_objects;
mod secretsmanager;
mod sqs;
mod sqs_move_tasks;
mod wire;
