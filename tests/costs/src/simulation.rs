//! The month: events come in, files are fetched, the app is told, each through its queue.

use serde::Serialize;

use crate::dice::Dice;
use crate::page::{Page, PageError};
use crate::queue::{Counts, Limits, Queue, as_number};
use crate::settings::Settings;
use crate::tally::Tally;
use crate::workload::{Calendar, EVERYBODY, GROUPS, HOUR, HOURS, LARGEST, Sizes};

/// Zoom honours the token of an event for so long.
const TOKEN_LIFE: u32 = 24 * HOUR;
/// The day that is looked at closely: the second Wednesday.
const DAY: u32 = 9;
/// Seconds in which the largest account ends what it ends at once.
const AT_ONCE: u32 = 600;
/// What a DynamoDB partition writes in a second.
const PARTITION_UNITS: f64 = 1_000.0;
/// Messages of an event: with files, late ones, and of nobody who has linked. They follow the size classes.
const LATE: usize = 0;
const OF_NOBODY: usize = 1;

/// One hour of one queue.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Hour {
    /// Messages that were put into the queue.
    pub put: u64,
    /// Messages that were taken out of it.
    pub taken: u64,
    /// Median wait of those that were taken, seconds.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// The longest.
    pub max: f64,
    /// What CloudWatch shows as the age of the oldest message, at its highest, seconds.
    pub oldest: f64,
    /// Messages waiting at the hour's end.
    pub waiting: u64,
    /// Calls of the function at the same time, at most.
    pub concurrency: f64,
    /// Messages received and not deleted, at most.
    pub in_flight: f64,
}

/// A queue's month.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// Its hours.
    pub hours: Vec<Hour>,
    /// Median, 95th percentile and maximum of all waits of messages of all accounts but the largest, seconds.
    pub others: [f64; 3],
    /// The same of the largest account.
    pub largest: [f64; 3],
    /// Calls of the function.
    pub invocations: f64,
}

/// One minute of the day that is looked at closely.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Minute {
    /// Recordings whose event came in.
    pub recordings: u64,
    /// Age of the oldest message in the downloads queue of all accounts but the largest, seconds.
    pub oldest_of_others: f64,
    /// The same of the largest account.
    pub oldest_of_largest: f64,
    /// Downloads at the same time, at most.
    pub concurrency: f64,
}

/// What a month came to.
#[derive(Debug, Clone, Serialize)]
pub struct Month {
    /// Recordings whose event came in.
    pub recordings: u64,
    /// Files that were put into the downloads queue.
    pub files: u64,
    /// Files that were taken out of it.
    pub files_fetched: u64,
    /// Bytes of those.
    pub bytes_fetched: u64,
    /// Files that are still to be fetched.
    pub files_waiting: u64,
    /// Bytes of those that came in.
    pub bytes: u64,
    /// Files whose event's token had expired, so that Zoom had to be asked for another.
    pub by_rest: u64,
    /// Seconds of the month in which the index `by-next-check` took no more.
    pub seconds_index_full: u64,
    /// Events at Zoom's route in the busiest second.
    pub most_events_a_second: u64,
    /// All functions' calls at the same time, at most.
    pub concurrency: f64,
    /// Write units of the table Recordings in the busiest second.
    pub most_write_units: f64,
    /// `UploadPart` and `PutObject` in the busiest second.
    pub most_puts: f64,
    /// The second Wednesday, on which the largest account ends so much at once.
    pub day: Vec<Minute>,
    /// The events queue.
    pub events: Line,
    /// The downloads queue.
    pub downloads: Line,
    /// The notifications queue.
    pub notifications: Line,
}

/// A queue, watched.
struct Watched {
    queue: Queue,
    waits: [Tally; GROUPS],
    hour: [u64; 2],
    tally: Tally,
    oldest: u32,
    concurrency: f64,
    batch: f64,
    hours: Vec<Hour>,
}

impl Watched {
    fn new(queue: Queue, batch: u32) -> Self {
        Self {
            queue,
            waits: Default::default(),
            hour: [0; 2],
            tally: Tally::default(),
            oldest: 0,
            concurrency: 0.0,
            batch: f64::from(batch),
            hours: Vec::new(),
        }
    }

    fn put(&mut self, now: u32, group: usize, counts: Counts) {
        self.hour[0] += counts.iter().sum::<u64>();
        self.queue.put(now, group, counts);
    }

