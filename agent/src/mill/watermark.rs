//! Event time: which timestamps can be believed, and up to when nothing more is expected. A watermark
//! per source (a topic) is its highest timestamp less the tolerated lateness; that of the rule is the
//! lowest over the sources that are not idle. One device with a fast clock moves neither.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::event::clock::{Now, Quality, signed};

/// 2020 began then, in milliseconds since 1970: no timestamp from before is credible.
pub const FLOOR_MS: i64 = 1_577_836_800_000;
/// The last moment of the year 9999: no timestamp from beyond is credible, whatever clocks say, so that
/// no window is so near the end of 64 bits that its lengths lead beyond.
pub const END_MS: i64 = *tidemill_values::TIMES_MS.end();
/// Most milliseconds that a timestamp may be ahead of the clock.
const AHEAD_MS: i64 = 5 * 60_000;
/// Sources that are remembered; beyond it the one not heard of for longest is forgotten.
pub(super) const SOURCES_MAX: usize = 4_096;
/// Bytes that a source takes besides its name, which is kept twice: here, and among what the journal holds.
const SOURCE_BYTES: usize = 208;
/// Part of all sources that goes as soon as one has to, so that searching for them is rare.
const PART_FORGOTTEN: usize = 16;

/// The watermark of a rule.
#[derive(Debug, Clone)]
pub struct Watermark {
    sources: BTreeMap<Arc<str>, Source>,
    room: Room,
    /// The sources that count, lowest mark first.
    active: BTreeSet<(i64, Arc<str>)>,
    /// The highest mark of those that go by arrival. What they send later happens later, so they hold
    /// nobody back; where no other source counts, they say how far time has come.
    arrived: Option<i64>,
    /// Streams that have to be heard of, until they have been silent for too long.
    awaited: u32,
    since_mono_ms: u64,
    current: Option<i64>,
    floor_ms: i64,
}

/// Bytes of the sources, which are named by topics that may be long.
#[derive(Debug, Clone, Copy)]
struct Room {
    used: usize,
    max: Limit,
}

/// The most bytes that they may take.
#[derive(Debug, Clone, Copy)]
struct Limit(usize);

/// State of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Its highest credible timestamp less the tolerated lateness; before the first one, its last arrival
    /// less that.
    pub mark: Option<i64>,
    /// `true` if the mark is that of an arrival: no event had a credible timestamp yet.
    pub by_arrival: bool,
    /// The last timestamp that it gave, credible or not.
    pub claim: i64,
    /// Its streams.
    pub streams: u32,
    heard_mono_ms: u64,
    idle_ms: u64,
}

/// Verdict on an event's timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// When the event happened, as far as can be told.
    pub event_ms: i64,
    /// Its timestamp was not credible, or missing.
    pub is_bad: bool,
    /// `true` if the watermark has passed it.
    pub is_late: bool,
}

/// An event as far as the watermark is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The source, named by its topic.
    pub source: &'a Arc<str>,
    /// The streams that it belongs to.
    pub streams: u32,
    /// `true` if its stream says where the time stands.
    pub tells: bool,
    /// Its timestamp, if it has a readable one.
    pub timestamp: Option<i64>,
    /// When it came in, by the wall clock.
    pub arrival_ms: i64,
    /// Tolerated lateness of its stream.
    pub lateness_ms: i64,
    /// After how long its source is idle.
    pub idle_ms: u64,
}

impl Watermark {
    /// A watermark that knows nothing yet; `streams` is a bit for each stream.
    /// Its sources may take `bytes_max` bytes.
    pub fn new(streams: u32, floor_ms: i64, bytes_max: usize, now: Now) -> Self {
        Self {
            sources: BTreeMap::new(),
            room: Room {
                used: 0,
                max: Limit(bytes_max),
            },
            active: BTreeSet::new(),
            arrived: None,
            awaited: streams,
            since_mono_ms: now.mono_ms,
            current: None,
            floor_ms,
        }
    }

