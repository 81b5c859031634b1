//! Lines of one boot: the number wanted next, lines beyond gaps, and which missing ones were asked for when.

use super::Queue;
use super::types::Limits;
use crate::time::Mono;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidemill_lines::{Boot, LineNumber};

/// Lines asked for at a time, the lowest first.
const ASKED_MAX: usize = 32;
const ASK_MS_MIN: u64 = 50;
const ASK_MS_MAX: u64 = 5_000;

/// One boot of a device.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) boot: Boot,
    /// The number wanted next; one beyond the last number there is after that.
    wanted: u64,
    pub(super) safe: LineNumber,
    /// The highest number seen, whether it was taken or not.
    seen: u64,
    beyond: BTreeMap<u32, Arc<[u8]>>,
    beyond_bytes: usize,
    asked: BTreeMap<u32, Asked>,
    /// The usual time from `-` to its line.
    usual_ms: u64,
    /// Lines given up, by the device's own words.
    pub(super) lost: u32,
    /// Bytes of the longest text so far.
    pub(super) longest: usize,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    at: Mono,
    again_at: Mono,
    times: u32,
}

/// Numbers of a boot that is over, or was only interrupted by another.
#[derive(Debug, Clone, Copy)]
pub(super) struct OldRun {
    pub(super) boot: Boot,
    wanted: u64,
    pub(super) safe: LineNumber,
    pub(super) lost: u32,
}

/// Verdicts on a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is held now.
    Kept,
    /// It was held already.
    Known,
    /// There is no room for it.
    NoRoom,
}

impl Run {
    /// A boot that was not heard of before: what was in front of its first line is none of our concern.
    pub(super) fn new(boot: Boot, first: LineNumber) -> Self {
        Self::resumed(OldRun {
            boot,
            wanted: u64::from(first.0),
            safe: LineNumber(0),
            lost: 0,
        })
    }

    pub(super) fn resumed(old: OldRun) -> Self {
        Self {
            boot: old.boot,
            wanted: old.wanted,
            safe: old.safe,
            seen: 0,
            beyond: BTreeMap::new(),
            beyond_bytes: 0,
            asked: BTreeMap::new(),
            usual_ms: 100,
            lost: old.lost,
            longest: 0,
        }
    }

    pub(super) fn ended(&self) -> OldRun {
        OldRun {
            boot: self.boot,
            wanted: self.wanted,
            safe: self.safe,
            lost: self.lost,
        }
    }

    pub(super) fn beyond_bytes(&self) -> usize {
        self.beyond_bytes
    }

    pub(super) fn beyond_lines(&self) -> usize {
        self.beyond.len()
    }

    /// All up to here is held.
    pub(super) fn held_to(&self) -> LineNumber {
        LineNumber(u32::try_from(self.wanted - 1).unwrap_or(u32::MAX))
    }

    /// The number to name in `@ok`: behind the last one there is none, and that one may come again.
    pub(super) fn next(&self) -> LineNumber {
        LineNumber(u32::try_from(self.wanted).unwrap_or(u32::MAX))
    }

    /// `true` if a text of this length would be taken were it the one wanted. A quarter of the room is for lines
    /// beyond gaps alone: they must never keep out the line that would close the gap.
    pub(super) fn has_room(&self, len: usize, limits: &Limits, queue: &Queue) -> bool {
        let room = limits.room_bytes - limits.room_bytes / 4;
        queue.bytes() + len + Limits::LINE_COST <= room
    }

    /// `true` if so many bytes beyond gaps are too many.
    fn is_full(&self, bytes: usize, limits: &Limits, queue: &Queue) -> bool {
        bytes > limits.room_bytes / 4 || queue.bytes() + bytes > limits.room_bytes
    }

