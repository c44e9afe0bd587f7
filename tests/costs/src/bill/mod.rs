//! The bill: counted calls and assumed sizes times the prices of the page.

mod tables;

use std::collections::BTreeMap;
use std::ops::{Add, Mul};

pub(crate) use self::tables::tables;
use reelay_domain::part_size::{MIB, part_size};

use crate::number::to_f64;
use crate::page::{Page, PageError};
use crate::settings::{Function, Settings};
use crate::workload::Sizes;

const GIB: u64 = 1024 * MIB;
const GB: f64 = 1e9;
/// Sizes of the S3 Standard price tiers in GB.
const TIERS: [(f64, &str); 3] = [
    (50_000.0, "S3 Standard, GB-month, first 50 TB"),
    (450_000.0, "S3 Standard, GB-month, next 450 TB"),
    (f64::INFINITY, "S3 Standard, GB-month, over 500 TB"),
];

/// Connections of a download, as in `template.yaml`.
const CONNECTIONS: u64 = 8;

// Quantities that are not in the counted table.
const INVOCATIONS: &str = "Lambda invocations";
const GB_SECONDS: &str = "Lambda GB-seconds";
const REQUESTS: &str = "HTTP API requests";
const STORED_GB: &str = "stored GB";
const TABLE_GB: &str = "table GB";
const SENT_GB: &str = "sent GB";
const WRITE_UNITS: &str = "DynamoDB write units";
const READ_UNITS: &str = "DynamoDB read units";

/// Quantities by name.
#[derive(Debug, Clone, Default)]
struct Usage(BTreeMap<String, f64>);

/// Number of parts of a file with this length.
pub(crate) fn parts(bytes: u64) -> f64 {
    to_f64(bytes.div_ceil(part_size(Some(bytes), CONNECTIONS)))
}

impl Usage {
    fn new<const N: usize>(quantities: [(&str, f64); N]) -> Self {
        Self(quantities.map(|(name, value)| (name.to_owned(), value)).into())
    }

    fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    fn sum(&self, is_included: impl Fn(&str) -> bool) -> f64 {
        let included = self.0.iter().filter(|(name, _)| is_included(name));
        included.map(|(_, value)| value).sum()
    }

    /// API calls of one service.
    fn calls(&self, service: &str) -> f64 {
        self.sum(|name| {
            name.strip_prefix(service)
                .is_some_and(|call| call.starts_with(' ') && !call.contains("units"))
        })
    }
}

impl Add for Usage {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        for (name, value) in other.0 {
            *self.0.entry(name).or_default() += value;
        }
        self
    }
}

impl Mul<f64> for Usage {
    type Output = Self;

    fn mul(mut self, factor: f64) -> Self {
        self.0.values_mut().for_each(|value| *value *= factor);
        self
    }
}

/// US dollars by service.
type Bill = BTreeMap<&'static str, f64>;

/// One line of an idle stack's bill.
struct Idle {
    name: &'static str,
    service: &'static str,
    quantity: f64,
    free: f64,
    price: f64,
}

impl Idle {
    fn at_list_price(&self) -> f64 {
        self.quantity * self.price
    }

    fn with_free_tier(&self) -> f64 {
        (self.quantity - self.free).max(0.0) * self.price
    }
}

struct CostModel<'a> {
    page: &'a Page,
    settings: &'a Settings,
    sizes: Sizes,
}

impl<'a> CostModel<'a> {
    fn new(page: &'a Page, settings: &'a Settings) -> Result<Self, PageError> {
        let sizes = Sizes::new(page)?;
        Ok(Self { page, settings, sizes })
    }

    /// A column of the counted table with the invocations of the notifier for its notifications.
    fn counted(&self, column: &str) -> Result<Usage, PageError> {
        let usage = Usage(self.page.counted(column)?.clone());
        let notifications = usage.get("EventBridge PutEvents");
        let seconds = self.page.assumption("notifier duration, s")?;
        let size = self.page.assumption("notification size, KB")? * 1e3 / GB;
        let invocation = Usage::new([
            (INVOCATIONS, 1.0),
            (GB_SECONDS, self.settings.notifications.memory * seconds),
            (SENT_GB, size),
        ]);
        Ok(usage + invocation * notifications)
    }

