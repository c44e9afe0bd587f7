//! Checks that tables and bucket exist, and that the bucket is private and encrypted.

use aws_sdk_dynamodb::types::TableStatus;
use reelay_runtime::AwsError;

use super::finding::Finding;
use crate::deployment::Deployment;

/// Settings of a public access block.
const PUBLIC_ACCESS_SETTINGS: [&str; 4] =
    ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];

pub(super) async fn check(deployment: &Deployment) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (check, logical) in [
        ("table.links", "LinksTable"),
        ("table.sessions", "SessionsTable"),
        ("table.recordings", "RecordingsTable"),
        ("table.notifications", "NotificationsTable"),
    ] {
        findings.push(table(deployment, check, deployment.resource(logical)?).await);
    }
    if !deployment.is_dev {
        findings.push(protection(deployment));
    }
    let bucket = deployment.resource("RecordingsBucket")?;
    findings.push(public_access(deployment, bucket).await);
    findings.push(encryption(deployment, bucket).await);
    Ok(findings)
}

async fn table(deployment: &Deployment, check: &str, name: &str) -> Finding {
    let client = deployment.environment.dynamodb();
    let impact = "the functions that use it fail: linking, event routing or the API.";
    match client.describe_table().table_name(name).send().await {
        Ok(response) => {
            let status = response.table.and_then(|table| table.table_status);
            if status == Some(TableStatus::Active) {
                return Finding::ok(check, format!("{name} is active"));
            }
            let status = status.map_or_else(|| "unknown".to_owned(), |status| status.to_string());
            Finding::fail(
                check,
                format!("{name} is {status}"),
                impact,
                "wait until it is active, then run `reelay doctor` again.",
            )
        }
        Err(error) => {
            let error = AwsError::from_sdk("DescribeTable", &error);
            if !error.code().ends_with("ResourceNotFoundException") {
                return Finding::not_checked(check, &error);
            }
            let fix = if matches!(check, "table.sessions" | "table.notifications") {
                "its data is temporary. Create an empty table with the name above and the keys in template.yaml."
                    .to_owned()
            } else {
                format!(
                    "restore it, possible within 35 days of its deletion (docs/runbook.md, \"Restore a deleted table\"):\n{}",
                    restore_commands(deployment, name)
                )
            };
            Finding::fail(check, format!("table {name} does not exist"), impact, fix)
        }
    }
}

fn protection(deployment: &Deployment) -> Finding {
    const CHECK: &str = "tables.protected";
    if deployment.parameter("ProtectTables") == "true" {
        return Finding::ok(CHECK, "the tables are protected from deletion");
    }
    Finding::warn(
        CHECK,
        "ProtectTables is false",
        "anybody who may delete tables can delete all links and recordings by mistake.",
        "write ProtectTables=\\\"true\\\" in parameter_overrides of samconfig.toml, then `sam build && sam deploy`.",
    )
}

/// The commands that restore a deleted table. DynamoDB keeps a system backup of a table that had point-in-time recovery
/// (DynamoDB Developer Guide, "Delete a table with PITR enabled"); a restored table has neither that nor a time to live
/// (API reference, "RestoreTableFromBackup").
fn restore_commands(deployment: &Deployment, name: &str) -> String {
    [
        format!("list-backups --table-name {name} --backup-type SYSTEM"),
        format!(
            "restore-table-from-backup --target-table-name {name} --backup-arn <BackupArn> \
             --sse-specification-override Enabled=true,SSEType=KMS"
        ),
        format!("wait table-exists --table-name {name}"),
        format!(
            "update-time-to-live --table-name {name} \
             --time-to-live-specification Enabled=true,AttributeName=expires_at"
        ),
        format!(
            "update-continuous-backups --table-name {name} \
             --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
        ),
        format!("update-table --table-name {name} --deletion-protection-enabled"),
    ]
    .map(|arguments| deployment.aws_command("dynamodb", &arguments))
    .join("\n")
}

async fn public_access(deployment: &Deployment, bucket: &str) -> Finding {
    const CHECK: &str = "bucket.public_access";
    let client = deployment.environment.s3();
    let response = client.get_public_access_block().bucket(bucket).send().await;
    let fix = deployment.aws_command(
        "s3api",
        &format!(
            "put-public-access-block --bucket {bucket} --public-access-block-configuration \
             BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true"
        ),
    );
    let unblocked = |observed: String| {
        Finding::fail(
            CHECK,
            observed,
            "a bucket policy or ACL could make recordings public.",
            &*fix,
        )
    };
    match response {
        Ok(response) => {
            let block = response.public_access_block_configuration;
            let settings = block.map_or([None; 4], |block| {
                [
                    block.block_public_acls,
                    block.ignore_public_acls,
                    block.block_public_policy,
                    block.restrict_public_buckets,
                ]
            });
            let off: Vec<&str> = PUBLIC_ACCESS_SETTINGS
                .iter()
                .zip(settings)
                .filter(|(_, on)| *on != Some(true))
                .map(|(name, _)| *name)
                .collect();
            if off.is_empty() {
                Finding::ok(CHECK, format!("{bucket} blocks public access"))
            } else {
                unblocked(format!("{bucket} does not set {}", off.join(", ")))
            }
        }
        Err(error) => {
            let error = AwsError::from_sdk("GetPublicAccessBlock", &error);
            match error.code() {
                "NoSuchPublicAccessBlockConfiguration" => {
                    unblocked(format!("{bucket} has no public access block"))
                }
                "NoSuchBucket" => Finding::fail(
                    CHECK,
                    format!("bucket {bucket} does not exist"),
                    "Reelay cannot store files, and all stored files are lost.",
                    "deploy a new stack, then import the users' recordings with POST /v1/backfill.",
                ),
                _ => Finding::not_checked(CHECK, &error),
            }
        }
    }
}

async fn encryption(deployment: &Deployment, bucket: &str) -> Finding {
    const CHECK: &str = "bucket.encryption";
    let client = deployment.environment.s3();
    let response = match client.get_bucket_encryption().bucket(bucket).send().await {
        Ok(response) => response,
        Err(error) => {
            return Finding::not_checked(CHECK, &AwsError::from_sdk("GetBucketEncryption", &error));
        }
    };
    let rules = response
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
            format!("{bucket} has no encryption rule"),
            "the rule of the template was removed; S3 still encrypts with its own keys.",
            deployment.aws_command(
                "s3api",
                &format!(
                    "put-bucket-encryption --bucket {bucket} --server-side-encryption-configuration \
                     '{{\"Rules\":[{{\"ApplyServerSideEncryptionByDefault\":{{\"SSEAlgorithm\":\"AES256\"}}}}]}}'"
                ),
            ),
        ),
    }
}
