//! Starts a stack in this order: listeners, because their addresses become template parameters; resources, because
//! the functions need their names; then the servers.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use jiff::SignedDuration;
use reelay_embedded_aws::Engines;
use reelay_runtime::environment::Environment;
use reelay_zoom_sim::AdvanceClock;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use url::Url;

use super::credentials::ZoomCredentials;
use super::environment;
use super::error::StartError;
use super::host::{self, Hosted};
use super::options::{Options, ZoomChoice};
use super::parameters::{Urls, parameters};
use super::running::Stack;
use crate::clock::{ClockDriver, MAX_ADVANCE_SECONDS};
use crate::config::{self, DevConfig, StackConfig};
use crate::http_api::{self, DevApi, HttpApi, InFlight};
use crate::poller::Poller;
use crate::schedules::Schedules;
use crate::template::{Parameters, Resolver, Template, TemplateError};
use crate::{deploy, names};

impl Stack {
    /// Starts a stack. All servers accept requests when this returns.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let template = Template::of_repository()?;
        reject_unknown_parameters(&template, &options.parameters)?;
        let listener = listen(options.port).await?;
        let address = listener
            .local_addr()
            .map_err(|source| StartError::Listen { address: loopback(options.port), source })?;
        let url = format!("http://{address}");
        let engines = reelay_embedded_aws::start(reelay_embedded_aws::Options {
            region: names::REGION.to_owned(),
            account_id: names::ACCOUNT_ID.to_owned(),
            access_key_id: names::ACCESS_KEY_ID.to_owned(),
            secret_access_key: names::SECRET_ACCESS_KEY.to_owned(),
            clock: options.clock.clone(),
        })
        .await?;
        let clock = options.clock;
        let environment = environment::base(engines.endpoints(), &clock);
        let app = match options.demo_app {
            true => Some(reelay_demo_app::Bound::bind(loopback(0)).await?),
            false => None,
        };
        let (simulator, zoom_url, zoom_credentials) = match options.zoom {
            ZoomChoice::Simulator(config) => {
                let credentials = ZoomCredentials {
                    client_id: config.client_id.clone(),
                    client_secret: config.client_secret.clone(),
                    webhook_secret: config.webhook_secret.clone(),
                };
                let simulator = reelay_zoom_sim::start_with_clock(*config, clock.clone()).await?;
                let url = simulator.url().clone();
                (Some(simulator), url, credentials)
            }
            ZoomChoice::External(url) => (None, url, ZoomCredentials::generated()),
        };

        let urls = Urls {
            public: &url,
            zoom: &zoom_url,
            return_url: app.as_ref().map(reelay_demo_app::Bound::return_url),
            webhook_url: app.as_ref().map(reelay_demo_app::Bound::webhook_url),
        };
        let parameters = template.parameters(&parameters(&urls, &options.parameters))?;
        let mut resolver = Resolver::new(&template, &parameters, names::pseudo_parameters());
        deploy::deploy(&environment, &template, &mut resolver).await?;
        let secrets = environment.secretsmanager();
        let zoom_secret = physical_id(&resolver, "ZoomSecret")?;
        let value = serde_json::json!(zoom_credentials).to_string();
        deploy::put_secret(&secrets, &zoom_secret, &value).await?;
        let stack = describe(&template, &parameters, &resolver)?;
        let config = dev_config(&engines, &environment, &resolver, &zoom_credentials, stack);
        let config = Arc::new(config.await?);
        let Hosted { routes, sources, environments } =
            host::functions(&template, &resolver, &environment, &options.functions)?;
        if let Some(simulator) = &simulator {
            let public_url = parameters.get("PublicUrl").unwrap_or_default();
            register_at_zoom(simulator, &url, public_url, &zoom_credentials);
        }

        let (stop, stopped) = watch::channel(false);
        let own_ports = [
            Some(address.port()),
            app.as_ref().and_then(|app| app.return_url().port()),
            simulator.as_ref().and_then(|simulator| simulator.url().port()),
        ];
        let poller = Poller::new(environment.sqs(), engines.queues(), names::REGION, sources);
        let mut rules = host::schedules(&template, &resolver)?;
        for rule in &mut rules {
            rule.every = rule.every.max(options.min_schedule_interval);
        }
        let schedules = Schedules::new(environment.sqs(), clock.clone(), rules);
        let in_flight = InFlight::default();
        let clock_driver = Arc::new(ClockDriver {
            clock: clock.clone(),
            queues: engines.queues(),
            time_to_live: engines.time_to_live(),
            read_lag: engines.read_lag().clone(),
            schedules: Arc::clone(&schedules),
            poller: Arc::clone(&poller),
            polls: options.poll,
            in_flight: in_flight.clone(),
            simulator: simulator.as_ref().map(|simulator| simulator.control().clone()),
            turn: Mutex::default(),
        });
        if let Some(simulator) = &simulator {
            simulator.control().advance_clock_with(advance_clock(&clock_driver));
        }
        let api = HttpApi {
            routes,
            in_flight,
            domain: address.to_string(),
            clock: clock.clone(),
            dev: DevApi {
                config: Arc::clone(&config),
                clock_driver,
                own_ports: own_ports.into_iter().flatten().collect(),
            },
        };
        let mut tasks = vec![http_api::serve(listener, api, stopped.clone())];
        if options.poll {
            tasks.push(tokio::spawn(Arc::clone(&poller).run(stopped.clone())));
            tasks.push(tokio::spawn(Arc::clone(&schedules).run(stopped)));
        }
        let demo_app = match app {
            Some(bound) => {
                let app = reelay_demo_app::Config {
                    public_url: None,
                    reelay_url: parse_url(&url)?,
                    app_secret: config.secrets.app_secret.clone().into(),
                    notification_secret: config.secrets.notification_secret.clone().into(),
                    simulator_url: simulator.as_ref().map(|simulator| simulator.url().clone()),
                    media_sources: vec![engines.endpoints().s3.clone()],
                    clock: reelay_demo_app::Clock::new({
                        let clock = clock.clone();
                        move || clock.now()
                    }),
                };
                Some(bound.serve(app).await?)
            }
            None => None,
        };
        Ok(Stack {
            url,
            config,
            clock,
            environment,
            functions: environments,
            poller,
            schedules,
            stop,
            tasks,
            demo_app,
            simulator,
            engines,
        })
    }
}