    /// A request to the HTTP API and the invocation of its function, or the invocation for a job.
    fn step(&self) -> Result<f64, PageError> {
        let seconds = self.page.assumption("other request or job duration, s")?;
        Ok(self.settings.webhook_memory * seconds)
    }

    fn link(&self) -> Result<Usage, PageError> {
        // Three requests and two jobs.
        let functions =
            Usage::new([(REQUESTS, 3.0), (INVOCATIONS, 5.0), (GB_SECONDS, 5.0 * self.step()?)]);
        Ok(self.counted("link")? + functions)
    }

    /// One run for a user of whom Zoom lists nothing new. Each of its messages is one invocation.
    fn reconciliation(&self) -> Result<Usage, PageError> {
        let run = self.counted("reconciliation")?;
        let messages = run.get("messages queued");
        let jobs = [(INVOCATIONS, messages), (GB_SECONDS, messages * self.step()?)];
        Ok(run + Usage::new(jobs))
    }

    /// The app reads a recording.
    fn view(&self) -> Result<Usage, PageError> {
        let function =
            Usage::new([(REQUESTS, 1.0), (INVOCATIONS, 1.0), (GB_SECONDS, self.step()?)]);
        Ok(self.counted("view")? + function)
    }

    fn unlinked_event(&self) -> Result<Usage, PageError> {
        Ok(self.counted("event of an unlinked host")? + self.event()?)
    }

    /// A recording's event and all work that is done once per recording.
    fn recording(&self) -> Result<Usage, PageError> {
        let stored = self.page.assumption("table storage per recording, KB")? * 1e3 / GB;
        Ok(self.counted("recording")? + self.event()? + Usage::new([(TABLE_GB, stored)]))
    }

    /// A file in a single part.
    fn small_file(&self, bytes: f64) -> Result<Usage, PageError> {
        let Function { memory, timeout, .. } = self.settings.downloads;
        let rate = self.page.assumption("download rate per file, MB/s")? * 1e6;
        let seconds = self.page.assumption("fixed time per file, s")? + bytes / rate;
        let stored = self.page.assumption("table storage per file, KB")? * 1e3 / GB;
        let download = Usage::new([
            // A download that exceeds the timeout continues in a new invocation.
            (INVOCATIONS, (seconds / timeout).ceil().max(1.0)),
            (GB_SECONDS, seconds * memory),
            (STORED_GB, bytes / GB),
            (TABLE_GB, stored),
        ]);
        Ok(self.counted("small file")? + download)
    }

    fn file(&self, bytes: u64) -> Result<Usage, PageError> {
        let parts = parts(bytes);
        let file = self.small_file(to_f64(bytes))?;
        if parts <= 1.0 {
            return Ok(file);
        }
        Ok(file + self.counted("multipart upload")? + self.counted("part")? * parts)
    }

    /// The mean of files with these bytes by size class; parts are counted per class because each is whole.
    fn mean_file(&self, bytes: &[u64]) -> Result<Usage, PageError> {
        let parts: Vec<_> = bytes.iter().map(|bytes| parts(*bytes)).collect();
        let uploads = |class: usize| f64::from(u8::from(parts[class] > 1.0));
        let uploads_mean = self.sizes.mean(uploads);
        let parts_mean = self.sizes.mean(|class| uploads(class) * parts[class]);
        let file = self.small_file(self.sizes.mean(|class| to_f64(bytes[class])))?;
        Ok(file
            + self.counted("multipart upload")? * uploads_mean
            + self.counted("part")? * parts_mean)
    }

