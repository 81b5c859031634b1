//! Losses for want of room, rule by rule and lane by lane: noticed by their ledgers, and trouble
//! until none was lost for a while.

use std::collections::BTreeMap;

use crate::commit::outbox::Lane;
use crate::event::clock::Now;
use crate::mill::Mill;

/// Time for which a loss counts as a fault, in milliseconds.
const LASTS_MS: u64 = 3_600_000;

/// Losses of one rule or lane.
#[derive(Debug, Default)]
struct Loss {
    /// The count of the ledger at the last look.
    count: u64,
    /// The first and the last moment of losses that belong together: wall time, and monotonic time.
    lasts: Option<(i64, u64)>,
    /// The rows lost since that first moment.
    lost: u64,
}

/// Losses by the name of the rule or the lane.
#[derive(Debug, Default)]
pub(super) struct Losses {
    rules: BTreeMap<String, Loss>,
    lanes: BTreeMap<String, Loss>,
    has_looked: bool,
}

/// Losses of the last while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) count: u64,
    /// Wall time.
    pub(super) since_ms: i64,
}

impl Loss {
    fn look(&mut self, count: u64, now: Now) {
        let more = count.saturating_sub(self.count);
        self.count = count;
        if more > 0 {
            let since_ms = self.lasts.map_or(now.wall_ms, |(since_ms, _)| since_ms);
            self.lasts = Some((since_ms, now.mono_ms));
            self.lost += more;
        } else if self
            .lasts
            .is_some_and(|(_, at)| now.mono_ms >= at.saturating_add(LASTS_MS))
        {
            self.lasts = None;
            self.lost = 0;
        }
    }

    fn lately(&self) -> Option<Lost> {
        let (since_ms, _) = self.lasts?;
        Some(Lost {
            count: self.lost,
            since_ms,
        })
    }
}

impl Losses {
    /// Looks at all ledgers. The first look, and that at a rule that is new, finds what was lost earlier; a lane
    /// that is new begins with none.
    pub(super) fn look(&mut self, mill: &Mill, now: Now) {
        let rules = mill.ledgers();
        let rules = rules.map(|(name, ledger)| (name.to_string(), ledger.lost()));
        look(&mut self.rules, rules, false, now);
        let lanes = mill.outbox().into_iter().flat_map(|outbox| outbox.lanes());
        let lanes = lanes.map(|lane: &Lane| (lane.id().to_string(), lane.counts().dropped));
        look(&mut self.lanes, lanes, self.has_looked, now);
        self.has_looked = true;
    }

    /// The latest losses of a rule.
    pub(super) fn of_rule(&self, name: &str) -> Option<Lost> {
        self.rules.get(name)?.lately()
    }

    /// The latest losses of the lanes of a destination.
    pub(super) fn of_destination(&self, name: &str) -> Option<Lost> {
        let of_it = |lane: &&String| lane.split('/').next() == Some(name);
        let lanes = self.lanes.iter().filter(|(lane, _)| of_it(lane));
        lanes
            .filter_map(|(_, loss)| loss.lately())
            .reduce(|one, other| Lost {
                count: one.count + other.count,
                since_ms: one.since_ms.min(other.since_ms),
            })
    }
}

/// Compares counts with those of the look before. Names that are new begin at 0 if `from_zero`.
fn look(
    known: &mut BTreeMap<String, Loss>,
    counts: impl Iterator<Item = (String, u64)>,
    from_zero: bool,
    now: Now,
) {
    let mut before = std::mem::take(known);
    for (name, count) in counts {
        let is_new = !before.contains_key(&name);
        let mut loss = before.remove(&name).unwrap_or_default();
        if is_new && !from_zero {
            loss.count = count;
        }
        loss.look(count, now);
        known.insert(name, loss);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now {
            mono_ms,
            wall_ms: 1_000_000 + i64::try_from(mono_ms).unwrap(),
            ..Now::default()
        }
    }

    #[test]
    fn a_loss_is_trouble_from_its_first_row_until_long_after_the_last() {
        let mut known = BTreeMap::new();
        let mut told = |mono_ms, count| {
            let counts = [("r".to_owned(), count)].into_iter();
            look(&mut known, counts, false, at(mono_ms));
            known["r"].lately()
        };
        assert_eq!(told(0, 7), None, "it was lost earlier");
        assert_eq!(told(10, 7), None);
        let lost = |count| {
            Some(Lost {
                count,
                since_ms: 1_000_020,
            })
        };
        assert_eq!(told(20, 9), lost(2));
        assert_eq!(told(30, 10), lost(3));
        assert_eq!(told(29 + LASTS_MS, 10), lost(3));
        assert_eq!(told(30 + LASTS_MS, 10), None);
        let mut lanes = BTreeMap::new();
        look(&mut lanes, [("l".to_owned(), 3)].into_iter(), true, at(5));
        assert_eq!(lanes["l"].lately().map(|lost| lost.count), Some(3));
    }
}
