//! Outages of Zoom, AWS and the app, and kills of functions.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use reelay_embedded_aws::{Fault as AwsFault, Service};
use reelay_zoom_sim::{Fault, NewFault, Point};
use support::{AppWebhook, System};

use crate::rng::SeededRng;

/// Share of calls that are killed while functions die, in percent.
const KILL_PERCENT: usize = 10;

/// Upper bound of the polls after which a call is killed.
const MAX_POLLS: usize = 60;

/// Minimum time between two outages of the app: what waits is delivered meanwhile. Otherwise they would be one that
/// exceeds `NotificationRetryDays`.
const APP_RECOVERY: SignedDuration = SignedDuration::from_hours(24);

/// The operation by which SQS learns that messages are processed.
const DELETION: &str = "DeleteMessageBatch";

/// Something that does not work for a time.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outage {
    /// A part of Zoom.
    Zoom(Point, Fault),
    Aws(Service),
    /// The app rejects notifications.
    App,
    /// Zoom sends no events.
    Events,
    /// SQS delivers processed messages again.
    Redelivery,
    /// Functions die.
    Kills,
}

/// An outage that has begun.
struct Begun {
    outage: Outage,
    ends_at: Timestamp,
    /// Number of the fault at Zoom.
    fault: Option<u64>,
}

/// Kills of calls.
struct Kills {
    rng: SeededRng,
    is_active: bool,
    count: usize,
}

/// Returns an outage that lasts and its hours, by the number of a seed.
pub(super) fn lasting(seed: u64) -> (Outage, i64) {
    let unavailable = Fault::Status { status: 503 };
    match seed % 8 {
        0 => (Outage::Zoom(Point::Download, unavailable), 6 * 24),
        1 => (Outage::Zoom(Point::TokenRefresh, unavailable), 24),
        2 => (Outage::Zoom(Point::ListRecordings, unavailable), 24),
        3 => (Outage::Aws(Service::S3), 24),
        4 => (Outage::Aws(Service::DynamoDb), 2),
        5 => (Outage::Aws(Service::Kms), 2),
        6 => (Outage::App, 2 * 24),
        _ => (Outage::Events, 7 * 24),
    }
}

/// All outages of a run.
pub(super) struct Outages {
    rng: SeededRng,
    begun: Vec<Begun>,
    app_ended_at: Option<Timestamp>,
    kills: Arc<Mutex<Kills>>,
}

impl Outages {
    pub(super) fn new(system: &System, mut rng: SeededRng) -> Self {
        let kills = Kills { rng: rng.fork(), is_active: false, count: 0 };
        let kills = Arc::new(Mutex::new(kills));
        let shared = Arc::clone(&kills);
        system.stack.kill_calls_with(move |_| {
            let mut kills = shared.lock();
            let is_killed = kills.is_active && kills.rng.percent(KILL_PERCENT);
            kills.count += usize::from(is_killed);
            is_killed.then(|| kills.rng.below(MAX_POLLS))
        });
        Self { rng, begun: Vec::new(), app_ended_at: None, kills }
    }

    /// Number of calls that were to be killed.
    pub(super) fn kills(&self) -> usize {
        self.kills.lock().count
    }

    /// Whether users can connect and disconnect.
    pub(super) fn is_calm(&self) -> bool {
        self.begun.iter().all(|begun| {
            !matches!(
                begun.outage,
                Outage::Aws(_) | Outage::Zoom(Point::UsersMe | Point::TokenRefresh, _)
            )
        })
    }

    pub(super) fn next_end(&self) -> Option<Timestamp> {
        self.begun.iter().map(|begun| begun.ends_at).min()
    }

    /// Begins an outage, unless the same is in progress.
    pub(super) fn begin(&mut self, system: &System, app_webhook: &AppWebhook, now: Timestamp) {
        let (outage, minutes): (_, &[i64]) = match self.rng.below(11) {
            0..5 => (draw_zoom_outage(&mut self.rng), &[10, 60, 300, 1_440, 6 * 1_440]),
            5..7 => (draw_aws_outage(&mut self.rng), &[5, 20, 60]),
            7 => (Outage::App, &[60, 1_440, 2_880]),
            8 => (Outage::Events, &[60, 600, 2_880]),
            9 => (Outage::Redelivery, &[10]),
            _ => (Outage::Kills, &[60, 600]),
        };
        let is_same = |begun: &Begun| match (&begun.outage, &outage) {
            (Outage::Zoom(a, _), Outage::Zoom(b, _)) => a == b,
            (a, b) => a == b,
        };
        if self.begun.iter().any(is_same) {
            return;
        }
        let is_recovering = self.app_ended_at.is_some_and(|at| now < at + APP_RECOVERY);
        if outage == Outage::App && is_recovering {
            return;
        }
        let ends_at = now + SignedDuration::from_mins(*self.rng.pick(minutes));
        self.begin_until(outage, ends_at, system, app_webhook);
    }

