//! Listing of a Zoom user's recordings: which windows are read, which meetings are wanted, and whether a list is
//! complete.
//!
//! Zoom's list names a recording by the day of its start (UTC), spans at most one month a request, and is said to
//! both include and exclude `to`. Its `total_records` can exceed the number of meetings on its pages, and a page
//! token may repeat. Therefore windows share their border day, the newest one ends a day late, and every reading is
//! counted.

mod meeting;

use std::collections::HashSet;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};

use self::meeting::MAX_PROCESSING_TIME;
pub use self::meeting::{ListedMeeting, SUMMARY};
use crate::ids::{AppUserId, LinkId, ZoomUser};
use crate::time::utc_date;

/// Maximum days from the first to the last day of a window. Zoom lists one month at most and may silently cut a
/// longer window.
const MAX_WINDOW_DAYS: i32 = 27;

/// Maximum pages of one reading of a window, of 300 meetings each.
pub const MAX_PAGES: usize = 30;

/// Minimum time before an activation whose recordings are fetched. Zoom's events about the host were not stored
/// then, because the host was not linked.
pub const MIN_ACTIVATION_WINDOW: SignedDuration = SignedDuration::from_hours(48);

/// Maximum duration of a meeting (Zoom, "Meeting time limits").
const MAX_MEETING_DURATION: SignedDuration = SignedDuration::from_hours(30);

/// A backfill of one Zoom user, with its progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backfill {
    /// Owner of the grant.
    pub zoom_user: ZoomUser,
    /// First day (UTC) of the list, inclusive.
    pub from: Date,
    /// Last day (UTC), inclusive.
    pub to: Date,
    /// Only recordings that may have completed since then are wanted; `None`: all that started by `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_since: Option<Timestamp>,
    /// The app's request that this backfill is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<BackfillRequest>,
    /// Progress of earlier invocations; `None` before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// A link's part of the app's request for a backfill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillRequest {
    /// Id of the request.
    pub backfill_id: String,
    /// The app user who requested it.
    pub app_user_id: AppUserId,
    /// The link, which keeps its id when the Zoom user changes accounts.
    pub link_id: LinkId,
    /// Time of the request. It ends with the consent of that time.
    pub requested_at: Timestamp,
}

/// The earliest start of a recording that may have completed since a time. A list begins there, because it contains
/// recordings by their start.
pub fn earliest_start(completed_since: Timestamp) -> Timestamp {
    let longest = MAX_PROCESSING_TIME + MAX_MEETING_DURATION;
    completed_since.checked_sub(longest).unwrap_or(Timestamp::MIN)
}

/// Whether a recording that ended at a time may have completed since another one: Zoom's list says only when it ended.
/// Unknown if it does not even say that.
pub fn may_have_completed_since(ended_at: Option<Timestamp>, since: Timestamp) -> bool {
    ended_at.is_none_or(|ended_at| {
        ended_at.checked_add(MAX_PROCESSING_TIME).is_ok_and(|latest| latest >= since)
    })
}

impl Backfill {
    /// Creates the backfill of the recordings that completed since a time.
    pub fn since(zoom_user: ZoomUser, completed_since: Timestamp, now: Timestamp) -> Self {
        Self {
            zoom_user,
            from: utc_date(earliest_start(completed_since)),
            to: utc_date(now.max(completed_since)),
            completed_since: Some(completed_since),
            request: None,
            progress: None,
        }
    }

    /// Takes the progress; before the first invocation, all windows are left.
    pub fn take_progress(&mut self) -> Progress {
        self.progress.take().unwrap_or_else(|| Progress::new(self.from, self.to))
    }

    /// Whether to fetch a listed meeting. A meeting whose times cannot be read is fetched.
    pub fn wants(&self, meeting: &ListedMeeting) -> bool {
        match self.completed_since {
            Some(since) => meeting.may_have_completed_since(since),
            None => meeting.start_day().is_none_or(|day| day <= self.to),
        }
    }

    /// Whether a meeting of this window is counted there. One that started on a shared border day is counted in
    /// the newer window.
    pub fn counts(&self, window: &Window, meeting: &ListedMeeting) -> bool {
        window.counts(self.to, meeting)
    }
}

/// A list that one message reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum List {
    /// The recordings that started in a window.
    Window(Window),
    /// The recordings in Zoom's trash.
    Trash,
}

/// One request to the list: days (UTC), both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// First day.
    pub from: Date,
    /// Last day.
    pub to: Date,
    /// Whether it was read before and found incomplete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_repeated: bool,
}

impl Window {
    /// Whether a meeting is counted here, if `to` is the last day of the whole list. One that started on a shared
    /// border day is counted in the newer window.
    pub fn counts(&self, to: Date, meeting: &ListedMeeting) -> bool {
        let is_newest = self.to > to;
        is_newest || meeting.start_day().is_none_or(|day| day < self.to)
    }

    /// Returns the two halves, which share a day, the newer one first. `None` for the shortest window.
    pub fn split(&self) -> Option<[Self; 2]> {
        let days = self.from.until(self.to).ok()?.get_days();
        let middle = self.from.saturating_add((days / 2).days());
        let window = |from, to| Self { from, to, is_repeated: self.is_repeated };
        (days > 1).then(|| [window(middle, self.to), window(self.from, middle)])
    }

