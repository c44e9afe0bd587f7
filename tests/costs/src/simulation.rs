//! A simulated month: events, downloads and notifications pass through their queues.

use serde::Serialize;

use crate::bill::parts;
use crate::number::{round, to_f64};
use crate::page::{Page, PageError};
use crate::queue::{Counts, Limits, Queue, Received};
use crate::random::{Generator, SeedableRng as _, poisson, round_randomly, uniform};
use crate::settings::Settings;
use crate::wait_times::WaitTimes;
use crate::workload::{Calendar, GROUPS, HOUR, HOURS, LARGEST, OTHERS, Sizes};

/// Lifetime in seconds of the download token in an event.
const TOKEN_TTL: u32 = 24 * HOUR;
/// Start of the largest account's burst: the second Wednesday at 15:00 UTC.
const BURST_START: u32 = (9 * 24 + 15) * HOUR;
const BURST_SECONDS: u32 = 600;
/// Write units that one DynamoDB partition accepts per second.
const PARTITION_WRITE_UNITS: f64 = 1_000.0;
/// Seconds for which the end of a download is scheduled ahead.
const SCHEDULE: usize = 4_096;
/// Offsets of the event classes that follow the size classes: late files and events of unlinked hosts.
const LATE: usize = 0;
const UNLINKED: usize = 1;

/// Result of one queue and its function.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct QueueResult {
    pub(crate) enqueued: u64,
    pub(crate) received: u64,
    /// Messages in the backlog at the end.
    pub(crate) waiting: u64,
    pub(crate) invocations: f64,
    pub(crate) max_concurrency: f64,
    /// Median, 95th percentile and maximum wait in seconds of all accounts except the largest.
    pub(crate) waits_of_others: [usize; 3],
    /// The same for the largest account.
    pub(crate) waits_of_largest: [usize; 3],
}

/// Result of a month.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Month {
    pub(crate) recordings: u64,
    /// Bytes of all files of these recordings.
    pub(crate) bytes: u64,
    pub(crate) bytes_downloaded: u64,
    /// Files that waited longer than the event's token is valid, so that each needs a request to Zoom.
    pub(crate) files_with_expired_token: u64,
    /// Seconds in which the index `by-next-check` limited event processing.
    pub(crate) seconds_at_index_limit: u64,
    pub(crate) max_events_per_second: u64,
    /// Maximum concurrency of all functions together.
    pub(crate) max_concurrency: f64,
    /// Write units of the table Recordings.
    pub(crate) max_write_units_per_second: f64,
    /// `UploadPart` and `PutObject` requests.
    pub(crate) max_puts_per_second: f64,
    pub(crate) events: QueueResult,
    pub(crate) downloads: QueueResult,
    pub(crate) notifications: QueueResult,
}

/// A queue with its statistics.
struct MeasuredQueue {
    queue: Queue,
    waits: [WaitTimes; GROUPS],
    result: QueueResult,
}

impl MeasuredQueue {
    fn new(queue: Queue) -> Self {
        Self { queue, waits: Default::default(), result: QueueResult::default() }
    }

    fn enqueue(&mut self, now: u32, group: usize, counts: Counts) {
        self.result.enqueued += counts.iter().sum::<u64>();
        self.queue.enqueue(now, group, counts);
    }

    fn process(&mut self, now: u32, limits: Limits, rng: &mut Generator) -> Vec<Received> {
        let received = self.queue.process(now, limits, rng);
        for messages in &received {
            self.waits[messages.group].add(messages.age, messages.total);
            self.result.received += messages.total;
        }
        let concurrency = self.queue.concurrency();
        self.result.max_concurrency = self.result.max_concurrency.max(concurrency);
        received
    }

    fn finish(self) -> QueueResult {
        QueueResult {
            waiting: self.queue.size(),
            invocations: self.queue.invocations(),
            waits_of_others: self.waits[OTHERS].summary(),
            waits_of_largest: self.waits[LARGEST].summary(),
            ..self.result
        }
    }
}

struct Simulation<'a> {
    page: &'a Page,
    rng: Generator,
    sizes: Sizes,
    calendar: Calendar,
    /// Expected recordings of the largest account's burst.
    burst: f64,
    /// Files per recording except the MP4 and the M4A, which arrive with the first event.
    small_files: u64,
    /// Files of a later event.
    late_files: u64,
    /// By file class: the MP4s and the M4As by size class, then all other files.
    file_bytes: Vec<u64>,
    file_seconds: Vec<f64>,
    index_write_units: f64,
    /// Write units of `by-next-check` that enqueuing or storing one file takes.
    index_units_per_file: f64,
    events: MeasuredQueue,
    downloads: MeasuredQueue,
    notifications: MeasuredQueue,
    /// Notifications about stored files by second, as a ring.
    finished: Vec<[u64; GROUPS]>,
    stored_last_second: u64,
    month: Month,
}

/// Simulates a month with the given expected number of recordings.
pub(crate) fn run(
    page: &Page,
    settings: &Settings,
    recordings: f64,
    seed: u64,
) -> Result<Month, PageError> {
    run_hours(HOURS, page, settings, recordings, seed)
}