    /// Restores the state of an earlier process: a source counts as heard of just now.
    pub fn restore(
        &mut self,
        name: &Arc<str>,
        (mark, claim, streams): (Option<i64>, i64, u32),
        by_arrival: bool,
        idle_ms: u64,
    ) {
        let source = Source {
            mark,
            by_arrival,
            claim,
            streams,
            heard_mono_ms: self.since_mono_ms,
            idle_ms,
        };
        self.awaited &= !streams;
        match mark {
            Some(_) if by_arrival => self.arrived = self.arrived.max(mark),
            Some(mark) => {
                self.active.insert((mark, Arc::clone(name)));
            }
            None => {}
        }
        self.enter(name, source);
    }

    /// Takes in where an earlier process stood.
    pub fn restore_current(&mut self, current: i64) {
        self.current = Some(current);
    }

    /// The time up to which nothing more is expected; `None` before anything is known.
    pub fn current(&self) -> Option<i64> {
        self.current
    }

    /// The time before which no timestamp is credible.
    pub fn floor_ms(&self) -> i64 {
        self.floor_ms
    }

    /// A source.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.get(name)
    }

    /// Judges the timestamp of an event. The watermark is that of before; [`Watermark::advance`]
    /// moves it. Returns the sources that were forgotten for a new one.
    pub fn arrive(&mut self, arrival: Arrival<'_>, now: Now) -> (Judged, Vec<Arc<str>>) {
        let forgotten = self.make_room(arrival.source);
        let known = self.sources.get(arrival.source).copied();
        let mut source = Source {
            mark: known.and_then(|source| source.mark),
            by_arrival: known.is_none_or(|source| source.by_arrival),
            claim: arrival.timestamp.unwrap_or(i64::MIN),
            streams: arrival.streams | known.map_or(0, |source| source.streams),
            heard_mono_ms: now.mono_ms,
            idle_ms: arrival.idle_ms,
        };
        self.enter(arrival.source, source);
        self.awaited &= !arrival.streams;
        let limit = self.limit(now);
        let credible = arrival
            .timestamp
            .filter(|ts| (self.floor_ms..=limit).contains(ts));
        if let Some(mark) = source.mark.filter(|_| !source.by_arrival) {
            self.active.insert((mark, Arc::clone(arrival.source)));
        }
        // By a clock that knows nothing an event would always come too late.
        let arrival_ms = match (now.quality, self.current) {
            (Quality::None | Quality::Restored, Some(current)) => arrival.arrival_ms.max(current),
            _ => arrival.arrival_ms,
        };
        if let Some(ts) = credible {
            let mark = ts.saturating_sub(arrival.lateness_ms);
            // The first time that it tells counts, whatever it went by before.
            if source.by_arrival || source.mark.is_none_or(|before| before < mark) {
                if let Some(before) = source.mark.replace(mark) {
                    self.active.remove(&(before, Arc::clone(arrival.source)));
                }
                source.by_arrival = false;
                self.active.insert((mark, Arc::clone(arrival.source)));
                self.sources.insert(Arc::clone(arrival.source), source);
            }
        } else if source.by_arrival && arrival.tells {
            source.mark = source
                .mark
                .max(Some(arrival_ms.saturating_sub(arrival.lateness_ms)));
            self.arrived = self.arrived.max(source.mark);
            self.sources.insert(Arc::clone(arrival.source), source);
        }
        self.distrust(limit);
        let event_ms = credible.unwrap_or(arrival_ms);
        let judged = Judged {
            event_ms,
            is_bad: credible.is_none(),
            is_late: self.current.is_some_and(|current| event_ms < current),
        };
        (judged, forgotten)
    }

    /// The highest timestamp that is credible: a little ahead of the clock, or, if no time server
    /// keeps the clock, of the median of the sources' claims and the time since.
    fn limit(&self, now: Now) -> i64 {
        if now.quality == Quality::Synced {
            return now.wall_ms.saturating_add(AHEAD_MS).min(END_MS);
        }
        let credible = self.floor_ms..=END_MS;
        let mut claims: Vec<i64> = self
            .sources
            .values()
            .filter(|source| credible.contains(&source.claim))
            .map(|source| {
                let since = now.mono_ms.saturating_sub(source.heard_mono_ms);
                source.claim.saturating_add(signed(since))
            })
            .collect();
        let Some(last) = claims.len().checked_sub(1) else {
            return END_MS;
        };
        let (_, median, _) = claims.select_nth_unstable(last / 2);
        median.saturating_add(AHEAD_MS).min(END_MS)
    }

    /// A source that was believed while nobody else spoke, and is beyond the limit now, counts no
    /// more; the watermark that it made goes back.
    fn distrust(&mut self, limit: i64) {
        self.arrived = self.arrived.filter(|arrived| *arrived <= limit);
        let mut lowered = false;
        while let Some((mark, name)) = self.active.last().cloned() {
            if mark <= limit {
                break;
            }
            self.active.remove(&(mark, Arc::clone(&name)));
            if let Some(source) = self.sources.get_mut(&name) {
                source.mark = None;
                source.by_arrival = false;
            }
            lowered = true;
        }
        if lowered && self.current.is_some_and(|current| current > limit) {
            self.current = self.active.first().map(|(mark, _)| *mark);
        }
    }

    /// Moves the watermark to the lowest mark of the sources that are not idle; tells whether it
    /// moved.
    pub fn advance(&mut self, now: Now) -> bool {
        while let Some((mark, name)) = self.active.first().cloned() {
            let is_idle = self.sources.get(&name).is_none_or(|source| {
                now.mono_ms >= source.heard_mono_ms.saturating_add(source.idle_ms)
            });
            // The last one that speaks stays: it says how far time has come, unless others do by arrival.
            if !is_idle || self.active.len() == 1 && self.arrived.is_none() {
                break;
            }
            self.active.remove(&(mark, name));
        }
        if self.awaited != 0 {
            let idle_ms = self.sources.values().map(|source| source.idle_ms).max();
            let waited = now.mono_ms.saturating_sub(self.since_mono_ms);
            if idle_ms.is_none_or(|idle_ms| waited < idle_ms) {
                return false;
            }
        }
        let lowest = self.active.first().map(|(mark, _)| *mark);
        let lowest = lowest.or(self.arrived);
        match lowest.filter(|lowest| self.current.is_none_or(|current| current < *lowest)) {
            Some(lowest) => {
                self.current = Some(lowest);
                true
            }
            None => false,
        }
    }

    /// Moves the watermark to a moment, because there is no room for the events that wait for it.
    pub fn force(&mut self, to: i64) {
        if self.current.is_none_or(|current| current < to) {
            self.current = Some(to);
        }
    }

    /// When a source that holds the watermark back becomes idle, in monotonic time.
    pub fn next_idle_mono_ms(&self) -> Option<u64> {
        if self.awaited != 0 && !self.sources.is_empty() {
            let idle_ms = self.sources.values().map(|source| source.idle_ms).max()?;
            return Some(self.since_mono_ms.saturating_add(idle_ms));
        }
        if self.active.len() < 2 && self.arrived.is_none() {
            return None;
        }
        let (_, name) = self.active.first()?;
        let source = self.sources.get(name)?;
        Some(source.heard_mono_ms.saturating_add(source.idle_ms))
    }

    /// Forgets the sources not heard of for longest, where a new one finds no room.
    fn make_room(&mut self, new: &Arc<str>) -> Vec<Arc<str>> {
        if self.sources.contains_key(new) || self.has_room((1, bytes_of(new))) {
            return Vec::new();
        }
        let (count, bytes) = (
            SOURCES_MAX / PART_FORGOTTEN,
            self.room.max.0 / PART_FORGOTTEN,
        );
        self.forget_oldest((count, bytes.max(bytes_of(new))))
    }

    /// Forgets those that it has no room for: other limits may have counted.
    pub fn fit(&mut self) -> Vec<Arc<str>> {
        if self.has_room((0, 0)) {
            return Vec::new();
        }
        self.forget_oldest((0, 0))
    }

    /// Returns `true` if there is room for so many more sources with so many bytes.
    fn has_room(&self, (count, bytes): (usize, usize)) -> bool {
        self.sources.len() + count <= SOURCES_MAX && self.room.used + bytes <= self.room.max.0
    }

    fn enter(&mut self, name: &Arc<str>, source: Source) {
        if self.sources.insert(Arc::clone(name), source).is_none() {
            self.room.used += bytes_of(name);
        }
    }

    /// Forgets sources until there is room for so many more with so many bytes.
    fn forget_oldest(&mut self, more: (usize, usize)) -> Vec<Arc<str>> {
        let all = self.sources.iter();
        let mut all: Vec<(u64, Arc<str>)> = all
            .map(|(name, source)| (source.heard_mono_ms, Arc::clone(name)))
            .collect();
        all.sort_unstable();
        let mut forgotten = Vec::new();
        for (_, oldest) in all {
            if self.has_room(more) {
                break;
            }
            let gone = self.sources.remove(&oldest);
            self.room.used -= bytes_of(&oldest);
            if let Some(mark) = gone.and_then(|gone| gone.mark) {
                self.active.remove(&(mark, Arc::clone(&oldest)));
            }
            forgotten.push(oldest);
        }
        forgotten
    }
}

