//! What things cost: counted calls times the page's prices.

use std::collections::BTreeMap;

use crate::dice::whole;
use crate::page::{Page, PageError};
use crate::queue::as_number;
use crate::settings::Settings;
use crate::workload::Sizes;

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
const GB: f64 = 1e9;
/// S3 Standard's tiers, in gigabytes.
const TIERS: [(f64, &str); 3] = [
    (50_000.0, "S3 Standard, GB and month, first 50 TB"),
    (450_000.0, "S3 Standard, GB and month, next 450 TB"),
    (f64::INFINITY, "S3 Standard, GB and month, beyond"),
];

/// What was used of AWS.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Calls, messages and request units, by the names of the page's table.
    counted: BTreeMap<String, f64>,
    /// Calls of functions.
    invocations: f64,
    /// Seconds times gigabytes of memory.
    gb_seconds: f64,
    /// Requests at the HTTP API.
    requests: f64,
    /// Gigabytes that stay in the bucket for the month.
    stored_gb: f64,
    /// Gigabytes that stay in the tables.
    table_gb: f64,
    /// Gigabytes sent to the app.
    out_gb: f64,
}

impl Usage {
    fn counted(page: &Page, what: &str) -> Result<Self, PageError> {
        Ok(Self {
            counted: page.counted(what)?.clone(),
            ..Self::default()
        })
    }

    fn times(mut self, times: f64) -> Self {
        self.counted.values_mut().for_each(|count| *count *= times);
        for number in [
            &mut self.invocations,
            &mut self.gb_seconds,
            &mut self.requests,
            &mut self.stored_gb,
            &mut self.table_gb,
            &mut self.out_gb,
        ] {
            *number *= times;
        }
        self
    }

    fn and(mut self, more: &Self) -> Self {
        for (name, count) in &more.counted {
            *self.counted.entry(name.clone()).or_default() += count;
        }
        self.invocations += more.invocations;
        self.gb_seconds += more.gb_seconds;
        self.requests += more.requests;
        self.stored_gb += more.stored_gb;
        self.table_gb += more.table_gb;
        self.out_gb += more.out_gb;
        self
    }

    fn calls(&self, of: impl Fn(&str) -> bool) -> f64 {
        self.counted
            .iter()
            .filter(|(name, _)| of(name))
            .map(|(_, count)| count)
            .sum()
    }
}

/// Amounts in US dollars, by service.
pub type Bill = BTreeMap<&'static str, f64>;

/// What single things and whole months use.
#[derive(Debug)]
pub struct Rates<'a> {
    page: &'a Page,
    settings: &'a Settings,
    sizes: Sizes,
}

impl<'a> Rates<'a> {
    /// By the page's numbers and the template's memory sizes.
    pub fn new(page: &'a Page, settings: &'a Settings) -> Result<Self, PageError> {
        Ok(Self {
            page,
            settings,
            sizes: Sizes::assumed(page)?,
        })
    }

    /// A user links.
    pub fn link(&self) -> Result<Usage, PageError> {
        let memory = self.settings.webhook_memory;
        let notified = self.notified("link")?;
        Ok(Usage {
            requests: 3.0,
            // Three requests, two orders.
            invocations: 5.0,
            gb_seconds: 5.0 * memory * self.page.assumed("seconds of a link's step")?,
            ..Usage::counted(self.page, "link")?
        }
        .and(&notified))
    }

    /// An event of somebody who has not linked.
    pub fn event_of_nobody(&self) -> Result<Usage, PageError> {
        Ok(Usage::counted(self.page, "event of nobody")?.and(&self.event()?))
    }

    /// A recording's event and all that is done once for it.
    pub fn recording(&self) -> Result<Usage, PageError> {
        let usage = Usage {
            table_gb: self.page.assumed("KB in tables, per recording")? * 1e3 / GB,
            ..Usage::counted(self.page, "recording")?
        };
        Ok(usage.and(&self.event()?).and(&self.notified("recording")?))
    }

    /// A file that goes by one call.
    pub fn small_file(&self, bytes: f64) -> Result<Usage, PageError> {
        let usage = Usage {
            table_gb: self.page.assumed("KB in tables, per file")? * 1e3 / GB,
            ..Usage::counted(self.page, "small file")?
        };
        Ok(usage
            .and(&self.fetched(bytes)?)
            .and(&self.notified("small file")?))
    }

    /// A file of so many bytes.
    pub fn file(&self, bytes: f64) -> Result<Usage, PageError> {
        let part = self.page.assumed("part, MiB")? * 1024.0 * 1024.0;
        let usage = self.small_file(bytes)?;
        if bytes <= part {
            return Ok(usage);
        }
        let parts = Usage::counted(self.page, "part")?.times((bytes / part).ceil());
        Ok(usage
            .and(&Usage::counted(self.page, "large file, more")?)
            .and(&parts))
    }

