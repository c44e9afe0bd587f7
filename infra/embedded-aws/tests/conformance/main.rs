//! AWS's behaviour that applications rely on, tested with AWS's SDKs.
//!
//! The suite runs on the embedded engines. To test another endpoint set `EMBEDDED_AWS_TEST_S3_ENDPOINT`,
//! `…_SQS_…`, `…_DYNAMODB_…`, `…_KMS_…`, `…_SECRETSMANAGER_…` or `…_EVENTS_…` (credentials `test`/`test`,
//! region `us-east-1`). Tests of features that only the engines have (faults, request log, deletion of
//! expired items) ignore these variables.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod cloud;
mod dynamodb;
mod dynamodb_consistency;
mod eventbridge;
mod faults;
mod kms;
mod s3_multipart;
mod s3_objects;
mod secretsmanager;
mod sqs;
mod sqs_move_tasks;