    /// Returns the window before a day, which begins at `from` at the earliest.
    pub fn before(day: Date, from: Date) -> Self {
        let first = day.saturating_sub(MAX_WINDOW_DAYS.days()).max(from);
        Self { from: first, to: day, is_repeated: false }
    }
}

/// Returns the windows of the days from `from` to `to`, the newest first. Neighbours share a day, and the newest
/// window ends a day after `to`.
pub fn windows(from: Date, to: Date) -> Vec<Window> {
    let mut last = to.saturating_add(1.day());
    let mut windows = Vec::new();
    loop {
        let first = last.saturating_sub(MAX_WINDOW_DAYS.days()).max(from);
        windows.push(Window { from: first, to: last, is_repeated: false });
        if first <= from || first >= last {
            return windows;
        }
        last = first;
    }
}

/// Number of distinct recordings, and of their files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Found {
    /// Recordings.
    pub recordings: u64,
    /// Files.
    pub files: u64,
}

impl std::ops::AddAssign for Found {
    fn add_assign(&mut self, more: Self) {
        self.recordings += more.recordings;
        self.files += more.files;
    }
}

/// Progress of a listing: the windows that are left, and the counts so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Windows that have not been read, in the order of reading.
    pub left: Vec<Window>,
    /// Sum over the windows that have been read.
    #[serde(flatten)]
    pub found: Found,
    /// Whether all of these windows were complete.
    pub is_complete: bool,
}

impl Progress {
    fn new(from: Date, to: Date) -> Self {
        Self { left: windows(from, to), found: Found::default(), is_complete: true }
    }

    /// Removes the first window, which has been read.
    pub fn finish_window(&mut self, found: Found, is_complete: bool) {
        self.left.drain(..self.left.len().min(1));
        self.found += found;
        self.is_complete &= is_complete;
    }

    /// Splits the first window, which is too long for one reading. `false` if that is impossible.
    pub fn split_window(&mut self) -> bool {
        let Some(halves) = self.left.first().and_then(Window::split) else { return false };
        self.left.splice(..1, halves);
        true
    }

    /// Moves the first window, which was incomplete, behind the others. `false` if it must be read again before
    /// anything else: it was moved before, or is the only one.
    pub fn defer_window(&mut self) -> bool {
        match self.left.as_mut_slice() {
            [first, _, ..] if !first.is_repeated => {
                first.is_repeated = true;
                self.left.rotate_left(1);
                true
            }
            _ => false,
        }
    }
}

/// Why a reading of a window is incomplete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incomplete {
    /// The pages gave fewer meetings than the `total_records` of the first page.
    TooFewMeetings,
    /// A page token came back that had been used.
    RepeatedPageToken,
    /// There are more than [`MAX_PAGES`] pages.
    TooManyPages,
    /// Zoom rejected a page token, which is valid for 15 minutes.
    PageTokenRejected,
    /// The invocation ends before all pages are read.
    OutOfTime,
}

impl Incomplete {
    /// Reason in metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooFewMeetings => "too_few_meetings",
            Self::RepeatedPageToken => "repeated_page_token",
            Self::TooManyPages => "too_many_pages",
            Self::PageTokenRejected => "page_token_rejected",
            Self::OutOfTime => "out_of_time",
        }
    }
}

/// Next step after a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextPage {
    /// The page with this token is next.
    Token(String),
    /// All pages were read, and nothing is missing.
    Complete,
    /// The reading ends, and something may be missing.
    Incomplete(Incomplete),
}

/// One reading of a window, page by page.
#[derive(Debug, Default)]
pub struct Reading {
    total_records: Option<u64>,
    pages: usize,
    tokens: HashSet<String>,
    meetings: HashSet<String>,
    unnamed_meetings: usize,
}

impl Reading {
    /// Adds a meeting. `false` if the reading has it already.
    pub fn add(&mut self, meeting: &ListedMeeting) -> bool {
        match &meeting.uuid {
            Some(uuid) => self.meetings.insert(uuid.clone()),
            None => {
                self.unnamed_meetings += 1;
                true
            }
        }
    }

    /// Ends a page, whose meetings have been added, and decides what follows.
    pub fn end_page(
        &mut self,
        total_records: Option<u64>,
        next_page_token: Option<String>,
    ) -> NextPage {
        self.pages += 1;
        if self.pages == 1 {
            self.total_records = total_records;
        }
        let Some(token) = next_page_token else {
            let read = (self.meetings.len() + self.unnamed_meetings) as u64;
            return if self.total_records.is_some_and(|total| read < total) {
                NextPage::Incomplete(Incomplete::TooFewMeetings)
            } else {
                NextPage::Complete
            };
        };
        if !self.tokens.insert(token.clone()) {
            NextPage::Incomplete(Incomplete::RepeatedPageToken)
        } else if self.pages >= MAX_PAGES {
            NextPage::Incomplete(Incomplete::TooManyPages)
        } else {
            NextPage::Token(token)
        }
    }
}

#[cfg(test)]
mod tests;