    /// 2^30 bytes more in a file that is large already.
    pub fn gib(&self) -> Result<Usage, PageError> {
        let (one, two) = (self.file(GIB)?, self.file(2.0 * GIB)?);
        Ok(two.and(&one.times(-1.0)))
    }

    /// A token renewed.
    pub fn refresh(&self) -> Result<Usage, PageError> {
        Usage::counted(self.page, "refresh")
    }

    /// The app reads a recording.
    pub fn view(&self) -> Result<Usage, PageError> {
        let memory = self.settings.webhook_memory;
        let seconds = self.page.assumed("seconds of a link's step")?;
        let usage = Usage::counted(self.page, "view")?;
        Ok(Usage {
            requests: 1.0,
            invocations: 1.0,
            gb_seconds: memory * seconds,
            ..usage
        })
    }

    /// A month of so many recordings, which stay for all of it.
    pub fn month(&self, recordings: f64) -> Result<Usage, PageError> {
        let assumed = |name: &str| self.page.assumed(name);
        let events = assumed("events per recording")?;
        let small = assumed("files per recording")? - 2.0;
        let sizes = [&self.sizes.mp4, &self.sizes.m4a];
        let mut one = self.recording()?.times(events);
        one = one.and(&self.small_file(as_number(self.sizes.small))?.times(small));
        for bytes in sizes {
            one = one.and(&self.average_file(bytes)?);
        }
        one = one.and(
            &self
                .event_of_nobody()?
                .times(assumed("events of nobody, per recording")?),
        );
        one = one.and(&self.link()?.times(assumed("links, per recording")?));
        one = one.and(&self.refresh()?.times(assumed("refreshes, per recording")?));
        one = one.and(
            &self
                .view()?
                .times(assumed("views by the app, per recording")?),
        );
        Ok(one.times(recordings))
    }

    /// A file of average size, by classes: parts come whole.
    fn average_file(&self, bytes: &[u64]) -> Result<Usage, PageError> {
        let small = self.small_file(0.0)?;
        let part_size = self.page.assumed("part, MiB")? * 1024.0 * 1024.0;
        let number = |class: usize| as_number(bytes[class]);
        let is_large = |class: usize| f64::from(u8::from(number(class) > part_size));
        let large = self.sizes.average(is_large);
        let parts = self
            .sizes
            .average(|class| is_large(class) * (number(class) / part_size).ceil());
        let moved = self.fetched(self.sizes.average(number))?;
        let none = self.fetched(0.0)?;
        Ok(small
            .and(&none.times(-1.0))
            .and(&moved)
            .and(&Usage::counted(self.page, "large file, more")?.times(large))
            .and(&Usage::counted(self.page, "part")?.times(parts)))
    }

    /// Bytes of a recording on average.
    pub fn average_bytes(&self) -> Result<f64, PageError> {
        let small = (self.page.assumed("files per recording")? - 2.0) * as_number(self.sizes.small);
        let large = |class: usize| as_number(self.sizes.mp4[class] + self.sizes.m4a[class]);
        Ok(self.sizes.average(large) + small)
    }

    /// The webhook's and the event processor's part.
    fn event(&self) -> Result<Usage, PageError> {
        let webhook = self.settings.webhook_memory * self.page.assumed("seconds of a webhook")?;
        let event = self.settings.events.memory * self.page.assumed("seconds of an event")?;
        Ok(Usage {
            requests: 1.0,
            invocations: 2.0,
            gb_seconds: webhook + event,
            ..Usage::default()
        })
    }

    /// The downloader's part.
    fn fetched(&self, bytes: f64) -> Result<Usage, PageError> {
        let rate = self.page.assumed("MB a second and file")? * 1e6;
        let seconds = self.page.assumed("seconds of a file beside its bytes")? + bytes / rate;
        // What is not done in time goes on in another invocation.
        let rounds = (seconds / self.settings.downloads.timeout).ceil().max(1.0);
        let gb_seconds = seconds * self.settings.downloads.memory;
        Ok(Usage {
            invocations: rounds,
            gb_seconds,
            stored_gb: bytes / GB,
            ..Usage::default()
        })
    }

    /// The notifier's part in something: its calls stand in the page already.
    fn notified(&self, what: &str) -> Result<Usage, PageError> {
        let told = self
            .page
            .counted(what)?
            .get("EventBridge PutEvents")
            .copied()
            .unwrap_or_default();
        let memory = self.settings.notifications.memory;
        let seconds = self.page.assumed("seconds of a notification")?;
        Ok(Usage {
            invocations: told,
            gb_seconds: told * memory * seconds,
            out_gb: told * self.page.assumed("KB of a notification")? * 1e3 / GB,
            ..Usage::default()
        })
    }

