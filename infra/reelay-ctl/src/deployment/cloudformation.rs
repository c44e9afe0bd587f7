//! A deployed stack: CloudFormation knows its outputs, parameters and resources.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, bail};
use aws_config::{BehaviorVersion, Region};
use aws_sdk_cloudformation::Client;
use reelay_runtime::AwsError;
use reelay_runtime::environment::{Clock, Environment, Variables};

use super::{CommandLine, Deployment, Description, sdk_http_client};
use crate::arguments::Target;

pub(super) async fn find(name: &str, target: &Target) -> anyhow::Result<Deployment> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(sdk_http_client());
    if let Some(profile) = &target.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = &target.region {
        loader = loader.region(Region::new(region.clone()));
    }
    let sdk = loader.load().await;
    if sdk.region().is_none() {
        bail!("no AWS region is configured: give --region, or set AWS_REGION");
    }
    let description = describe(&Client::new(&sdk), name).await?;
    // Where `shared/store` looks for endpoints that are not AWS's own.
    let variables: HashMap<String, String> = std::env::vars()
        .filter(|(name, _)| name.starts_with("AWS_ENDPOINT_URL"))
        .collect();
    let environment = Environment {
        variables: Variables::default(),
        sdk,
        clock: Clock::default(),
    };
    let mut after = String::new();
    if let Some(profile) = &target.profile {
        after += &format!(" --profile {profile}");
    }
    if let Some(region) = &target.region {
        after += &format!(" --region {region}");
    }
    let command_line = CommandLine {
        after,
        ..CommandLine::default()
    };
    Deployment::new(
        name.to_owned(),
        false,
        description,
        environment,
        variables,
        target,
        command_line,
    )
}

async fn describe(client: &Client, name: &str) -> anyhow::Result<Description> {
    let stacks = client.describe_stacks().stack_name(name).send().await;
    let stacks = match stacks {
        Ok(answer) => answer.stacks.unwrap_or_default(),
        Err(error) => {
            let failure = AwsError::from_sdk("DescribeStacks", &error);
            // CloudFormation's way to say that there is none.
            if failure.code() == "ValidationError" {
                bail!("there is no stack {name} in this account and region");
            }
            return Err(failure).with_context(|| format!("the stack {name} can't be described"));
        }
    };
    let stack = stacks
        .into_iter()
        .next()
        .with_context(|| format!("there is no stack {name} in this account and region"))?;
    let outputs = stack.outputs.unwrap_or_default().into_iter();
    let parameters = stack.parameters.unwrap_or_default().into_iter();
    Ok(Description {
        outputs: outputs
            .filter_map(|output| Some((output.output_key?, output.output_value?)))
            .collect(),
        parameters: parameters
            .filter_map(|given| Some((given.parameter_key?, given.parameter_value?)))
            .collect(),
        resources: resources(client, name).await?,
    })
}

async fn resources(client: &Client, name: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut pages = client
        .list_stack_resources()
        .stack_name(name)
        .into_paginator()
        .items()
        .send();
    let mut found = BTreeMap::new();
    while let Some(resource) = pages.next().await {
        let resource = resource
            .map_err(|error| AwsError::from_sdk("ListStackResources", &error))
            .with_context(|| format!("the resources of {name} can't be listed"))?;
        if let (Some(logical), Some(physical)) =
            (resource.logical_resource_id, resource.physical_resource_id)
        {
            found.insert(logical, physical);
        }
    }
    Ok(found)
}