/// Bytes that a source takes.
fn bytes_of(name: &str) -> usize {
    SOURCE_BYTES + 2 * name.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn synced(mono_ms: u64) -> Now {
        Now {
            mono_ms,
            wall_ms: FLOOR_MS + signed(mono_ms),
            quality: Quality::Synced,
        }
    }

    /// An event of a source at a moment, past [`FLOOR_MS`]; returns where the watermark stands then.
    fn arrive(watermark: &mut Watermark, name: &str, at: u64, ts: Option<i64>) -> Option<i64> {
        let source: Arc<str> = name.into();
        let arrival = Arrival {
            source: &source,
            streams: 1,
            tells: true,
            timestamp: ts.map(|ts| FLOOR_MS + ts),
            arrival_ms: synced(at).wall_ms,
            lateness_ms: 100,
            idle_ms: 1_000,
        };
        watermark.arrive(arrival, synced(at));
        watermark.advance(synced(at));
        watermark.current().map(|current| current - FLOOR_MS)
    }

    #[test]
    fn a_source_without_a_good_time_goes_by_arrival_and_holds_nobody_back() {
        let mut watermark = Watermark::new(1, FLOOR_MS, 1 << 20, synced(0));
        assert_eq!(arrive(&mut watermark, "bad", 500, None), Some(400));
        assert_eq!(arrive(&mut watermark, "bad", 700, Some(-5)), Some(600));
        // Another one tells its time: from now on that counts.
        assert_eq!(arrive(&mut watermark, "good", 800, Some(800)), Some(700));
        assert_eq!(arrive(&mut watermark, "bad", 900, None), Some(700));
        assert_eq!(arrive(&mut watermark, "good", 1_000, Some(950)), Some(850));
        // A bad time of it moves nothing.
        assert_eq!(arrive(&mut watermark, "good", 1_100, None), Some(850));
        // Once it is silent, arrivals tell again how far time has come.
        assert_eq!(arrive(&mut watermark, "bad", 2_200, None), Some(2_100));
        // The first good time of the other one ends that, though it is lower.
        assert_eq!(
            arrive(&mut watermark, "bad", 2_300, Some(2_150)),
            Some(2_100)
        );
        assert!(!watermark.source("bad").unwrap().by_arrival);
        assert_eq!(arrive(&mut watermark, "bad", 2_400, None), Some(2_100));
        assert_eq!(
            arrive(&mut watermark, "bad", 2_500, Some(2_400)),
            Some(2_300)
        );
    }

    #[test]
    fn long_topics_are_fewer_sources_and_none_is_left_behind() {
        let now = |mono_ms| Now {
            mono_ms,
            wall_ms: 0,
            quality: Quality::Synced,
        };
        let mut watermark = Watermark::new(1, FLOOR_MS, 1 << 20, now(0));
        let mut kept = BTreeSet::new();
        for n in 0..200 {
            let bytes = if n % 2 == 0 { 60_000 } else { 10 };
            let source: Arc<str> = format!("{n:0bytes$}").into();
            let arrival = Arrival {
                source: &source,
                streams: 1,
                tells: false,
                timestamp: None,
                arrival_ms: 0,
                lateness_ms: 0,
                idle_ms: 1_000,
            };
            let (_, forgotten) = watermark.arrive(arrival, now(n));
            kept.insert(Arc::clone(&source));
            for name in forgotten {
                assert!(kept.remove(&name) && watermark.source(&name).is_none());
            }
            let bytes: usize = watermark.sources.keys().map(|name| bytes_of(name)).sum();
            assert_eq!(bytes, watermark.room.used);
            assert!(bytes <= 1 << 20);
        }
        assert!(kept.iter().eq(watermark.sources.keys()));
        assert_eq!(kept.iter().filter(|name| name.len() > 10).count(), 8);
    }
}
