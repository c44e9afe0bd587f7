//! `--stack`: reads the description of a stack from CloudFormation.

use std::collections::BTreeMap;

use support::System;

use crate::fake::Fake;
use crate::run::{self, assert_prints_no_secret};

fn members(pairs: &BTreeMap<String, String>, key: &str, value: &str) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
    pairs
        .iter()
        .map(|(name, text)| {
            let (name, text) = (escape(name), escape(text));
            format!("<member><{key}>{name}</{key}><{value}>{text}</{value}></member>")
        })
        .collect()
}

/// Starts a fake CloudFormation with the stack `prod`.
async fn cloudformation(system: &System) -> Fake {
    let stack = system.config().stack.clone();
    Fake::with(move |_, body| {
        let request = String::from_utf8_lossy(body);
        let xml = "text/xml";
        // Lambda's GetAccountSettings is the only GET.
        if request.is_empty() {
            let settings = r#"{"AccountLimit":{"ConcurrentExecutions":1000,"UnreservedConcurrentExecutions":10}}"#;
            return (200, "application/json", settings.to_owned());
        }
        if !request.contains("StackName=prod") {
            let error = "<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code>\
                         <Message>Stack with id x does not exist</Message></Error></ErrorResponse>";
            return (400, xml, error.to_owned());
        }
        let response = if request.contains("Action=DescribeStacks") {
            format!(
                "<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackName>prod</StackName>\
                 <CreationTime>2026-01-01T00:00:00Z</CreationTime><StackStatus>CREATE_COMPLETE</StackStatus>\
                 <Outputs>{}</Outputs><Parameters>{}</Parameters></member></Stacks></DescribeStacksResult>\
                 </DescribeStacksResponse>",
                members(&stack.outputs, "OutputKey", "OutputValue"),
                members(&stack.parameters, "ParameterKey", "ParameterValue"),
            )
        } else {
            // Two pages.
            let mut first = stack.resources.clone();
            let rest = first.split_off("M");
            let (page, next) = if request.contains("NextToken=") {
                (rest, "")
            } else {
                (first, "<NextToken>more</NextToken>")
            };
            format!(
                "<ListStackResourcesResponse><ListStackResourcesResult><StackResourceSummaries>{}\
                 </StackResourceSummaries>{next}</ListStackResourcesResult></ListStackResourcesResponse>",
                members(&page, "LogicalResourceId", "PhysicalResourceId"),
            )
        };
        (200, xml, response)
    })
    .await
}

#[tokio::test]
async fn stack_is_found_by_name() {
    let system = System::start().await;
    let cloudformation = cloudformation(&system).await;
    let endpoints = &system.config().endpoints;
    let variables = [
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_ENDPOINT_URL", cloudformation.url()),
        ("AWS_ENDPOINT_URL_DYNAMODB", &endpoints.dynamodb),
        ("AWS_ENDPOINT_URL_S3", &endpoints.s3),
        ("AWS_ENDPOINT_URL_SQS", &endpoints.sqs),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &endpoints.secretsmanager),
    ];
    let output = run::with("--stack prod --region us-east-1 doctor --json", &variables).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_prints_no_secret(&system, &output);
    let mut checks = 0;
    for line in output.lines().iter().filter(|line| line.get("check").is_some()) {
        // The fake does not implement CloudWatch; the account is new, and the last step of the deployment is due.
        let warnings = ["alarms", "account.concurrency", "tables.protected"];
        let is_warning = warnings.iter().any(|check| line["check"] == *check);
        assert_eq!(line["status"], if is_warning { "warn" } else { "ok" }, "{line}");
        if line["check"] == "account.concurrency" {
            assert!(
                line["observed"]
                    .to_string()
                    .contains("1000 concurrent executions, 990 of them reserved by functions, of which the queues take up to 8")
            );
            assert!(line["fix"].to_string().contains("request-service-quota-increase"), "{line}");
        }
        checks += 1;
    }
    assert_eq!(checks, 29, "{output:?}");

    for (arguments, problem) in [
        ("", "name one app user"),
        ("--user alice --forward-to http://10.0.0.1/", "to this machine only"),
    ] {
        let arguments = format!("--stack prod --region us-east-1 listen {arguments}");
        let output = run::with(&arguments, &variables).await;
        assert_eq!(output.code, 2, "{output:?}");
        assert!(output.err.contains(problem), "{output:?}");
    }

    let output = run::with("--stack nowhere --region us-east-1 doctor", &variables).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(
        output.err.contains("stack nowhere does not exist in this account and region"),
        "{output:?}"
    );
}

#[tokio::test]
async fn missing_region_is_reported() {
    let variables = [("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_CONFIG_FILE", "/nonexistent")];
    let output = run::with("--stack prod doctor", &variables).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.err.contains("pass --region or set AWS_REGION"), "{output:?}");
}
