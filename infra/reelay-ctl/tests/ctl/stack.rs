//! `--stack`: what CloudFormation says, in the form in which it says it.

use std::collections::BTreeMap;

use support::System;

use crate::fake::Fake;
use crate::run::{self, assert_keeps_secrets};

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

/// A CloudFormation that has one stack, `prod`.
async fn cloudformation(system: &System) -> Fake {
    let stack = system.config().stack.clone();
    Fake::with(move |_, body| {
        let asked = String::from_utf8_lossy(body);
        let xml = "text/xml";
        if !asked.contains("StackName=prod") {
            let error = "<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code>\
                         <Message>Stack with id x does not exist</Message></Error></ErrorResponse>";
            return (400, xml, error.to_owned());
        }
        let answer = if asked.contains("Action=DescribeStacks") {
            format!(
                "<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackName>prod</StackName>\
                 <CreationTime>2026-01-01T00:00:00Z</CreationTime><StackStatus>CREATE_COMPLETE</StackStatus>\
                 <Outputs>{}</Outputs><Parameters>{}</Parameters></member></Stacks></DescribeStacksResult>\
                 </DescribeStacksResponse>",
                members(&stack.outputs, "OutputKey", "OutputValue"),
                members(&stack.parameters, "ParameterKey", "ParameterValue"),
            )
        } else {
            // In two pages.
            let mut first = stack.resources.clone();
            let rest = first.split_off("M");
            let (page, next) = if asked.contains("NextToken=") {
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
        (200, xml, answer)
    })
    .await
}

#[tokio::test]
async fn a_stack_is_found_by_its_name_and_examined() {
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
        (
            "AWS_ENDPOINT_URL_SECRETS_MANAGER",
            &endpoints.secretsmanager,
        ),
    ];
    let said = run::with("--stack prod --region us-east-1 doctor --json", &variables).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert_keeps_secrets(&system, &said);
    let mut seen = 0;
    for line in said
        .lines()
        .iter()
        .filter(|line| line.get("check").is_some())
    {
        // That fake is no CloudWatch: what it says of alarms can't be read.
        let expected = if line["check"] == "alarms" {
            "warn"
        } else {
            "ok"
        };
        assert_eq!(line["status"], expected, "{line}");
        seen += 1;
    }
    assert_eq!(seen, 24, "{said:?}");

    let said = run::with("--stack nowhere --region us-east-1 doctor", &variables).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err
            .contains("there is no stack nowhere in this account and region"),
        "{said:?}"
    );
}

#[tokio::test]
async fn without_a_region_it_says_so() {
    let variables = [
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", "/nonexistent"),
    ];
    let said = run::with("--stack prod doctor", &variables).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("give --region, or set AWS_REGION"),
        "{said:?}"
    );
}
