//! Receipts of messages that may still come again on this connection, found by packet identifier.

use std::collections::VecDeque;

use crate::commit::record::{Receipt, Voided};

/// Receipts of earlier connections, in the order in which the broker would send their messages again.
#[derive(Debug, Clone, Default)]
pub(super) struct Unseen {
    kept: VecDeque<Receipt>,
    /// Packet identifiers with their places, as they were when this was made.
    places: Vec<(u16, u32)>,
    /// Number of receipts removed from the front since `places` was built.
    gone: usize,
}

impl FromIterator<Receipt> for Unseen {
    fn from_iter<T: IntoIterator<Item = Receipt>>(kept: T) -> Self {
        Self {
            kept: kept.into_iter().collect(),
            ..Self::default()
        }
    }
}

impl Unseen {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Receipt> {
        self.kept.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn first(&self) -> Option<&Receipt> {
        self.kept.front()
    }

    /// Makes the receipts ready to be found. Of two with one identifier and fewer than `round` events
    /// between them the broker has settled the earlier: it had the identifier to give out again.
    pub(super) fn look_up(&mut self, round: u64) {
        let packets = (0..).zip(&self.kept).map(|(at, kept)| (kept.packet, at));
        let mut places: Vec<(u16, u32)> = packets.collect();
        places.sort_unstable();
        let event = |(_, at): &(u16, u32)| self.kept.get(*at as usize).map_or(0, |r| r.in_seq);
        let mut found: Vec<(u16, u32)> = Vec::with_capacity(places.len());
        for place in places {
            match found.last_mut() {
                Some(last) if last.0 == place.0 && event(last).abs_diff(event(&place)) < round => {
                    if event(&place) > event(last) {
                        *last = place;
                    }
                }
                _ => found.push(place),
            }
        }
        (self.places, self.gone) = (found, 0);
    }

    /// Makes receipts with these packet identifiers impossible to find, as a test wants it.
    pub(super) fn drop_packets(&mut self, dropped: impl Fn(u16) -> bool) {
        self.places.retain(|(packet, _)| !dropped(*packet));
    }

    /// The place of the first receipt with this packet identifier that fits.
    pub(super) fn find(&self, packet: u16, fits: impl Fn(&Receipt) -> bool) -> Option<usize> {
        let from = self.places.partition_point(|(of, _)| *of < packet);
        let of_it = self.places.get(from..)?.iter();
        of_it
            .take_while(|(of, _)| *of == packet)
            .filter_map(|(_, at)| (*at as usize).checked_sub(self.gone))
            .find(|at| {
                let receipt = self.kept.get(*at);
                receipt.is_some_and(|one| one.packet == packet && fits(one))
            })
    }

    /// Takes the first `count` out.
    pub(super) fn pop(&mut self, count: usize) -> impl Iterator<Item = Receipt> {
        let count = count.min(self.kept.len());
        self.gone += count;
        self.kept.drain(..count)
    }

    /// Takes the receipt at a place out.
    pub(super) fn remove(&mut self, place: usize) -> Option<Receipt> {
        let removed = self.kept.remove(place)?;
        let at = u32::try_from(place + self.gone).unwrap_or(u32::MAX);
        self.places.retain(|(_, of)| *of != at);
        let after = self.places.iter_mut().filter(|(_, of)| *of > at);
        after.for_each(|(_, of)| *of -= 1);
        Some(removed)
    }

    /// Takes all of them out.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Receipt> {
        std::mem::take(self).kept.into_iter()
    }

    /// Takes up a receipt as it was written down: at its place.
    pub(super) fn take_up(&mut self, receipt: Receipt) {
        let of = |in_seq: u64| move |one: &Receipt| one.in_seq == in_seq;
        let kept = Receipt {
            before: 0,
            ..receipt
        };
        let place = match receipt.before {
            0 => None,
            before => self.kept.iter().position(of(before)),
        };
        match place {
            Some(place) if receipt.before == receipt.in_seq => {
                self.kept.remove(place);
                self.kept.push_back(kept);
            }
            Some(place) => self.kept.insert(place, kept),
            None => self.kept.push_back(kept),
        }
    }

    /// Takes up what was written down of receipts that are void.
    pub(super) fn void(&mut self, Voided { first, last }: Voided) {
        let place = |in_seq: u64| self.kept.iter().position(|one| one.in_seq == in_seq);
        let from = if first == 0 { Some(0) } else { place(first) };
        match (from, place(last)) {
            (Some(from), Some(to)) if from <= to => drop(self.kept.drain(from..=to)),
            // A build before said up to which event all were void, whether that had a receipt or not.
            _ if first == 0 => self.kept.retain(|receipt| receipt.in_seq > last),
            _ => {}
        }
    }
}
