//! Time, chance and the record of what happened: all three depend on nothing but the seed.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::fmt::{self, Write};

/// Lines of the record that are kept for a failure.
const LINES_KEPT: usize = 60;

/// Random numbers (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Self(seed);
        random.next();
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// A number from `first` to `last`.
    pub(crate) fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, some: &[T]) -> T {
        some[self.below(some.len() as u64) as usize]
    }
}

/// A span of time, in microseconds: from, to.
pub(crate) type Span = (u64, u64);

/// Events to come, by time and then by order of entry.
pub(crate) struct Agenda<T> {
    pub(crate) now_us: u64,
    entered: u64,
    waiting: BinaryHeap<Reverse<Entry<T>>>,
}

struct Entry<T> {
    at_us: u64,
    number: u64,
    what: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at_us, self.number).cmp(&(other.at_us, other.number))
    }
}

impl<T> Agenda<T> {
    pub(crate) fn new() -> Self {
        Self {
            now_us: 0,
            entered: 0,
            waiting: BinaryHeap::new(),
        }
    }

    pub(crate) fn at(&mut self, at_us: u64, what: T) {
        self.entered += 1;
        self.waiting.push(Reverse(Entry {
            at_us: at_us.max(self.now_us),
            number: self.entered,
            what,
        }));
    }

    pub(crate) fn after(&mut self, us: u64, what: T) {
        self.at(self.now_us + us, what);
    }

    /// The next thing that happens; time goes on to it.
    pub(crate) fn next(&mut self) -> Option<T> {
        let Reverse(entry) = self.waiting.pop()?;
        self.now_us = entry.at_us;
        Some(entry.what)
    }
}

/// Trace of what happened: a hash over all lines, and the last ones.
pub(crate) struct Trace {
    hash: u64,
    lines: VecDeque<String>,
    echo: bool,
}

impl Trace {
    pub(crate) fn new(echo: bool) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            lines: VecDeque::with_capacity(LINES_KEPT + 1),
            echo,
        }
    }

    pub(crate) fn say(&mut self, now_us: u64, what: fmt::Arguments<'_>) {
        let mut line = if self.lines.len() < LINES_KEPT {
            String::new()
        } else {
            self.lines.pop_front().unwrap_or_default()
        };
        line.clear();
        let (ms, us) = (now_us / 1_000, now_us % 1_000);
        let _ = write!(line, "{ms:>6}.{us:03} {what}");
        for piece in line.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..piece.len()].copy_from_slice(piece);
            self.hash = (self.hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3);
            self.hash ^= self.hash >> 29;
        }
        if self.echo {
            eprintln!("{line}");
        }
        self.lines.push_back(line);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}