    pub(super) fn begin_until(
        &mut self,
        outage: Outage,
        ends_at: Timestamp,
        system: &System,
        app_webhook: &AppWebhook,
    ) {
        let fault = match &outage {
            Outage::Zoom(point, fault) => {
                let armed = system.zoom().arm(NewFault::always(*point, fault.clone()));
                Some(armed.expect("the fault is possible"))
            }
            Outage::Aws(service) => {
                for operation in operations(*service) {
                    let fault = AwsFault::error(503, "ServiceUnavailable");
                    system.faults().fail_until_cleared(*service, operation, fault);
                }
                None
            }
            Outage::App => {
                app_webhook.respond_with(*self.rng.pick(&[500, 503]));
                None
            }
            Outage::Events => {
                system.zoom().change_settings(|config| config.webhooks_enabled = false);
                None
            }
            Outage::Redelivery => {
                // The poller does not repeat a rejected deletion.
                let fault = AwsFault::error(403, "AccessDenied");
                system.faults().fail_until_cleared(Service::Sqs, DELETION, fault);
                None
            }
            Outage::Kills => {
                self.kills.lock().is_active = true;
                None
            }
        };
        tracing::info!(?outage, %ends_at, "outage begins");
        self.begun.push(Begun { outage, ends_at, fault });
    }

    /// Lets one request to Zoom fail.
    pub(super) fn fail_once(&mut self, system: &System) {
        let (point, fault) = self
            .rng
            .pick(&[
                (Point::Content, Fault::Truncate { after: 500 }),
                (Point::Content, Fault::Reset { after: 500 }),
                (Point::Content, Fault::Html),
                (Point::Content, Fault::IgnoreRange),
                (Point::Download, Fault::Status { status: 401 }),
                (Point::Download, Fault::Status { status: 404 }),
                (Point::ListRecordings, Fault::OmitMeetings { count: 1 }),
                (Point::ListRecordings, Fault::RepeatPageToken),
                (Point::ListRecordings, Fault::ExclusiveTo),
                (Point::ListRecordings, Fault::RateLimited { retry_after_seconds: None }),
                (Point::MeetingRecordings, Fault::Status { status: 404 }),
                (Point::TokenRefresh, Fault::Status { status: 500 }),
            ])
            .clone();
        system.zoom().arm(NewFault::times(point, fault, 1)).expect("the fault is possible");
    }

    pub(super) fn end_due(&mut self, system: &System, app_webhook: &AppWebhook, now: Timestamp) {
        let (due, begun) =
            std::mem::take(&mut self.begun).into_iter().partition(|it| it.ends_at <= now);
        self.begun = begun;
        let due: Vec<Begun> = due;
        for begun in due {
            if begun.outage == Outage::App {
                self.app_ended_at = Some(now);
            }
            self.end(&begun, system, app_webhook);
        }
    }

    pub(super) fn end_all(&mut self, system: &System, app_webhook: &AppWebhook) {
        self.end_due(system, app_webhook, Timestamp::MAX);
        system.zoom().clear_faults(None);
    }

    fn end(&self, begun: &Begun, system: &System, app_webhook: &AppWebhook) {
        match begun.outage {
            Outage::Zoom(..) => system.zoom().clear_faults(begun.fault),
            Outage::Aws(service) => {
                for operation in operations(service) {
                    system.faults().clear(service, operation);
                }
            }
            Outage::App => app_webhook.respond_with(204),
            Outage::Events => {
                system.zoom().change_settings(|config| config.webhooks_enabled = true);
            }
            Outage::Redelivery => system.faults().clear(Service::Sqs, DELETION),
            Outage::Kills => self.kills.lock().is_active = false,
        }
    }
}

fn draw_zoom_outage(rng: &mut SeededRng) -> Outage {
    let points = [
        Point::Download,
        Point::Content,
        Point::ListRecordings,
        Point::MeetingRecordings,
        Point::TokenRefresh,
        Point::UsersMe,
    ];
    let fault = match rng.below(5) {
        0 | 1 => Fault::Status { status: 503 },
        2 => Fault::Html,
        3 => Fault::Close,
        _ => Fault::RateLimited { retry_after_seconds: Some(1_800) },
    };
    Outage::Zoom(*rng.pick(&points), fault)
}

/// The operations that fail in an outage. Receiving messages never fails, or the outage would affect no other call.
fn operations(service: Service) -> &'static [&'static str] {
    match service {
        Service::Sqs => &["SendMessage", "SendMessageBatch", "GetQueueAttributes"],
        _ => &["*"],
    }
}

fn draw_aws_outage(rng: &mut SeededRng) -> Outage {
    let services =
        [Service::DynamoDb, Service::Kms, Service::S3, Service::Sqs, Service::SecretsManager];
    Outage::Aws(*rng.pick(&services))
}
