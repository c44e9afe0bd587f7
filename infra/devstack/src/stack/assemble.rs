//! Starting, in the order in which things need one another: ports first, for addresses go into
//! parameters; then resources, for their names go into functions; what serves comes last.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use reelay_embedded_aws::Engines;
use reelay_runtime::environment::{Clock, Environment, Variables};
use tokio::net::TcpListener;
use tokio::sync::watch;
use url::Url;

use super::credentials::{self, ZoomCredentials};
use super::parameters::{Addresses, parameters};
use super::{Options, Stack, StartError, ZoomChoice, loopback};
use crate::config::{self, DevConfig, StackConfig};
use crate::functions::{self, Handler};
use crate::http_api::{self, HttpApi, Routes, Target};
use crate::poller::{Poller, Source};
use crate::schedules::{self, Schedule, Schedules};
use crate::template::{Function, Resolver, Template};
use crate::{deploy, names};

pub(super) async fn start(options: Options) -> Result<Stack, StartError> {
    let Options {
        port,
        data,
        parameters: given,
        zoom,
        demo_app,
        clock,
        poll,
        functions: changes,
    } = options;
    let template = Template::of_repository()?;
    // A misspelt parameter is told before anything is started.
    let unknown: BTreeMap<String, String> = given
        .iter()
        .filter(|(name, _)| !template.has_parameter(name))
        .cloned()
        .collect();
    if !unknown.is_empty() {
        template.parameters(&unknown)?;
    }

    let listener = bind(port).await?;
    let address = listener.local_addr().map_err(|source| StartError::Listen {
        address: loopback(port),
        source,
    })?;
    let url = format!("http://{address}");
    let engines = reelay_embedded_aws::start(reelay_embedded_aws::Options {
        data: data.map(|data| data.join("aws")),
        region: names::REGION.to_owned(),
        account_id: names::ACCOUNT_ID.to_owned(),
        access_key_id: names::ACCESS_KEY_ID.to_owned(),
        secret_access_key: names::SECRET_ACCESS_KEY.to_owned(),
    })
    .await?;
    let environment = environment(&engines, &clock);
    let app = if demo_app {
        Some(reelay_demo_app::Bound::bind(loopback(0)).await?)
    } else {
        None
    };
    let (simulator, zoom_url, offered) = match zoom {
        ZoomChoice::Simulator(config) => {
            let offered = ZoomCredentials {
                client_id: config.client_id.clone(),
                client_secret: config.client_secret.clone(),
                webhook_secret: config.webhook_secret.clone(),
            };
            let simulator = reelay_zoom_sim::start(*config).await?;
            let url = simulator.url().clone();
            (Some(simulator), url, offered)
        }
        ZoomChoice::External(url) => (None, url, ZoomCredentials::generated()),
    };

    let addresses = Addresses {
        public: &url,
        zoom: &zoom_url,
        return_url: app.as_ref().map(reelay_demo_app::Bound::return_url),
        webhook_url: app.as_ref().map(reelay_demo_app::Bound::webhook_url),
    };
    let parameters = template.parameters(&parameters(&addresses, &given))?;
    let mut resolver = Resolver::new(&template, &parameters, names::stage());
    deploy::deploy(&environment, &template, &mut resolver).await?;
    let secrets = environment.secretsmanager();
    let zoom_credentials =
        credentials::settle(&secrets, reference(&resolver, "ZoomSecret")?, offered).await?;
    let outputs = resolver.outputs()?;
    let description = StackConfig {
        outputs: outputs.clone(),
        parameters: parameters
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        resources: template
            .resources()
            .filter_map(|(logical, _)| {
                let physical = resolver.physical(logical)?;
                Some((logical.to_owned(), physical.reference.clone()))
            })
            .collect(),
    };
    let config = dev_config(
        &engines,
        &environment,
        &resolver,
        &zoom_credentials,
        description,
    );
    let config = Arc::new(config.await?);

    let mut functions = BTreeMap::new();
    let (mut routes, mut sources) = (Routes::default(), Vec::new());
    for logical in template.binaries()?.keys() {
        let mut declared = resolver.function(logical)?;
        let change = changes
            .iter()
            .find(|change| change.binary == declared.binary);
        if let Some(change) = change {
            declared.variables.extend(change.variables.iter().cloned());
            for source in &mut declared.sources {
                source.maximum_concurrency =
                    change.maximum_concurrency.or(source.maximum_concurrency);
            }
        }
        let timeout = change.and_then(|change| change.timeout);
        let timeout = timeout.unwrap_or(Duration::from_secs(declared.timeout.into()));
        let environment = function_environment(&environment, &engines, &declared);
        host(
            &declared,
            timeout,
            &environment,
            &resolver,
            &template,
            &mut routes,
            &mut sources,
        )?;
        functions.insert(declared.binary, environment);
    }

    if let Some(simulator) = &simulator {
        tell_zoom(
            simulator,
            &url,
            parameters.get("PublicUrl").unwrap_or_default(),
            &zoom_credentials,
        );
    }
    let (stop, stopped) = watch::channel(false);
    let api = HttpApi {
        routes,
        domain: address.to_string(),
        clock: clock.clone(),
        config: Arc::clone(&config),
    };
    let mut tasks = vec![http_api::serve(listener, api, stopped.clone())];
    let poller = Poller::new(environment.sqs(), names::REGION, sources);
    if poll {
        tasks.push(tokio::spawn(Arc::clone(&poller).run(stopped.clone())));
    }
    let schedules = Schedules::new(environment.sqs(), schedules(&resolver, &template)?);
    if poll {
        tasks.push(tokio::spawn(Arc::clone(&schedules).run(stopped.clone())));
    }
    let demo_app = match app {
        Some(bound) => {
            let app = reelay_demo_app::Config {
                public_url: None,
                reelay_url: parse(&url)?,
                app_secret: config.secrets.app_secret.clone().into(),
                notification_secret: config.secrets.notification_secret.clone().into(),
                simulator_url: simulator.as_ref().map(|simulator| simulator.url().clone()),
                media_sources: vec![engines.endpoints().s3.clone()],
            };
            Some(bound.serve(app).await?)
        }
        None => None,
    };
    Ok(Stack {
        url,
        config,
        outputs,
        clock,
        environment,
        functions,
        poller,
        schedules,
        stop,
        tasks,
        demo_app,
        simulator,
        engines,
    })
}

