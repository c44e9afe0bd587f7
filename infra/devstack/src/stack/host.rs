//! Connects the functions to their routes and queues, and the rules to their queues.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reelay_runtime::environment::Environment;

use super::environment;
use super::error::StartError;
use super::options::FunctionChange;
use crate::functions::{self, Handler};
use crate::http_api::{Routes, Target};
use crate::poller::Source;
use crate::schedules::{self, Schedule};
use crate::template::{Function, Resolver, Template};

/// The functions with everything that calls them.
#[derive(Default)]
pub(super) struct Hosted {
    pub(super) routes: Routes<Target>,
    pub(super) sources: Vec<Source>,
    /// Environments by the name of the binary.
    pub(super) environments: BTreeMap<String, Environment>,
}

/// Constructs all functions of the template.
pub(super) fn functions(
    template: &Template,
    resolver: &Resolver<'_>,
    base: &Environment,
    changes: &[FunctionChange],
) -> Result<Hosted, StartError> {
    let mut hosted = Hosted::default();
    for logical in template.binaries()?.keys() {
        let mut function = resolver.function(logical)?;
        let change = changes
            .iter()
            .find(|change| change.binary == function.binary)
            .cloned()
            .unwrap_or_default();
        function.variables.extend(change.variables);
        for source in &mut function.sources {
            source.maximum_concurrency = change.maximum_concurrency.or(source.maximum_concurrency);
        }
        let timeout = Duration::from_secs(function.timeout.into());
        let timeout = change.timeout.unwrap_or(timeout);
        let environment = environment::of_function(base, &function);
        hosted.add(&function, timeout, &environment, template, resolver)?;
        hosted.environments.insert(function.binary, environment);
    }
    Ok(hosted)
}

impl Hosted {
    fn add(
        &mut self,
        function: &Function,
        timeout: Duration,
        environment: &Environment,
        template: &Template,
        resolver: &Resolver<'_>,
    ) -> Result<(), StartError> {
        let name = &function.binary;
        let handler = functions::construct(name, environment)
            .ok_or_else(|| StartError::Mismatch(format!("the function {name} is not built in")))?;
        let handler =
            handler.map_err(|source| StartError::Function { function: name.clone(), source })?;
        match handler {
            Handler::Http(handler) => {
                for route in &function.routes {
                    let target =
                        Target { function: name.clone(), timeout, handler: Arc::clone(&handler) };
                    self.routes.add(route, target);
                }
            }
            Handler::Queue(handler) => {
                for source in &function.sources {
                    self.sources.push(Source {
                        function: name.clone(),
                        handler: Arc::clone(&handler),
                        timeout,
                        queue_url: queue_url(template, resolver, &source.queue_arn)?,
                        queue_arn: source.queue_arn.clone(),
                        batch_size: source.batch_size,
                        maximum_concurrency: source.maximum_concurrency,
                        reports_failures: source.reports_failures,
                    });
                }
            }
        }
        Ok(())
    }
}

/// The scheduled rules of the template.
pub(super) fn schedules(
    template: &Template,
    resolver: &Resolver<'_>,
) -> Result<Vec<Schedule>, StartError> {
    let mut schedules = Vec::new();
    for (logical, kind) in template.resources() {
        if kind != "AWS::Events::Rule" || !resolver.is_wanted(logical)? {
            continue;
        }
        let rule = resolver.rule(logical)?;
        let Some(expression) = rule.schedule_expression else {
            continue;
        };
        let every = schedules::rate(&expression).ok_or_else(|| {
            StartError::Mismatch(format!("{logical}: {expression} is not a rate"))
        })?;
        let mut targets = Vec::new();
        for target in rule.targets {
            targets.push(schedules::Target {
                queue_url: queue_url(template, resolver, &target.arn)?,
                input: target.input,
            });
        }
        schedules.push(Schedule { every, targets });
    }
    Ok(schedules)
}

fn queue_url(
    template: &Template,
    resolver: &Resolver<'_>,
    arn: &str,
) -> Result<String, StartError> {
    template
        .resources()
        .filter_map(|(logical, _)| resolver.physical(logical))
        .find(|physical| physical.attributes.get("Arn").is_some_and(|known| known == arn))
        .map(|physical| physical.reference.clone())
        .ok_or_else(|| StartError::Mismatch(format!("there is no queue {arn}")))
}