    fn work(&mut self, now: u32, limits: Limits, dice: &mut Dice) -> Vec<crate::queue::Taken> {
        let taken = self.queue.work(now, limits, dice);
        for one in &taken {
            self.waits[one.group].add(one.age, one.total);
            self.tally.add(one.age, one.total);
            self.hour[1] += one.total;
        }
        let oldest = (0..GROUPS).map(|group| self.queue.oldest(now, group)).max();
        self.oldest = self.oldest.max(oldest.unwrap_or_default());
        self.concurrency = self.concurrency.max(self.queue.in_use());
        if now % HOUR == HOUR - 1 {
            self.end_hour();
        }
        taken
    }

    fn end_hour(&mut self) {
        let tally = std::mem::take(&mut self.tally);
        let concurrency = std::mem::take(&mut self.concurrency);
        let [put, taken] = std::mem::take(&mut self.hour);
        self.hours.push(Hour {
            put,
            taken,
            p50: tally.quantile(0.5),
            p95: tally.quantile(0.95),
            max: tally.most(),
            oldest: std::mem::take(&mut self.oldest).into(),
            waiting: self.queue.count(),
            concurrency,
            in_flight: concurrency * self.batch,
        });
    }

    fn line(self) -> Line {
        let of = |tally: &Tally| [tally.quantile(0.5), tally.quantile(0.95), tally.most()];
        Line {
            others: of(&self.waits[EVERYBODY]),
            largest: of(&self.waits[LARGEST]),
            invocations: self.queue.invocations(),
            hours: self.hours,
        }
    }
}

/// What the page assumes and has counted, as the simulation needs it.
struct Assumed {
    small_files: u64,
    late_files: u64,
    share_of_largest: f64,
    at_once: f64,
    strangers: f64,
    requests: u64,
    units_per_file: f64,
    due_per_file: f64,
    part: f64,
}

impl Assumed {
    fn read(page: &Page) -> Result<Self, PageError> {
        let small = page.counted("small file")?;
        let unit = |name: &str| small.get(name).copied().unwrap_or_default();
        let files = crate::dice::whole(page.assumed("files per recording")?);
        let late = crate::dice::whole(page.assumed("events per recording")?).saturating_sub(1);
        Ok(Self {
            // Beside the MP4 and the M4A, and what comes late.
            small_files: files.saturating_sub(2 + late),
            late_files: late,
            share_of_largest: page.assumed("largest account: share of all recordings")?,
            at_once: page.assumed("largest account: share of all that it ends at once")?,
            strangers: page.assumed("events of nobody, per recording")?,
            requests: crate::dice::whole(
                page.assumed("Zoom's light requests a second and account")?,
            ),
            units_per_file: unit("DynamoDB write units"),
            // Half when it is written, half when it is stored.
            due_per_file: unit("of these to `by-next-check`") / 2.0,
            part: page.assumed("part, MiB")? * 1024.0 * 1024.0,
        })
    }
}

/// Simulates a month of so many recordings.
pub fn run(
    page: &Page,
    settings: &Settings,
    recordings: f64,
    seed: u64,
) -> Result<Month, PageError> {
    run_for(HOURS, page, settings, recordings, seed)
}