    /// A month of recordings that are stored for all of it.
    fn month(&self, recordings: f64) -> Result<Usage, PageError> {
        let assumption = |name: &str| self.page.assumption(name);
        let small_files = assumption("files per recording")? - 2.0;
        let recording = self.recording()? * assumption("events per recording")?
            + self.small_file(to_f64(self.sizes.small))? * small_files
            + self.mean_file(&self.sizes.mp4)?
            + self.mean_file(&self.sizes.m4a)?
            + self.unlinked_event()? * assumption("events of unlinked hosts per recording")?
            + self.link()? * assumption("links per recording")?
            + self.counted("refresh")? * assumption("token refreshes per recording")?
            + self.view()? * assumption("app reads per recording")?;
        Ok(recording * recordings)
    }

    /// The invocations of `webhook` and `event-processor` for one event.
    fn event(&self) -> Result<Usage, PageError> {
        let webhook = self.settings.webhook_memory * self.page.assumption("webhook duration, s")?;
        let seconds = self.page.assumption("event-processor duration, s")?;
        let processor = self.settings.events.memory * seconds;
        Ok(Usage::new([(REQUESTS, 1.0), (INVOCATIONS, 2.0), (GB_SECONDS, webhook + processor)]))
    }

    /// The cost of this usage without that of an idle stack.
    fn bill(&self, usage: &Usage) -> Result<Bill, PageError> {
        let price = |name: &str| self.page.price(name);
        let million = |count: f64, name: &str| Ok::<_, PageError>(count / 1e6 * price(name)?);
        let (invocations, requests) = (usage.get(INVOCATIONS), usage.get(REQUESTS));
        // Each message is also received and deleted; full batches need fewer requests.
        let sqs = usage.calls("SQS") + 2.0 * usage.get("messages queued");
        let puts = usage.calls("S3") - usage.get("S3 GetObject");
        let log_bytes = invocations * self.page.assumption("log bytes per invocation")?
            + requests * self.page.assumption("access log bytes per request")?;
        let traces = invocations * self.page.assumption("traced share of invocations")?;
        let table_price =
            price("DynamoDB, GB-month")? + price("DynamoDB, point-in-time recovery, GB-month")?;
        Ok(Bill::from([
            ("Lambda, duration", usage.get(GB_SECONDS) * price("Lambda x86_64, GB-second")?),
            ("Lambda, requests", million(invocations, "Lambda, million requests")?),
            ("API Gateway", million(requests, "API Gateway HTTP API, million requests")?),
            (
                "SQS",
                million(sqs, "SQS, million requests")?
                    + million(sqs, "SQS fair queues surcharge, million requests")?,
            ),
            (
                "DynamoDB",
                million(usage.get(WRITE_UNITS), "DynamoDB, million write units")?
                    + million(usage.get(READ_UNITS), "DynamoDB, million read units")?
                    + usage.get(TABLE_GB) * table_price,
            ),
            ("S3, requests", puts / 1e3 * price("S3 Standard, thousand PUT requests")?),
            ("S3, storage", self.storage(usage.get(STORED_GB))?),
            ("KMS", usage.calls("KMS") / 1e4 * price("KMS, ten thousand requests")?),
            ("EventBridge", million(usage.calls("EventBridge"), "EventBridge, million events")?),
            ("CloudWatch Logs", log_bytes / GB * price("CloudWatch Logs, GB")?),
            ("X-Ray", million(traces, "X-Ray, million traces")?),
            ("Data transfer to the app", usage.get(SENT_GB) * price("data transfer out, GB")?),
        ]))
    }

