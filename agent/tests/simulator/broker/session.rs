//! The session that the broker keeps for the gateway, and its losses.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tidemill_transport::topic::TopicFilter;

use super::{Broker, Copy, Lost};
use crate::plan::Ids;

#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub(super) packet: u16,
    pub(super) copy: Copy,
    pub(super) sent: bool,
    /// The gateway's library has read it.
    pub(super) read: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    pub(super) subscriptions: BTreeMap<TopicFilter, u32>,
    pub(super) queue: VecDeque<Copy>,
    pub(super) flights: VecDeque<Flight>,
    pub(super) last_packet: u16,
}

impl Session {
    pub(super) fn copies(&self) -> impl Iterator<Item = &Copy> {
        let flights = self.flights.iter().map(|flight| &flight.copy);
        flights.chain(&self.queue)
    }

    pub(super) fn next_packet(&mut self, ids: Ids) -> u16 {
        let is_free =
            |packet: u16| packet > 0 && self.flights.iter().all(|flight| flight.packet != packet);
        let packet = match ids {
            Ids::LowestFree => (1..=u16::MAX).find(|packet| is_free(*packet)),
            Ids::Sequential(last) => {
                let next = (self.last_packet % last) + 1;
                (next..=last).chain(1..next).find(|packet| is_free(*packet))
            }
        };
        self.last_packet = packet.unwrap();
        self.last_packet
    }
}

impl Broker {
    /// Writes down how everything stands.
    pub(crate) fn take_snapshot(&mut self) {
        self.snapshot = Some((self.session.clone(), self.retained.clone()));
    }

    /// Goes back to how everything stood. Returns `None` where nothing was written down.
    pub(crate) fn rewind(&mut self, forgets_dup: bool) -> Option<Lost> {
        let (session, retained) = self.snapshot.take()?;
        let uids = |session: &Option<Session>| -> BTreeSet<usize> {
            let copies = session.iter().flat_map(Session::copies);
            copies.map(|copy| copy.message.uid).collect()
        };
        let (before, after) = (uids(&self.session), uids(&session));
        let copies = || session.iter().flat_map(Session::copies);
        let back = copies().map(|copy| copy.message.uid).collect();
        let again = copies()
            .filter(|copy| !copy.message.named || copy.retained)
            .map(|copy| copy.message.uid)
            .collect();
        (self.session, self.retained) = (session, retained);
        if forgets_dup {
            let flights = self.session.iter_mut().flat_map(|s| &mut s.flights);
            flights.for_each(|flight| flight.sent = false);
        }
        self.conn = None;
        self.went_back = true;
        self.owed.clear();
        Some(Lost {
            gone: before.difference(&after).copied().collect(),
            again,
            back,
        })
    }

    /// Forgets the session.
    pub(crate) fn lose_session(&mut self) -> Lost {
        let copies = self.session.iter().flat_map(Session::copies);
        let gone = copies.map(|copy| copy.message.uid).collect();
        self.session = None;
        self.conn = None;
        self.owed.clear();
        self.used.clear();
        Lost {
            gone,
            ..Lost::default()
        }
    }
}