/// The first hours of it.
fn run_for(
    hours: u32,
    page: &Page,
    settings: &Settings,
    recordings: f64,
    seed: u64,
) -> Result<Month, PageError> {
    let assumed = Assumed::read(page)?;
    let sizes = Sizes::assumed(page)?;
    // The largest account ends so much at once, at 15:00 UTC.
    let (at_once, when) = (recordings * assumed.at_once, (DAY * 24 + 15) * HOUR);
    let calendar = Calendar::assumed(page, recordings - at_once)?;
    let mut dice = Dice::new(seed);
    let classes = sizes.classes();

    let rate = page.assumed("MB a second and file")? * 1e6;
    let beside = page.assumed("seconds of a file beside its bytes")?;
    let fetching = |bytes: &u64| beside + as_number(*bytes) / rate;
    let file_seconds: Vec<f64> = sizes
        .mp4
        .iter()
        .chain(&sizes.m4a)
        .map(fetching)
        .chain([fetching(&sizes.small)])
        .collect();
    let file_bytes: Vec<u64> = sizes
        .mp4
        .iter()
        .chain(&sizes.m4a)
        .copied()
        .chain([sizes.small])
        .collect();
    let parts: Vec<f64> = file_bytes
        .iter()
        .map(|bytes| (as_number(*bytes) / assumed.part).ceil())
        .collect();
    let small = 2 * classes;

    let queue = |function: crate::settings::Function, seconds: Vec<f64>| {
        let queue = Queue::new(function.servers, function.batch, settings.fair, seconds);
        Watched::new(queue, function.batch)
    };
    let event_seconds = page.assumed("seconds of an event")?;
    let mut events = queue(settings.events, vec![event_seconds; classes + 2]);
    let mut downloads = queue(settings.downloads, file_seconds.clone());
    let mut notifications = queue(
        settings.notifications,
        vec![page.assumed("seconds of a notification")?],
    );
    let webhook_seconds = page.assumed("seconds of a webhook")?;

    let mut month = Totals::default();
    // Facts that are told when a file is done, by second.
    let mut told_at = vec![[0u64; GROUPS]; 4_096];
    let mut stored_last = 0.0;
    for now in 0..hours * HOUR {
        let arrived = dice.happened(calendar.in_second(now));
        let in_burst = (when..when + AT_ONCE).contains(&now);
        let burst = if in_burst {
            dice.happened(at_once / f64::from(AT_ONCE))
        } else {
            0
        };
        let mut counts: [Counts; GROUPS] = [vec![0; classes + 2], vec![0; classes + 2]];
        for number in 0..arrived + burst {
            let is_largest = number >= arrived || dice.even() < assumed.share_of_largest;
            let group = if is_largest { LARGEST } else { EVERYBODY };
            let class = sizes.draw(&mut dice);
            counts[group][class] += 1;
            counts[group][classes + LATE] += assumed.late_files.min(1);
            month.bytes += sizes.mp4[class]
                + sizes.m4a[class]
                + (assumed.small_files + assumed.late_files) * sizes.small;
        }
        month.recordings += arrived + burst;
        let all = as_number(arrived + burst);
        counts[EVERYBODY][classes + OF_NOBODY] += dice.rounded(all * assumed.strangers);
        let this_second: u64 = counts.iter().flatten().sum();
        month.most_events = month.most_events.max(this_second);
        for (group, counts) in counts.into_iter().enumerate() {
            events.put(now, group, counts);
        }

        // What the index takes in this second, beside what leaves it.
        let room = PARTITION_UNITS * f64::from(settings.due_partitions)
            - stored_last * assumed.due_per_file;
        let per_event = as_number(assumed.small_files + 2) * assumed.due_per_file;
        let most = crate::dice::whole((room / per_event).max(0.0));
        let limits = Limits {
            most,
            ..Limits::NONE
        };
        let mut facts = [0u64; GROUPS];
        let (mut written, mut handled) = (0, 0);
        for taken in events.work(now, limits, &mut dice) {
            let mut files = vec![0; small + 1];
            files[..classes].copy_from_slice(&taken.counts[..classes]);
            files[classes..small].copy_from_slice(&taken.counts[..classes]);
            let new: u64 = taken.counts[..classes].iter().sum();
            let late = taken.counts[classes + LATE];
            files[small] = new * assumed.small_files + late * assumed.late_files;
            // Detected, and stored; once more stored with what comes late.
            facts[taken.group] += 2 * new + late;
            handled += taken.total;
            let files_of_these: u64 = files.iter().sum();
            written += files_of_these;
            downloads.put(now, taken.group, files);
        }
        month.files += written;
        month.seconds_full += u64::from(handled >= most && events.queue.count() > 0);

        let limits = Limits {
            most: u64::MAX,
            stale_of_largest: assumed.requests,
            stale_after: TOKEN_LIFE,
        };
        let (mut stored, mut puts) = (0u64, 0.0);
        for taken in downloads.work(now, limits, &mut dice) {
            for (class, count) in taken
                .counts
                .iter()
                .enumerate()
                .filter(|(_, count)| **count > 0)
            {
                month.bytes_fetched += count * file_bytes[class];
                let seconds = file_seconds[class];
                puts += as_number(*count) * parts[class] / seconds.max(1.0);
                let ends = usize::try_from(crate::dice::whole(seconds))
                    .unwrap_or(0)
                    .min(4_000);
                told_at[(now as usize + ends) % 4_096][taken.group] += count;
            }
            stored += taken.total;
            month.by_rest += if taken.age > TOKEN_LIFE {
                taken.total
            } else {
                0
            };
        }
        month.files_fetched += stored;
        stored_last = as_number(stored);
        let units = as_number(written + stored) / 2.0 * assumed.units_per_file;
        month.most_units = month.most_units.max(units);
        month.most_puts = month.most_puts.max(puts);

        if now / (24 * HOUR) == DAY {
            month.look_closely(now, arrived + burst, &downloads.queue);
        }
        let ended = std::mem::take(&mut told_at[now as usize % 4_096]);
        for group in 0..GROUPS {
            notifications.put(now, group, vec![facts[group] + ended[group]]);
        }
        notifications.work(now, Limits::NONE, &mut dice);
        let webhooks = as_number(this_second) * webhook_seconds;
        let concurrency = webhooks
            + events.queue.in_use()
            + downloads.queue.in_use()
            + notifications.queue.in_use();
        month.concurrency = month.concurrency.max(concurrency);
    }
    Ok(Month {
        recordings: month.recordings,
        files: month.files,
        files_fetched: month.files_fetched,
        bytes_fetched: month.bytes_fetched,
        files_waiting: downloads.queue.count(),
        bytes: month.bytes,
        by_rest: month.by_rest,
        seconds_index_full: month.seconds_full,
        most_events_a_second: month.most_events,
        concurrency: month.concurrency,
        most_write_units: month.most_units,
        most_puts: month.most_puts,
        day: month.day,
        events: events.line(),
        downloads: downloads.line(),
        notifications: notifications.line(),
    })
}

