//! One producer that numbers its events: its mark, the numbers near it that were seen, and a number
//! apart from them that may be wrong.

use std::sync::Arc;

use crate::commit::record::ProducerRecord;
use tidemill_base::sabotage::{self, Sabotage};

/// Numbers below and with the mark that are told apart.
const WINDOW: u64 = 256;

/// A number so far above the mark may be wrong.
const JUMP_MAX: u64 = 65_536;

/// This many numbers in a row that were seen before may come from a counter that started anew.
const REPEATED_MAX: u64 = 16;

/// A doubtful number is believed once another one follows within this distance.
const NEAR: u64 = 256;

#[derive(Debug, Clone, Default)]
pub(super) struct Producer {
    /// The highest number that is believed; at first there is none.
    pub(super) mark: Option<u64>,
    /// Bit 0 of the first word is the mark.
    seen: [u64; 4],
    /// The last number, if it was far above the mark, or there is no mark.
    pub(super) apart: Option<u64>,
    /// The highest number that is remembered by its own name, until the window is past it; 0 for
    /// none.
    pub(super) apart_max: u64,
    /// An earlier version took its ids for numbers, whatever its sender said.
    pub(super) is_old: bool,
    /// When it was last heard of.
    pub(super) heard: u64,
    /// Numbers that were not applied since one was.
    pub(super) refused: Option<Refused>,
}

/// Numbers that were not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Numbers too old to tell apart.
    pub too_old: u64,
    /// Numbers that had been seen.
    pub repeated: u64,
    /// The last number refused.
    pub last: u64,
    /// Monotonic time of the first refusal, in milliseconds.
    pub since_mono_ms: u64,
}

impl Refused {
    /// `true` if the producer may have begun to count anew. One event sent twice says nothing.
    pub fn is_suspicious(&self) -> bool {
        self.too_old > 0 || self.repeated >= REPEATED_MAX
    }
}

/// Effect of an applied number on its producer's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// The producer knows it.
    Seen,
    /// The producer knows it, and this one, which stood apart until now.
    Both(u64),
    /// To be remembered by its own id.
    Apart,
}

/// Position of a number relative to the producer's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Continues from the mark, or fills a place in the window.
    Next,
    /// Seen before.
    Seen,
    /// Below the window.
    TooOld,
    /// Doubtful: its own id has to tell.
    Apart,
}

impl Producer {
    pub(super) fn place(&self, n: u64) -> Place {
        let Some(mark) = self.mark else {
            return Place::Apart;
        };
        match mark.checked_sub(n) {
            None if n - mark > JUMP_MAX => Place::Apart,
            None => Place::Next,
            Some(below) if below >= WINDOW => Place::TooOld,
            Some(below) => {
                let (word, bit) = place(below);
                let word = self.seen.get(word).copied().unwrap_or(0);
                match word >> bit & 1 {
                    1 => Place::Seen,
                    _ => Place::Next,
                }
            }
        }
    }

    /// Counts a number that was applied.
    pub(super) fn count(&mut self, n: u64) -> Counted {
        let believed = sabotage::is(Sabotage::AnyNumberMoves);
        if self.place(n) != Place::Apart || believed {
            self.apart = None;
            self.see(n);
            return Counted::Seen;
        }
        match self.apart {
            Some(apart) if apart != n && apart.abs_diff(n) <= NEAR => {
                self.apart = None;
                self.see(apart.max(n));
                self.see(apart.min(n));
                Counted::Both(apart)
            }
            _ => {
                self.apart = Some(n);
                self.apart_max = self.apart_max.max(n);
                Counted::Apart
            }
        }
    }

    pub(super) fn see(&mut self, n: u64) {
        self.refused = None;
        let mark = match self.mark {
            None => n,
            Some(mark) => {
                self.shift(n.saturating_sub(mark));
                mark.max(n)
            }
        };
        self.mark = Some(mark);
        if mark.saturating_sub(self.apart_max) >= WINDOW {
            self.apart_max = 0;
        }
        let (word, bit) = place(mark - n);
        if let Some(word) = self.seen.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    /// A number was not applied. Returns whether that makes the producer suspicious.
    pub(super) fn refuse(&mut self, n: u64, is_too_old: bool, mono_ms: u64) -> bool {
        let refused = self.refused.get_or_insert(Refused {
            too_old: 0,
            repeated: 0,
            last: n,
            since_mono_ms: mono_ms,
        });
        let before = refused.is_suspicious();
        let column = if is_too_old {
            &mut refused.too_old
        } else {
            &mut refused.repeated
        };
        *column += 1;
        refused.last = n;
        refused.is_suspicious() && !before
    }

    pub(super) fn record(&self, name: &Arc<str>) -> ProducerRecord {
        ProducerRecord {
            name: Arc::clone(name),
            mark: self.mark.map(|mark| (mark, self.seen)),
            apart: self.apart,
            apart_max: self.apart_max,
            is_old: self.is_old,
        }
    }

    pub(super) fn restore(&mut self, record: &ProducerRecord) {
        (self.mark, self.seen) = match record.mark {
            None => (None, [0; 4]),
            Some((mark, seen)) => (Some(mark), seen),
        };
        (self.apart, self.apart_max) = (record.apart, record.apart_max);
        self.is_old = record.is_old;
    }

    fn shift(&mut self, by: u64) {
        if by >= WINDOW {
            self.seen = [0; 4];
            return;
        }
        for _ in 0..by / 64 {
            self.seen.rotate_right(1);
            if let Some(first) = self.seen.first_mut() {
                *first = 0;
            }
        }
        let bits = by % 64;
        if bits > 0 {
            let mut carried = 0;
            for word in &mut self.seen {
                let out = *word >> (64 - bits);
                *word = *word << bits | carried;
                carried = out;
            }
        }
    }
}

/// Word and bit of the number so far below the mark.
fn place(below: u64) -> (usize, u64) {
    let word = usize::try_from(below / 64).unwrap_or(usize::MAX);
    (word, below % 64)
}