    /// What this costs, without what a stack costs at rest.
    pub fn bill(&self, usage: &Usage) -> Result<Bill, PageError> {
        let price = |of: &str| self.page.price(of);
        let million = |count: f64, of: &str| Ok::<_, PageError>(count / 1e6 * price(of)?);
        let at = |service: &'static str| move |name: &str| name.starts_with(service);
        let messages = usage.calls(|name| name == "messages queued");
        // Each message is received and deleted, too; full batches make that less.
        let queueing = usage.calls(at("SQS ")) + 2.0 * messages;
        let sqs = million(queueing, "SQS, million requests")?
            + million(queueing, "SQS, fair queues, million requests more")?;
        let is_units =
            |kind: &'static str| move |name: &str| name == format!("DynamoDB {kind} units");
        let dynamodb = million(
            usage.calls(is_units("write")),
            "DynamoDB, million write units",
        )? + million(
            usage.calls(is_units("read")),
            "DynamoDB, million read units",
        )? + usage.table_gb
            * (price("DynamoDB, GB and month")?
                + price("DynamoDB, point-in-time recovery, GB and month")?);
        let puts = usage.calls(|name| name.starts_with("S3 ") && name != "S3 GetObject");
        let logged = usage.invocations * self.page.assumed("bytes of logs, per invocation")?
            + usage.requests * self.page.assumed("bytes of access logs, per request")?;
        let traced =
            usage.invocations * self.page.assumed("share of invocations that is traced")?;
        Ok(Bill::from([
            (
                "Lambda, time",
                usage.gb_seconds * price("Lambda arm64, GB-second")?,
            ),
            (
                "Lambda, requests",
                million(usage.invocations, "Lambda, million requests")?,
            ),
            (
                "API Gateway",
                million(usage.requests, "API Gateway HTTP API, million requests")?,
            ),
            ("SQS", sqs),
            ("DynamoDB", dynamodb),
            (
                "S3, requests",
                puts / 1e3 * price("S3 Standard, thousand PUT requests")?,
            ),
            ("S3, storage", self.storage(usage.stored_gb)?),
            (
                "KMS",
                usage.calls(at("KMS ")) / 1e4 * price("KMS, ten thousand requests")?,
            ),
            (
                "EventBridge",
                million(
                    usage.calls(at("EventBridge ")),
                    "EventBridge, million events",
                )?,
            ),
            (
                "CloudWatch Logs",
                logged / GB * price("CloudWatch Logs, GB")?,
            ),
            ("X-Ray", million(traced, "X-Ray, million traces")?),
            (
                "Data transfer to the app",
                usage.out_gb * price("data transfer out, GB")?,
            ),
        ]))
    }

    /// What a stack costs a month at which nothing happens.
    pub fn at_rest(&self) -> Result<Bill, PageError> {
        let price = |of: &str| self.page.price(of);
        let some = |of: &str| self.page.assumed(of);
        let polls = some("empty receives a month")? / 1e6;
        let secrets = some("secrets")? * price("Secrets Manager, secret and month")?
            + some("reads of secrets a month")? / 1e4
                * price("Secrets Manager, ten thousand requests")?;
        Ok(Bill::from([
            ("SQS", polls * price("SQS, million requests")?),
            ("KMS", price("KMS, key and month")?),
            ("Secrets Manager", secrets),
            (
                "CloudWatch",
                some("custom metrics")? * price("CloudWatch, metric and month")?
                    + some("alarms")? * price("CloudWatch, alarm and month")?
                    + price("CloudWatch, dashboard and month")?,
            ),
        ]))
    }

    fn storage(&self, mut gigabytes: f64) -> Result<f64, PageError> {
        let mut sum = 0.0;
        for (size, price) in TIERS {
            let here = gigabytes.min(size);
            sum += here * self.page.price(price)?;
            gigabytes -= here;
        }
        Ok(sum)
    }
}

