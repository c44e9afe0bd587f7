//! Tables and bucket: there, encrypted, closed to everybody else.

use aws_sdk_dynamodb::types::TableStatus;
use reelay_runtime::AwsError;

use super::finding::Finding;
use crate::deployment::Deployment;

/// What a public access block consists of.
const SWITCHES: [&str; 4] = [
    "BlockPublicAcls",
    "IgnorePublicAcls",
    "BlockPublicPolicy",
    "RestrictPublicBuckets",
];

pub(super) async fn examine(deployment: &Deployment) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (check, logical) in [
        ("table.links", "LinksTable"),
        ("table.sessions", "SessionsTable"),
        ("table.recordings", "RecordingsTable"),
    ] {
        findings.push(table(deployment, check, deployment.resource(logical)?).await);
    }
    let bucket = deployment.resource("RecordingsBucket")?;
    findings.push(public_access(deployment, bucket).await);
    findings.push(encryption(deployment, bucket).await);
    Ok(findings)
}

async fn table(deployment: &Deployment, check: &str, name: &str) -> Finding {
    let client = deployment.environment.dynamodb();
    let means = "whatever needs it fails: linking, routing, or the app's API.";
    match client.describe_table().table_name(name).send().await {
        Ok(answer) => {
            let status = answer.table.and_then(|table| table.table_status);
            if status == Some(TableStatus::Active) {
                return Finding::ok(check, format!("{name} is active"));
            }
            let status = status.map_or_else(|| "unknown".to_owned(), |it| it.to_string());
            Finding::fail(
                check,
                format!("{name} is {status}"),
                means,
                "wait until it is active, and run this again.",
            )
        }
        Err(error) => {
            let failure = AwsError::from_sdk("DescribeTable", &error);
            if !failure.code().ends_with("ResourceNotFoundException") {
                return unknown(check, &failure);
            }
            let restore = format!(
                "restore-table-to-point-in-time --source-table-name {name} --target-table-name {name} \
                 --use-latest-restorable-time"
            );
            let mend = if check == "table.sessions" {
                "it holds nothing that must be kept. Make one by the same name and keys as template.yaml has them."
                    .to_owned()
            } else {
                format!(
                    "within 35 days of its deletion it can be brought back:\n{}",
                    deployment.aws("dynamodb", &restore)
                )
            };
            Finding::fail(check, format!("there is no table {name}"), means, mend)
        }
    }
}

fn unknown(check: &str, failure: &AwsError) -> Finding {
    Finding::warn(
        check,
        format!("can't be asked: {failure}"),
        "whether all is well there was not seen.",
        "see that you may read it, and run this again.",
    )
}

async fn public_access(deployment: &Deployment, bucket: &str) -> Finding {
    const CHECK: &str = "bucket.public_access";
    let client = deployment.environment.s3();
    let answer = client.get_public_access_block().bucket(bucket).send().await;
    let mend = deployment.aws(
        "s3api",
        &format!(
            "put-public-access-block --bucket {bucket} --public-access-block-configuration \
             BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true"
        ),
    );
    let open = |found: String| {
        Finding::fail(
            CHECK,
            found,
            "a policy or an access list could open recordings to everybody.",
            &*mend,
        )
    };
    match answer {
        Ok(answer) => {
            let block = answer.public_access_block_configuration;
            let switches = block.map_or([None; 4], |block| {
                [
                    block.block_public_acls,
                    block.ignore_public_acls,
                    block.block_public_policy,
                    block.restrict_public_buckets,
                ]
            });
            let off: Vec<&str> = SWITCHES
                .iter()
                .zip(switches)
                .filter(|(_, on)| *on != Some(true))
                .map(|(name, _)| *name)
                .collect();
            if off.is_empty() {
                Finding::ok(CHECK, format!("{bucket} can't be opened to everybody"))
            } else {
                open(format!("{bucket} does not have {}", off.join(", ")))
            }
        }
        Err(error) => {
            let failure = AwsError::from_sdk("GetPublicAccessBlock", &error);
            match failure.code() {
                "NoSuchPublicAccessBlockConfiguration" => {
                    open(format!("{bucket} has no public access block"))
                }
                "NoSuchBucket" => Finding::fail(
                    CHECK,
                    format!("there is no bucket {bucket}"),
                    "no file can be stored, and those that were are gone.",
                    "deploy again with a new stack name, and have users' recordings read anew (POST /v1/backfill).",
                ),
                _ => unknown(CHECK, &failure),
            }
        }
    }
}

async fn encryption(deployment: &Deployment, bucket: &str) -> Finding {
    const CHECK: &str = "bucket.encryption";
    let client = deployment.environment.s3();
    let answer = match client.get_bucket_encryption().bucket(bucket).send().await {
        Ok(answer) => answer,
        Err(error) => return unknown(CHECK, &AwsError::from_sdk("GetBucketEncryption", &error)),
    };
    let rules = answer
        .server_side_encryption_configuration
        .map(|configuration| configuration.rules)
        .unwrap_or_default();
    let algorithm = rules
        .into_iter()
        .find_map(|rule| rule.apply_server_side_encryption_by_default)
        .map(|default| default.sse_algorithm);
    match algorithm {
        Some(algorithm) => Finding::ok(CHECK, format!("{bucket} is encrypted with {algorithm}")),
        None => Finding::fail(
            CHECK,
            format!("{bucket} has no rule for encryption"),
            "somebody took it away; AWS still encrypts with keys of its own.",
            deployment.aws(
                "s3api",
                &format!(
                    "put-bucket-encryption --bucket {bucket} --server-side-encryption-configuration \
                     '{{\"Rules\":[{{\"ApplyServerSideEncryptionByDefault\":{{\"SSEAlgorithm\":\"AES256\"}}}}]}}'"
                ),
            ),
        ),
    }
}