/// Simulates the first hours of a month.
fn run_hours(
    hours: u32,
    page: &Page,
    settings: &Settings,
    recordings: f64,
    seed: u64,
) -> Result<Month, PageError> {
    let mut simulation = Simulation::new(page, settings, recordings, seed)?;
    for second in 0..hours * HOUR {
        simulation.step(second)?;
    }
    let month = simulation.month;
    Ok(Month {
        events: simulation.events.finish(),
        downloads: simulation.downloads.finish(),
        notifications: simulation.notifications.finish(),
        ..month
    })
}

impl<'a> Simulation<'a> {
    fn new(
        page: &'a Page,
        settings: &Settings,
        recordings: f64,
        seed: u64,
    ) -> Result<Self, PageError> {
        let sizes = Sizes::new(page)?;
        let burst = recordings * page.assumption("largest account: share ending in one burst")?;
        let files = round(page.assumption("files per recording")?);
        let late_files = round(page.assumption("events per recording")?).saturating_sub(1);
        let file_bytes: Vec<u64> =
            sizes.mp4.iter().chain(&sizes.m4a).chain([&sizes.small]).copied().collect();
        let rate = page.assumption("download rate per file, MB/s")? * 1e6;
        let fixed = page.assumption("fixed time per file, s")?;
        let file_seconds: Vec<f64> =
            file_bytes.iter().map(|bytes| fixed + to_f64(*bytes) / rate).collect();
        let index_units =
            page.counted("small file")?.get("DynamoDB write units of `by-next-check`");
        let event_seconds =
            vec![page.assumption("event-processor duration, s")?; sizes.mp4.len() + 2];
        let notifier_seconds = vec![page.assumption("notifier duration, s")?];
        let queue =
            |function, seconds| MeasuredQueue::new(Queue::new(function, settings.is_fair, seconds));
        Ok(Self {
            page,
            rng: Generator::seed_from_u64(seed),
            calendar: Calendar::new(page, recordings - burst)?,
            burst,
            small_files: files.saturating_sub(2 + late_files),
            late_files,
            index_write_units: PARTITION_WRITE_UNITS * f64::from(settings.index_partitions),
            // Half when the file is enqueued, half when it is stored.
            index_units_per_file: index_units.copied().unwrap_or_default() / 2.0,
            events: queue(settings.events, event_seconds),
            downloads: queue(settings.downloads, file_seconds.clone()),
            notifications: queue(settings.notifications, notifier_seconds),
            finished: vec![[0; GROUPS]; SCHEDULE],
            stored_last_second: 0,
            month: Month::default(),
            sizes,
            file_bytes,
            file_seconds,
        })
    }

    fn step(&mut self, now: u32) -> Result<(), PageError> {
        let events = self.receive_events(now)?;
        let (enqueued, mut notifications) = self.process_events(now);
        let stored = self.download(now)?;
        let ended = std::mem::take(&mut self.finished[now as usize % SCHEDULE]);
        for group in 0..GROUPS {
            notifications[group] += ended[group];
            self.notifications.enqueue(now, group, vec![notifications[group]]);
        }
        self.notifications.process(now, Limits::NONE, &mut self.rng);

        let units = self.page.counted("small file")?.get("DynamoDB write units");
        let units = to_f64(enqueued + stored) / 2.0 * units.copied().unwrap_or_default();
        let webhook = to_f64(events) * self.page.assumption("webhook duration, s")?;
        let queues = [&self.events, &self.downloads, &self.notifications];
        let concurrency: f64 = queues.iter().map(|queue| queue.queue.concurrency()).sum();
        let month = &mut self.month;
        month.max_events_per_second = month.max_events_per_second.max(events);
        month.max_write_units_per_second = month.max_write_units_per_second.max(units);
        month.max_concurrency = month.max_concurrency.max(webhook + concurrency);
        self.stored_last_second = stored;
        Ok(())
    }

    /// Enqueues the events of this second and returns their number.
    fn receive_events(&mut self, now: u32) -> Result<u64, PageError> {
        let share_of_largest = self.page.assumption("largest account: share of all recordings")?;
        let unlinked = self.page.assumption("events of unlinked hosts per recording")?;
        let classes = self.sizes.mp4.len();
        let regular = poisson(&mut self.rng, self.calendar.at(now));
        let is_burst = (BURST_START..BURST_START + BURST_SECONDS).contains(&now);
        let burst = if is_burst {
            poisson(&mut self.rng, self.burst / f64::from(BURST_SECONDS))
        } else {
            0
        };
        let mut counts: [Counts; GROUPS] = [vec![0; classes + 2], vec![0; classes + 2]];
        for number in 0..regular + burst {
            let is_largest = number >= regular || uniform(&mut self.rng) < share_of_largest;
            let group = if is_largest { LARGEST } else { OTHERS };
            let class = self.sizes.draw(&mut self.rng);
            counts[group][class] += 1;
            counts[group][classes + LATE] += self.late_files.min(1);
            self.month.bytes += self.sizes.mp4[class]
                + self.sizes.m4a[class]
                + (self.small_files + self.late_files) * self.sizes.small;
        }
        self.month.recordings += regular + burst;
        counts[OTHERS][classes + UNLINKED] +=
            round_randomly(&mut self.rng, to_f64(regular + burst) * unlinked);
        let total = counts.iter().flatten().sum();
        for (group, counts) in counts.into_iter().enumerate() {
            self.events.enqueue(now, group, counts);
        }
        Ok(total)
    }

