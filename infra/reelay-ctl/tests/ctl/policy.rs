//! `operator-policy.json` allows exactly the AWS calls of the commands.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use reelay_embedded_aws::Service;
use reelay_zoom_sim::{NewFile, NewRecording};
use serde_json::Value;
use support::System;
use support::zoom_users::ADA;

use crate::run;

/// Relative to the crate, where cargo runs its tests.
const POLICY: &str = "operator-policy.json";

/// Every command but `doctor`, `manifest` and the commands that call the stack's API: the functions' AWS calls would
/// count as theirs.
const COMMANDS: [&str; 16] = [
    "unparsed",
    "links --user alice",
    "recordings --user alice",
    "report",
    "trash-preview --after-days 7",
    "retry --yes",
    "reconcile --all",
    "resend --user alice",
    "redrive --list",
    "redrive",
    "mint-link --user alice",
    "revive --all-marked-since 2026-01-01T00:00:00Z",
    "send-test --to bus",
    "deliveries --user alice",
    "erase-user --user alice --yes",
    "erase-zoom-user --zoom AcctZoomAAAAAAAAAAAAAA/UserBen --yes",
];

/// Actions of commands and cases that this test does not run.
const NOT_RUN: [&str; 12] = [
    // Of `--stack` and `doctor`.
    "cloudformation:DescribeStacks",
    "cloudformation:ListStackResources",
    "cloudwatch:DescribeAlarms",
    "dynamodb:DescribeTable",
    "lambda:GetAccountSettings",
    "s3:GetBucketPublicAccessBlock",
    "s3:GetEncryptionConfiguration",
    // `erase-user` during a transfer.
    "s3:AbortMultipartUpload",
    // `revive` of a marked grant.
    "kms:Decrypt",
    "kms:GenerateDataKey",
    // `redrive` of dead letters. SQS moves them with the permissions of the caller, one of which is to delete.
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
];

/// IAM's actions for an operation.
fn actions(service: Service, operation: &str) -> Vec<String> {
    let (prefix, names): (_, &[&str]) = match (service, operation) {
        (Service::DynamoDb, "TransactWriteItems") => {
            ("dynamodb", &["PutItem", "UpdateItem", "DeleteItem", "ConditionCheckItem"])
        }
        (Service::DynamoDb, _) => ("dynamodb", &[operation]),
        (Service::S3, "ListObjectsV2") => ("s3", &["ListBucket"]),
        (Service::S3, "ListMultipartUploads") => ("s3", &["ListBucketMultipartUploads"]),
        (Service::S3, "HeadObject") => ("s3", &["GetObject"]),
        (Service::S3, "DeleteObjects") => ("s3", &["DeleteObject"]),
        (Service::S3, _) => ("s3", &[operation]),
        (Service::Sqs, _) => ("sqs", &[operation.trim_end_matches("Batch")]),
        (Service::Kms, _) => ("kms", &[operation]),
        (Service::SecretsManager, _) => ("secretsmanager", &[operation]),
        (Service::EventBridge, _) => ("events", &[operation]),
    };
    names.iter().map(|name| format!("{prefix}:{name}")).collect()
}

fn allowed() -> BTreeSet<String> {
    let policy: Value = serde_json::from_str(&std::fs::read_to_string(POLICY).unwrap()).unwrap();
    let statements = policy["Statement"].as_array().unwrap().iter();
    let names = statements.flat_map(|statement| match &statement["Action"] {
        Value::Array(actions) => actions.clone(),
        action => vec![action.clone()],
    });
    names.map(|action| action.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn policy_allows_what_commands_call() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    let files = vec![NewFile::new("MP4", 700)];
    system.complete_recording(NewRecording::of(ADA).with_files(files)).await;
    system.process_queues().await;
    let called: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let noted = Arc::clone(&called);
    system.faults().decide_with(move |service, operation| {
        noted.lock().unwrap().extend(actions(service, operation));
        None
    });
    for command in COMMANDS {
        let output = run::on(&system, command).await;
        assert_eq!(output.code, 0, "{command}: {output:?}");
    }
    let (called, allowed) = (called.lock().unwrap().clone(), allowed());
    let missing: Vec<_> = called.difference(&allowed).collect();
    assert!(missing.is_empty(), "the policy lacks {missing:?}");
    let mut unused: BTreeSet<&str> = allowed.difference(&called).map(String::as_str).collect();
    for action in NOT_RUN {
        assert!(unused.remove(action), "{action} is called, or not allowed");
    }
    assert!(unused.is_empty(), "no command calls {unused:?}");
}