/// The tables of the page that follow from its others.
pub fn blocks(page: &Page, settings: &Settings) -> Result<[(&'static str, String); 2], PageError> {
    let rates = Rates::new(page, settings)?;
    Ok([("each", each(&rates)?), ("months", months(&rates)?)])
}

fn each(rates: &Rates<'_>) -> Result<String, PageError> {
    let things = [
        ("a link", rates.link()?),
        (
            "an event of nobody who has linked",
            rates.event_of_nobody()?,
        ),
        ("a recording, beside its files", rates.recording()?),
        ("a file of 30 KB", rates.small_file(30e3)?),
        ("a file of 1 GiB", rates.file(GIB)?),
        ("each further GiB of a file", rates.gib()?),
        ("a refresh of tokens", rates.refresh()?),
        ("a recording read by the app", rates.view()?),
    ];
    let mut text = "| | AWS calls | write units | read units | GB-seconds | USD a million | of it at S3 for a month's storage |\n\
        |---|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for (name, usage) in things {
        let calls = usage.calls(|name| {
            !name.contains("units") && !name.contains("by-next-check") && name != "messages queued"
        });
        let units = |kind: &str| usage.calls(|name| name == format!("DynamoDB {kind} units"));
        // Nothing may come as less than nothing: minus zero.
        let (write, read) = (units("write") + 0.0, units("read") + 0.0);
        let bill = rates.bill(&usage.clone().times(1e6))?;
        // Of a single thing, not of a million at once: that would be in another tier.
        let storage = rates.bill(&usage)?["S3, storage"] * 1e6;
        let other: f64 = bill
            .iter()
            .filter(|(name, _)| **name != "S3, storage")
            .map(|(_, amount)| amount)
            .sum();
        text += &format!(
            "| {name} | {} | {write} | {read} | {:.2} | {} | {} |\n",
            whole(calls),
            usage.gb_seconds,
            dollars(other + storage),
            dollars(storage)
        );
    }
    Ok(text)
}

fn months(rates: &Rates<'_>) -> Result<String, PageError> {
    let sizes = [1e3, 1e6, 1e8];
    let mut bills = Vec::new();
    for recordings in sizes {
        let mut bill = rates.bill(&rates.month(recordings)?)?;
        for (service, amount) in rates.at_rest()? {
            *bill.entry(service).or_default() += amount;
        }
        bills.push(bill);
    }
    let mut text =
        "| recordings a month | 1 thousand | 1 million | 100 million |\n|---|---:|---:|---:|\n"
            .to_owned();
    let row = |name: &str, of: &dyn Fn(&Bill, f64) -> f64| {
        let mut row = format!("| {name} |");
        for (bill, recordings) in bills.iter().zip(sizes) {
            row += &format!(" {} |", dollars(of(bill, recordings)));
        }
        row + "\n"
    };
    let all = |bill: &Bill| bill.values().sum::<f64>();
    for service in bills[0].keys() {
        text += &row(service, &|bill, _| {
            bill.get(service).copied().unwrap_or_default()
        });
    }
    let without = |bill: &Bill| all(bill) - bill["S3, storage"];
    text += &row("**without storage**", &|bill, _| without(bill));
    text += &row("**all**", &|bill, _| all(bill));
    text += &row(
        "a thousand recordings, without storage",
        &|bill, recordings| without(bill) / recordings * 1e3,
    );
    Ok(text)
}

/// With as many digits as matter.
fn dollars(amount: f64) -> String {
    match amount.abs() {
        small if small < 0.005 => "0.00".to_owned(),
        small if small < 100.0 => format!("{amount:.2}"),
        _ => crate::report::grouped(whole(amount)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_its_prices_and_counts_come_to() {
        let text = include_str!("../../../docs/costs.md");
        let page = Page::of_repository().unwrap();
        let settings = Settings::of_repository().unwrap();
        for (name, block) in blocks(&page, &settings).unwrap() {
            let expected = crate::page::with_block(text, name, &block).unwrap();
            assert!(
                text == expected,
                "<!-- {name} --> is out of date; `cargo run --release -p month -- --page` mends it:\n{block}"
            );
        }
    }

    #[test]
    fn amounts_are_written_with_as_many_digits_as_matter() {
        for (amount, text) in [
            (0.004, "0.00"),
            (0.126, "0.13"),
            (99.5, "99.50"),
            (100.4, "100"),
            (1_234_567.8, "1,234,568"),
        ] {
            assert_eq!(dollars(amount), text);
        }
    }

    #[test]
    fn a_thousand_times_the_recordings_cost_a_thousand_times_as_much_beside_storage() {
        let page = Page::of_repository().unwrap();
        let settings = Settings::of_repository().unwrap();
        let rates = Rates::new(&page, &settings).unwrap();
        let (one, many) = (rates.month(1.0).unwrap(), rates.month(1_000.0).unwrap());
        let (one, many) = (rates.bill(&one).unwrap(), rates.bill(&many).unwrap());
        for (service, amount) in one {
            assert!(
                (amount * 1_000.0 / many[service] - 1.0).abs() < 1e-6,
                "{service}"
            );
            assert!(amount > 0.0, "{service} costs nothing");
        }
    }

    #[test]
    fn storage_is_billed_by_tiers() {
        let page = Page::of_repository().unwrap();
        let settings = Settings::of_repository().unwrap();
        let rates = Rates::new(&page, &settings).unwrap();
        let tiers: Vec<f64> = TIERS
            .iter()
            .map(|(_, name)| page.price(name).unwrap())
            .collect();
        let expected = 50_000.0 * tiers[0] + 450_000.0 * tiers[1] + 1_000.0 * tiers[2];
        assert!((rates.storage(501_000.0).unwrap() - expected).abs() < 1e-6);
    }
}
