//! Loads the description of a deployed stack from CloudFormation.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, bail};
use aws_config::{BehaviorVersion, Region};
use aws_sdk_cloudformation::Client;
use reelay_runtime::AwsError;
use reelay_runtime::environment::{Clock, Environment, Variables};

use super::stack::{CommandLine, Deployment, Description, sdk_http_client};
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
        bail!("no AWS region is configured: pass --region or set AWS_REGION");
    }
    let description = describe(&Client::new(&sdk), name).await?;
    // `Environment` builds clients for these endpoints.
    let variables: HashMap<String, String> =
        std::env::vars().filter(|(name, _)| name.starts_with("AWS_ENDPOINT_URL")).collect();
    let environment = Environment { variables: Variables::default(), sdk, clock: Clock::default() };
    let mut suffix = String::new();
    if let Some(profile) = &target.profile {
        suffix += &format!(" --profile {profile}");
    }
    if let Some(region) = &target.region {
        suffix += &format!(" --region {region}");
    }
    let command_line = CommandLine { suffix, ..CommandLine::default() };
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
        Ok(response) => response.stacks.unwrap_or_default(),
        Err(error) => {
            let error = AwsError::from_sdk("DescribeStacks", &error);
            // CloudFormation's code for a stack that does not exist.
            if error.code() == "ValidationError" {
                bail!("stack {name} does not exist in this account and region");
            }
            return Err(error).with_context(|| format!("failed to describe stack {name}"));
        }
    };
    let stack = stacks
        .into_iter()
        .next()
        .with_context(|| format!("stack {name} does not exist in this account and region"))?;
    let outputs = stack.outputs.unwrap_or_default().into_iter();
    let parameters = stack.parameters.unwrap_or_default().into_iter();
    Ok(Description {
        outputs: outputs
            .filter_map(|output| Some((output.output_key?, output.output_value?)))
            .collect(),
        parameters: parameters
            .filter_map(|parameter| Some((parameter.parameter_key?, parameter.parameter_value?)))
            .collect(),
        resources: resources(client, name).await?,
    })
}

async fn resources(client: &Client, name: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut pages = client.list_stack_resources().stack_name(name).into_paginator().items().send();
    let mut resources = BTreeMap::new();
    while let Some(resource) = pages.next().await {
        let resource = resource
            .map_err(|error| AwsError::from_sdk("ListStackResources", &error))
            .with_context(|| format!("failed to list the resources of {name}"))?;
        if let (Some(logical), Some(physical)) =
            (resource.logical_resource_id, resource.physical_resource_id)
        {
            resources.insert(logical, physical);
        }
    }
    Ok(resources)
}