/// The simulator's buttons move the clock of the whole stack. The simulator does not keep the stack alive.
fn advance_clock(driver: &Arc<ClockDriver>) -> AdvanceClock {
    let driver = Arc::downgrade(driver);
    Arc::new(move |seconds| {
        let driver = driver.upgrade();
        Box::pin(async move {
            let is_valid = (0..=i64::from(MAX_ADVANCE_SECONDS)).contains(&seconds);
            let driver = driver.filter(|_| is_valid).ok_or_else(|| {
                format!("advance_seconds must be an integer from 0 to {MAX_ADVANCE_SECONDS}")
            })?;
            driver.advance(SignedDuration::from_secs(seconds)).await;
            Ok(())
        })
    })
}

/// Reports a misspelt parameter before anything starts.
fn reject_unknown_parameters(
    template: &Template,
    given: &[(String, String)],
) -> Result<(), TemplateError> {
    let unknown: BTreeMap<String, String> =
        given.iter().filter(|(name, _)| !template.has_parameter(name)).cloned().collect();
    match unknown.is_empty() {
        true => Ok(()),
        // Validating an unknown parameter returns the error that names it.
        false => template.parameters(&unknown).map(|_| ()),
    }
}

async fn listen(port: u16) -> Result<TcpListener, StartError> {
    let address = loopback(port);
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => StartError::PortInUse(port),
        _ => StartError::Listen { address, source },
    })
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn parse_url(url: &str) -> Result<Url, StartError> {
    url.parse().map_err(|_| StartError::Mismatch(format!("{url} is not a URL")))
}

fn physical_id(resolver: &Resolver<'_>, logical: &str) -> Result<String, StartError> {
    let physical = resolver.physical(logical);
    physical
        .map(|physical| physical.reference.clone())
        .ok_or_else(|| StartError::Mismatch(format!("the stack has no resource {logical}")))
}

/// Returns the stack's outputs, parameters and physical ids, as CloudFormation describes a stack.
fn describe(
    template: &Template,
    parameters: &Parameters,
    resolver: &Resolver<'_>,
) -> Result<StackConfig, TemplateError> {
    let resources = template.resources().filter_map(|(logical, _)| {
        let physical = resolver.physical(logical)?;
        Some((logical.to_owned(), physical.reference.clone()))
    });
    let parameters = parameters.iter();
    Ok(StackConfig {
        outputs: resolver.outputs()?,
        parameters: parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        resources: resources.collect(),
    })
}

async fn dev_config(
    engines: &Engines,
    environment: &Environment,
    resolver: &Resolver<'_>,
    zoom: &ZoomCredentials,
    stack: StackConfig,
) -> Result<DevConfig, StartError> {
    let client = environment.secretsmanager();
    let id = |logical| physical_id(resolver, logical);
    Ok(DevConfig {
        secrets: config::Secrets {
            zoom_client_id: zoom.client_id.clone(),
            zoom_client_secret: zoom.client_secret.clone(),
            zoom_webhook_secret: zoom.webhook_secret.clone(),
            app_secret: deploy::current_secret(&client, &id("AppSecret")?).await?,
            notification_secret: deploy::current_secret(&client, &id("NotificationSecret")?)
                .await?,
        },
        bucket: id("RecordingsBucket")?,
        event_bus: id("EventBus")?,
        region: names::REGION.to_owned(),
        credentials: config::Credentials {
            access_key_id: names::ACCESS_KEY_ID.to_owned(),
            secret_access_key: names::SECRET_ACCESS_KEY.to_owned(),
        },
        tables: config::Tables {
            links: id("LinksTable")?,
            sessions: id("SessionsTable")?,
            recordings: id("RecordingsTable")?,
            notifications: id("NotificationsTable")?,
        },
        queues: config::Queues {
            events: id("EventsQueue")?,
            events_dlq: id("EventsDlq")?,
            downloads: id("DownloadsQueue")?,
            downloads_dlq: id("DownloadsDlq")?,
            notifications: id("NotificationsQueue")?,
            notifications_dlq: id("NotificationsDlq")?,
            jobs: id("JobsQueue")?,
            jobs_dlq: id("JobsDlq")?,
        },
        endpoints: engines.endpoints().clone(),
        stack,
    })
}

/// Configures the simulator as an operator configures the Zoom app after a deployment.
fn register_at_zoom(
    simulator: &reelay_zoom_sim::Simulator,
    url: &str,
    public_url: &str,
    credentials: &ZoomCredentials,
) {
    simulator.control().change_settings(|settings| {
        settings.client_id.clone_from(&credentials.client_id);
        settings.client_secret.clone_from(&credentials.client_secret);
        settings.webhook_secret.clone_from(&credentials.webhook_secret);
        settings.webhook_url = Some(format!("{url}/zoom/webhook"));
        settings.deauthorize_url = Some(format!("{url}/zoom/deauthorize"));
        let bases = [url, public_url.trim_end_matches('/')];
        let bases = bases.into_iter().filter(|base| !base.is_empty());
        let callbacks = bases.map(|base| format!("{base}/zoom/callback"));
        settings.redirect_uris.extend(callbacks);
    });
}