async fn bind(port: u16) -> Result<TcpListener, StartError> {
    let address = loopback(port);
    TcpListener::bind(address)
        .await
        .map_err(|source| match source.kind() {
            std::io::ErrorKind::AddrInUse => StartError::PortInUse(port),
            _ => StartError::Listen { address, source },
        })
}

/// What a function finds around it, without its own variables.
fn environment(engines: &Engines, clock: &Clock) -> Environment {
    let credentials = Credentials::new(
        names::ACCESS_KEY_ID,
        names::SECRET_ACCESS_KEY,
        None,
        None,
        "devstack",
    );
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(names::REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        // Loopback is plain http; one client for all, so that connections are shared.
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let variables = Variables::new(HashMap::from(endpoints(engines)));
    Environment {
        variables,
        sdk,
        clock: clock.clone(),
    }
}

fn endpoints(engines: &Engines) -> [(String, String); 6] {
    let endpoints = engines.endpoints();
    [
        ("DYNAMODB", &endpoints.dynamodb),
        ("S3", &endpoints.s3),
        ("SQS", &endpoints.sqs),
        ("KMS", &endpoints.kms),
        ("SECRETS_MANAGER", &endpoints.secretsmanager),
        ("EVENTBRIDGE", &endpoints.events),
    ]
    .map(|(service, url)| (format!("AWS_ENDPOINT_URL_{service}"), url.clone()))
}

fn function_environment(
    around: &Environment,
    engines: &Engines,
    function: &Function,
) -> Environment {
    let mut variables = HashMap::from(endpoints(engines));
    variables.insert("AWS_REGION".to_owned(), names::REGION.to_owned());
    variables.insert(
        "AWS_LAMBDA_FUNCTION_NAME".to_owned(),
        names::physical(&function.logical),
    );
    variables.extend(function.variables.clone());
    Environment {
        variables: Variables::new(variables),
        ..around.clone()
    }
}

/// Puts a function behind its routes and queues.
fn host(
    declared: &Function,
    timeout: Duration,
    environment: &Environment,
    resolver: &Resolver<'_>,
    template: &Template,
    routes: &mut Routes<Target>,
    sources: &mut Vec<Source>,
) -> Result<(), StartError> {
    let function = &declared.binary;
    let handler = functions::construct(function, environment)
        .ok_or_else(|| {
            StartError::Mismatch(format!(
                "it has a function {function}, which is not built in"
            ))
        })?
        .map_err(|source| StartError::Function {
            function: function.clone(),
            source,
        })?;
    match handler {
        Handler::Http(handler) => {
            let target = Target {
                function: function.clone(),
                timeout,
                handler,
            };
            declared
                .routes
                .iter()
                .for_each(|route| routes.add(route, target.clone()));
        }
        Handler::Queue(handler) => {
            for source in &declared.sources {
                sources.push(Source {
                    function: function.clone(),
                    handler: Arc::clone(&handler),
                    timeout,
                    queue_url: queue_url(resolver, template, &source.queue_arn)?,
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

/// What the template's rules send by the clock.
fn schedules(resolver: &Resolver<'_>, template: &Template) -> Result<Vec<Schedule>, StartError> {
    let mut schedules = Vec::new();
    for (logical, kind) in template.resources() {
        if kind != "AWS::Events::Rule" || !resolver.is_wanted(logical)? {
            continue;
        }
        let rule = resolver.rule(logical)?;
        let Some(expression) = rule.schedule_expression else {
            continue;
        };
        let every = schedules::rate(&expression)
            .ok_or_else(|| StartError::Mismatch(format!("{logical}: {expression} is no rate")))?;
        let targets = rule
            .targets
            .into_iter()
            .map(|target| {
                Ok(schedules::Target {
                    queue_url: queue_url(resolver, template, &target.arn)?,
                    input: target.input,
                })
            })
            .collect::<Result<_, StartError>>()?;
        schedules.push(Schedule { every, targets });
    }
    Ok(schedules)
}

fn queue_url(
    resolver: &Resolver<'_>,
    template: &Template,
    arn: &str,
) -> Result<String, StartError> {
    let mut physical = template
        .resources()
        .filter_map(|(logical, _)| resolver.physical(logical));
    let found = physical.find(|physical| {
        physical
            .attributes
            .get("Arn")
            .is_some_and(|known| known == arn)
    });
    found
        .map(|physical| physical.reference.clone())
        .ok_or_else(|| StartError::Mismatch(format!("there is no queue {arn}")))
}

fn reference<'a>(resolver: &'a Resolver<'_>, logical: &str) -> Result<&'a str, StartError> {
    let physical = resolver
        .physical(logical)
        .ok_or_else(|| StartError::Mismatch(format!("it has no {logical}")))?;
    Ok(&physical.reference)
}

async fn dev_config(
    engines: &Engines,
    environment: &Environment,
    resolver: &Resolver<'_>,
    zoom: &ZoomCredentials,
    stack: StackConfig,
) -> Result<DevConfig, StartError> {
    let client = environment.secretsmanager();
    let name = |logical| reference(resolver, logical).map(str::to_owned);
    let app_secret = deploy::current_secret(&client, reference(resolver, "AppSecret")?).await?;
    let notification_secret =
        deploy::current_secret(&client, reference(resolver, "NotificationSecret")?).await?;
    Ok(DevConfig {
        secrets: config::Secrets {
            zoom_client_id: zoom.client_id.clone(),
            zoom_client_secret: zoom.client_secret.clone(),
            zoom_webhook_secret: zoom.webhook_secret.clone(),
            app_secret,
            notification_secret,
        },
        bucket: name("RecordingsBucket")?,
        event_bus: name("EventBus")?,
        region: names::REGION.to_owned(),
        credentials: config::Credentials {
            access_key_id: names::ACCESS_KEY_ID.to_owned(),
            secret_access_key: names::SECRET_ACCESS_KEY.to_owned(),
        },
        tables: config::Tables {
            links: name("LinksTable")?,
            sessions: name("SessionsTable")?,
            recordings: name("RecordingsTable")?,
        },
        queues: config::Queues {
            events: name("EventsQueue")?,
            events_dlq: name("EventsDlq")?,
            downloads: name("DownloadsQueue")?,
            downloads_dlq: name("DownloadsDlq")?,
            notifications: name("NotificationsQueue")?,
            notifications_dlq: name("NotificationsDlq")?,
            orders: name("OrdersQueue")?,
            orders_dlq: name("OrdersDlq")?,
        },
        endpoints: engines.endpoints().into(),
        stack,
    })
}

/// What the operator enters at Zoom after a deployment.
fn tell_zoom(
    simulator: &reelay_zoom_sim::Simulator,
    url: &str,
    public_url: &str,
    credentials: &ZoomCredentials,
) {
    let control = simulator.control();
    control.change_settings(|settings| {
        settings.client_id.clone_from(&credentials.client_id);
        settings
            .client_secret
            .clone_from(&credentials.client_secret);
        settings
            .webhook_secret
            .clone_from(&credentials.webhook_secret);
    });
    control.set_webhook_url(format!("{url}/zoom/webhook"));
    control.set_deauthorize_url(format!("{url}/zoom/deauthorize"));
    for base in [url, public_url.trim_end_matches('/')] {
        if !base.is_empty() {
            control.allow_redirect_uri(format!("{base}/zoom/callback"));
        }
    }
}

fn parse(url: &str) -> Result<Url, StartError> {
    url.parse()
        .map_err(|_| StartError::Mismatch(format!("{url} is no URL")))
}