    /// Enqueues the files of processed events; returns their number and the notifications by group.
    fn process_events(&mut self, now: u32) -> (u64, [u64; GROUPS]) {
        let classes = self.sizes.mp4.len();
        let free_units =
            self.index_write_units - to_f64(self.stored_last_second) * self.index_units_per_file;
        let units_per_event = to_f64(self.small_files + 2) * self.index_units_per_file;
        let limit = round((free_units / units_per_event).max(0.0));
        let limits = Limits { messages: limit, ..Limits::NONE };
        let mut notifications = [0; GROUPS];
        let (mut enqueued, mut processed) = (0, 0);
        for events in self.events.process(now, limits, &mut self.rng) {
            let by_size = &events.counts[..classes];
            let (new, late) = (by_size.iter().sum::<u64>(), events.counts[classes + LATE]);
            let small = new * self.small_files + late * self.late_files;
            let files = [by_size, by_size, &[small]].concat();
            // Detected and stored; stored again with the late files.
            notifications[events.group] += 2 * new + late;
            processed += events.total;
            enqueued += files.iter().sum::<u64>();
            self.downloads.enqueue(now, events.group, files);
        }
        let is_limited = processed >= limit && self.events.queue.size() > 0;
        self.month.seconds_at_index_limit += u64::from(is_limited);
        (enqueued, notifications)
    }

    /// Starts downloads and returns their number.
    fn download(&mut self, now: u32) -> Result<u64, PageError> {
        let zoom_requests = self.page.assumption("Zoom LIGHT requests per second and account")?;
        let limits = Limits {
            messages: u64::MAX,
            expired_of_largest: round(zoom_requests),
            expires_after: TOKEN_TTL,
        };
        let (mut total, mut puts) = (0, 0.0);
        for files in self.downloads.process(now, limits, &mut self.rng) {
            for (class, count) in files.counts.iter().enumerate() {
                let (bytes, seconds) = (self.file_bytes[class], self.file_seconds[class]);
                self.month.bytes_downloaded += count * bytes;
                puts += to_f64(*count) * parts(bytes) / seconds.max(1.0);
                let end = usize::try_from(round(seconds)).unwrap_or_default();
                let end = now as usize + end.min(SCHEDULE - 1);
                self.finished[end % SCHEDULE][files.group] += count;
            }
            total += files.total;
            if files.age > TOKEN_TTL {
                self.month.files_with_expired_token += files.total;
            }
        }
        self.month.max_puts_per_second = self.month.max_puts_per_second.max(puts);
        Ok(total)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn two_days(settings: &Settings, recordings: f64, seed: u64) -> Month {
        let page = Page::of_repository().unwrap();
        run_hours(48, &page, settings, recordings, seed).unwrap()
    }

    #[test]
    fn thousand_recordings_never_wait() {
        let page = Page::of_repository().unwrap();
        let settings = Settings::of_repository().unwrap().with_concurrency(20, 20, 10);
        let month = run(&page, &settings, 1_000.0, 7).unwrap();
        let recordings = month.recordings;
        assert!((850..1_150).contains(&recordings), "{recordings}");
        assert_eq!(month.downloads.waiting, 0);
        for queue in [&month.events, &month.downloads, &month.notifications] {
            assert_eq!(queue.waits_of_others[2], 0, "{queue:?}");
        }
        assert_eq!(month.files_with_expired_token, 0);
        assert_eq!(month.seconds_at_index_limit, 0);
    }

    #[test]
    fn equal_seeds_give_equal_months() {
        let settings = Settings::of_repository().unwrap();
        let text = |seed| serde_json::to_string(&two_days(&settings, 20_000.0, seed)).unwrap();
        assert_eq!(text(3), text(3));
        assert_ne!(text(3), text(4));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

        #[test]
        fn files_and_bytes_are_conserved(
            seed: u64,
            recordings in 1_000f64..6_000_000.0,
            max_concurrency in 2u32..60,
            is_fair: bool,
        ) {
            let mut settings = Settings { is_fair, ..Settings::of_repository().unwrap() };
            settings.downloads.max_concurrency = max_concurrency;
            let month = two_days(&settings, recordings, seed);
            prop_assert!(month.bytes_downloaded <= month.bytes);
            if month.downloads.waiting == 0 && month.events.waiting == 0 {
                prop_assert_eq!(month.bytes_downloaded, month.bytes);
            }
            for queue in [&month.events, &month.downloads, &month.notifications] {
                prop_assert_eq!(queue.enqueued, queue.received + queue.waiting);
                for waits in [queue.waits_of_others, queue.waits_of_largest] {
                    prop_assert!(waits.is_sorted());
                }
            }
            prop_assert!(month.downloads.max_concurrency <= f64::from(max_concurrency) + 1e-6);
        }
    }
}