    /// Monthly usage of an idle stack: row, service of the bill, quantity, its free tier, and price.
    fn idle(&self) -> Result<[Idle; 8], PageError> {
        let row = |name, service, quantity: f64, free: &str, price: f64| {
            let free = if free.is_empty() { 0.0 } else { self.page.price(free)? };
            Ok::<_, PageError>(Idle { name, service, quantity, free, price })
        };
        let price = |name: &str| self.page.price(name);
        let assumption = |name: &str| self.page.assumption(name);
        let runs = assumption("maintenance runs per month")?;
        let gb_seconds = runs * self.step()?;
        let log_gb = runs * assumption("log bytes per invocation")? / GB;
        Ok([
            row("KMS key", "KMS", 1.0, "", price("KMS, key-month")?)?,
            row(
                "secrets",
                "Secrets Manager",
                assumption("secrets")?,
                "",
                price("Secrets Manager, secret-month")?,
            )?,
            row(
                "empty receives of the queues, million",
                "SQS",
                assumption("empty receives per month")? / 1e6,
                "free: SQS, million requests",
                price("SQS, million requests")?,
            )?,
            row(
                "alarm metrics",
                "CloudWatch",
                assumption("alarm metrics")?,
                "free: CloudWatch, alarm metrics",
                price("CloudWatch, alarm-month")?,
            )?,
            row(
                "custom metrics",
                "CloudWatch",
                assumption("custom metrics, idle")?,
                "free: CloudWatch, custom metrics",
                price("CloudWatch, metric-month")?,
            )?,
            row(
                "dashboard",
                "CloudWatch",
                1.0,
                "free: CloudWatch, dashboards",
                price("CloudWatch, dashboard-month")?,
            )?,
            row(
                "maintenance runs, GB-seconds",
                "Lambda, duration",
                gb_seconds,
                "free: Lambda, GB-seconds",
                price("Lambda x86_64, GB-second")?,
            )?,
            row(
                "logs of the maintenance runs, GB",
                "CloudWatch Logs",
                log_gb,
                "free: CloudWatch Logs, GB",
                price("CloudWatch Logs, GB")?,
            )?,
        ])
    }

    /// The monthly cost that does not depend on the number of recordings, at list prices.
    fn fixed(&self) -> Result<Bill, PageError> {
        let price = |name: &str| self.page.price(name);
        let assumption = |name: &str| self.page.assumption(name);
        let mut bill = Bill::new();
        for row in self.idle()? {
            *bill.entry(row.service).or_default() += row.at_list_price();
        }
        let secret_reads = assumption("secret reads per month")? / 1e4;
        let metrics = assumption("custom metrics")? - assumption("custom metrics, idle")?;
        *bill.entry("Secrets Manager").or_default() +=
            secret_reads * price("Secrets Manager, ten thousand requests")?;
        *bill.entry("CloudWatch").or_default() += metrics * price("CloudWatch, metric-month")?;
        Ok(bill)
    }

    fn storage(&self, mut gigabytes: f64) -> Result<f64, PageError> {
        let mut sum = 0.0;
        for (size, price) in TIERS {
            sum += gigabytes.min(size) * self.page.price(price)?;
            gigabytes -= gigabytes.min(size);
        }
        Ok(sum)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn with_model(check: impl FnOnce(&CostModel<'_>)) {
        let page = Page::of_repository().unwrap();
        let settings = Settings::of_repository().unwrap();
        check(&CostModel::new(&page, &settings).unwrap());
    }

    #[test]
    fn costs_without_storage_are_proportional_to_recordings() {
        with_model(|model| {
            let bill = |recordings| model.bill(&model.month(recordings).unwrap()).unwrap();
            let (one, thousand) = (bill(1.0), bill(1_000.0));
            for (service, amount) in one {
                let ratio = thousand[service] / amount / 1_000.0;
                assert!((ratio - 1.0).abs() < 1e-6, "{service}: {ratio}");
                assert!(amount > 0.0, "{service} costs nothing");
            }
        });
    }

    #[test]
    fn idle_stack_costs_about_five_dollars() {
        with_model(|model| {
            let cost: f64 = model.idle().unwrap().iter().map(Idle::with_free_tier).sum();
            assert!((4.5..=5.5).contains(&cost), "{cost}");
        });
    }

    #[test]
    fn storage_is_billed_by_tier() {
        with_model(|model| {
            let [first, second, third] = TIERS.map(|(_, name)| model.page.price(name).unwrap());
            let expected = 50_000.0 * first + 450_000.0 * second + 1_000.0 * third;
            assert!((model.storage(501_000.0).unwrap() - expected).abs() < 1e-6);
        });
    }
}