#[derive(Default)]
struct Totals {
    recordings: u64,
    files: u64,
    files_fetched: u64,
    bytes_fetched: u64,
    bytes: u64,
    by_rest: u64,
    seconds_full: u64,
    most_events: u64,
    concurrency: f64,
    most_units: f64,
    most_puts: f64,
    day: Vec<Minute>,
}

impl Totals {
    fn look_closely(&mut self, now: u32, recordings: u64, downloads: &Queue) {
        if now.is_multiple_of(60) {
            self.day.push(Minute::default());
        }
        if let Some(minute) = self.day.last_mut() {
            let oldest = |group: usize| f64::from(downloads.oldest(now, group));
            minute.recordings += recordings;
            minute.oldest_of_others = minute.oldest_of_others.max(oldest(EVERYBODY));
            minute.oldest_of_largest = minute.oldest_of_largest.max(oldest(LARGEST));
            minute.concurrency = minute.concurrency.max(downloads.in_use());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn month(settings: &Settings, recordings: f64, seed: u64) -> Month {
        run(&Page::of_repository().unwrap(), settings, recordings, seed).unwrap()
    }

    fn two_days(settings: &Settings, recordings: f64, seed: u64) -> Month {
        let page = Page::of_repository().unwrap();
        run_for(48, &page, settings, recordings, seed).unwrap()
    }

    #[test]
    fn a_thousand_recordings_never_wait() {
        let month = month(&Settings::of_repository().unwrap(), 1_000.0, 7);
        assert!(
            (850..1_150).contains(&month.recordings),
            "{}",
            month.recordings
        );
        assert_eq!(month.files_waiting, 0);
        for line in [&month.events, &month.downloads, &month.notifications] {
            assert_eq!(line.others[2], 0.0, "somebody waited");
        }
        assert_eq!((month.by_rest, month.seconds_index_full), (0, 0));
    }

    #[test]
    fn a_seed_gives_the_same_month_again() {
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
            most in 2u32..60,
            fair: bool,
        ) {
            let mut settings = Settings::of_repository().unwrap();
            settings.fair = fair;
            settings.downloads.servers = crate::queue::Servers::of_standard_mode(most);
            let month = two_days(&settings, recordings, seed);
            prop_assert_eq!(month.files, month.files_fetched + month.files_waiting);
            prop_assert!(month.bytes_fetched <= month.bytes);
            if month.files_waiting == 0 && month.events.hours.last().unwrap().waiting == 0 {
                prop_assert_eq!(month.bytes_fetched, month.bytes);
            }
            let hours = |line: &Line| {
                let sum = |of: fn(&Hour) -> u64| line.hours.iter().map(of).sum::<u64>();
                (sum(|hour| hour.put), sum(|hour| hour.taken), line.hours.last().unwrap().waiting)
            };
            for line in [&month.events, &month.downloads, &month.notifications] {
                let (put, taken, waiting) = hours(line);
                prop_assert_eq!(put, taken + waiting);
                for hour in &line.hours {
                    prop_assert!(hour.p50 <= hour.p95 && hour.p95 <= hour.max);
                }
            }
            for hour in &month.downloads.hours {
                prop_assert!(hour.concurrency <= f64::from(most) + 1e-6);
            }
        }
    }
}