    pub(super) fn take(
        &mut self,
        now: Mono,
        number: LineNumber,
        text: &[u8],
        limits: &Limits,
        queue: &mut Queue,
    ) -> Taken {
        let wide = u64::from(number.0);
        self.longest = self.longest.max(text.len());
        if wide < self.wanted || self.beyond.contains_key(&number.0) {
            return Taken::Known;
        }
        self.seen = self.seen.max(wide);
        if wide == self.wanted {
            if !self.has_room(text.len(), limits, queue) {
                return Taken::NoRoom;
            }
            self.note_arrival(now, number);
            queue.push(self.boot, number, text.into());
            self.wanted += 1;
            self.close_gap(queue);
            return Taken::Kept;
        }
        let bytes = self.beyond_bytes + text.len() + Limits::LINE_COST;
        let is_far = wide - self.wanted > limits.beyond_max as u64;
        let is_full = self.is_full(bytes, limits, queue);
        if is_far || is_full || self.beyond.len() >= limits.beyond_max {
            return Taken::NoRoom;
        }
        self.note_arrival(now, number);
        self.beyond.insert(number.0, text.into());
        self.beyond_bytes = bytes;
        Taken::Kept
    }

    /// Moves on to the oldest line that the device still holds: lines before it come no more.
    pub(super) fn advance(&mut self, first: LineNumber, queue: &mut Queue) {
        let first = u64::from(first.0);
        if first <= self.wanted {
            return;
        }
        while let Some((number, _)) = self.beyond.first_key_value()
            && u64::from(*number) < first
        {
            self.wanted = u64::from(*number);
            self.close_gap(queue);
        }
        self.wanted = self.wanted.max(first);
        self.close_gap(queue);
    }

    /// Takes the device's word for lines that it has sent before its hello: all of them would be here by now.
    pub(super) fn note_sent(&mut self, sent: Option<LineNumber>) {
        self.seen = self.seen.max(sent.map_or(0, |sent| u64::from(sent.0)));
    }

    /// Queues what has become contiguous.
    fn close_gap(&mut self, queue: &mut Queue) {
        while let Some(entry) = self.beyond.first_entry()
            && u64::from(*entry.key()) == self.wanted
        {
            let (number, text) = entry.remove_entry();
            self.beyond_bytes -= text.len() + Limits::LINE_COST;
            queue.push(self.boot, LineNumber(number), text);
            self.wanted += 1;
        }
        let wanted = u32::try_from(self.wanted).unwrap_or(u32::MAX);
        self.asked = self.asked.split_off(&wanted);
    }

    /// Learns from a line that was asked for once; of one asked for twice nobody knows which time it answers.
    fn note_arrival(&mut self, now: Mono, number: LineNumber) {
        if let Some(asked) = self.asked.remove(&number.0)
            && asked.times == 1
        {
            self.usual_ms = (7 * self.usual_ms + now.since(asked.at)) / 8;
        }
    }

    /// Returns the missing lines that are to be asked for now.
    pub(super) fn ask(&mut self, now: Mono, limits: &Limits, queue: &Queue) -> Vec<LineNumber> {
        let mut all = Vec::new();
        if self.seen < self.wanted {
            return all;
        }
        // Nothing is asked for that could not be taken: the line wanted next, and so many more.
        let bytes = self.beyond_bytes + self.longest + Limits::LINE_COST;
        let more = if self.is_full(bytes, limits, queue) {
            0
        } else {
            limits.beyond_max.saturating_sub(self.beyond.len())
        };
        let last = self.seen.min(self.wanted + limits.beyond_max as u64);
        let missing = (self.wanted..=last).filter_map(|number| u32::try_from(number).ok());
        let missing = missing.filter(|number| !self.beyond.contains_key(number));
        let patience = ASK_MS_MIN.max(3 * self.usual_ms);
        for number in missing.take(ASKED_MAX.min(1 + more)) {
            let asked = self.asked.entry(number).or_insert(Asked {
                at: now,
                again_at: now,
                times: 0,
            });
            if asked.again_at <= now {
                // Each time later, or a line that is cut one way would be filled with questions.
                let wait = patience.saturating_mul(1 << asked.times.min(10));
                asked.again_at = now.after(wait.min(ASK_MS_MAX));
                asked.times += 1;
                all.push(LineNumber(number));
            }
        }
        all
    }

    pub(super) fn ask_at(&self) -> Option<Mono> {
        self.asked.values().map(|asked| asked.again_at).min()
    }
}
