//! A connection between gateway and broker: packets take time, in order, each way; either side may be
//! gone before the other notices, and what is on the wire then may arrive or not.

use std::collections::VecDeque;

use crate::broker::{ToBroker, ToClient};
use crate::coverage::Sight;
use crate::plan::Copies;
use crate::run::{Happening, Sim};

/// One direction.
#[derive(Debug)]
struct Pipe<T> {
    packets: VecDeque<T>,
    last_us: u64,
}

impl<T> Pipe<T> {
    fn new() -> Self {
        Self {
            packets: VecDeque::new(),
            last_us: 0,
        }
    }

    /// When the packet arrives.
    fn push(&mut self, packet: T, at_us: u64) -> u64 {
        self.packets.push_back(packet);
        self.last_us = self.last_us.max(at_us);
        self.last_us
    }
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) conn: u64,
    to_broker: Pipe<ToBroker>,
    to_client: Pipe<ToClient>,
    client_gone: bool,
    broker_gone: bool,
}

impl Sim<'_> {
    /// The gateway opens a connection.
    pub(crate) fn open_link(&mut self) -> (u64, bool) {
        self.conns += 1;
        let conn = self.conns;
        self.links.push(Link {
            conn,
            to_broker: Pipe::new(),
            to_client: Pipe::new(),
            client_gone: false,
            broker_gone: false,
        });
        let five = match self.setup.copies {
            Copies::Unnamed => false,
            _ => !self.setup.learned.versions || self.random.one_in(2),
        };
        self.send_to_broker(conn, ToBroker::Connect { five });
        (conn, five)
    }

    fn link(&mut self, conn: u64) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.conn == conn)
    }

    /// The gateway writes a packet; it does not notice when nobody is there any more.
    pub(crate) fn send_to_broker(&mut self, conn: u64, packet: ToBroker) {
        let span = self.setup.wire_us;
        let wire_us = self.random.between(span.0, span.1);
        let span = self.setup.broker_us;
        let broker_us = self.random.between(span.0, span.1);
        let now_us = self.agenda.now_us;
        let Some(link) = self.link(conn) else {
            return;
        };
        let at_us = link.to_broker.push(packet, now_us + wire_us + broker_us);
        self.agenda.at(at_us, Happening::BrokerReads(conn));
    }

    pub(crate) fn send_to_client(&mut self, conn: u64, packets: Vec<ToClient>) {
        let span = self.setup.wire_us;
        for packet in packets {
            let wire_us = self.random.between(span.0, span.1);
            let now_us = self.agenda.now_us;
            let carried_us = self.carried_from_sensors_us(&packet);
            let Some(link) = self.link(conn) else {
                return;
            };
            let at_us = link.to_client.push(packet, now_us + wire_us);
            link.to_client.last_us += carried_us;
            self.agenda
                .at(at_us + carried_us, Happening::ClientReads(conn));
        }
    }

    /// Time that a packet is on its way because of its length, in microseconds; of a long one, its
    /// beginning.
    fn carried_from_sensors_us(&self, packet: &ToClient) -> u64 {
        let bytes = match packet {
            ToClient::Publish { copy, .. } => copy.message.payload.len() + 40,
            _ => 4,
        };
        let rate = self.setup.learned.sensor_rate;
        rate.map_or(0, |rate| bytes.min(400) as u64 * 1_000_000 / rate)
    }

    /// A packet arrives at the broker.
    pub(crate) fn broker_reads(&mut self, conn: u64) {
        let Some(link) = self.link(conn) else {
            return;
        };
        let packet = link.to_broker.packets.pop_front();
        let Some(packet) = packet.filter(|_| !link.broker_gone) else {
            return;
        };
        if !self.broker.up {
            return self.broker_gone(conn);
        }
        if matches!(packet, ToBroker::Connect { .. }) {
            // Whoever had the session before is thrown out.
            let others = self.links.iter_mut().filter(|link| link.conn < conn);
            others.for_each(|link| link.broker_gone = true);
            self.note_session_present();
        } else if self.broker.conn != Some(conn) {
            return;
        }
        if let ToBroker::Subscribe { .. } = packet {
            self.connack_lost_session = false;
        }
        self.say(format_args!("broker reads {conn} {packet:?}"));
        let mut out = Vec::new();
        if let Err(what) = self.broker.read(conn, packet, self.agenda.now_us, &mut out) {
            self.fail("3: acknowledged in order, on its connection", what);
        }
        if std::mem::take(&mut self.broker.changed) {
            self.coverage.see(Sight::VersionChanged);
        }
        if std::mem::take(&mut self.broker.crossed) {
            self.coverage.see(Sight::RepeatedAcrossVersions);
        }
        for uid in std::mem::take(&mut self.broker.retained_sent) {
            self.truth.kept_copy(uid);
        }
        self.send_to_client(conn, out);
    }

    /// A packet arrives in the gateway's library.
    pub(crate) fn client_reads(&mut self, conn: u64) {
        let Some(link) = self.link(conn) else {
            return;
        };
        let packet = link.to_client.packets.pop_front();
        let Some(packet) = packet.filter(|_| !link.client_gone) else {
            return;
        };
        if let (ToClient::Publish { packet, .. }, true) = (&packet, self.broker.conn == Some(conn))
        {
            self.broker.note_read(*packet);
        }
        self.library_reads(conn, &packet);
    }

    /// The connection breaks. One side notices at once, the other one later; what is on the wire until
    /// then arrives.
    pub(crate) fn cut(&mut self, client_first: bool) {
        let Some(conn) = self.process.as_ref().and_then(|p| p.source.conn) else {
            return;
        };
        self.say(format_args!("cut {conn}, client first {client_first}"));
        let later_us = self.random.pick(&[0, 1_000, 20_000, 200_000]);
        let now_us = self.agenda.now_us;
        let (client_us, broker_us) = if client_first {
            (now_us, now_us + later_us)
        } else {
            (now_us + later_us, now_us)
        };
        self.agenda.at(broker_us, Happening::BrokerNotices(conn));
        self.agenda.at(client_us, Happening::ClientNotices(conn));
    }

    /// The gateway's side of a connection is gone.
    pub(crate) fn client_gone(&mut self, conn: u64) {
        let now_us = self.agenda.now_us;
        let is_ack = |packet: &ToBroker| matches!(packet, ToBroker::Puback(_));
        let Some(link) = self.link(conn) else {
            return;
        };
        link.client_gone = true;
        let lost = link.broker_gone && link.to_broker.packets.iter().any(is_ack);
        if lost {
            self.coverage.enter(4);
        }
        let later_us = self.random.pick(&[0, 1_000, 20_000]);
        self.agenda
            .at(now_us + later_us, Happening::BrokerNotices(conn));
    }

    /// The broker's side of a connection is gone.
    pub(crate) fn broker_gone(&mut self, conn: u64) {
        let is_ack = |packet: &ToBroker| matches!(packet, ToBroker::Puback(_));
        let Some(link) = self.link(conn) else {
            return;
        };
        if link.broker_gone {
            return;
        }
        link.broker_gone = true;
        let lost = link.to_broker.packets.iter().any(is_ack);
        if lost {
            self.coverage.enter(4);
        }
        self.broker.disconnected(conn);
        // The gateway notices by itself at the latest when it pings.
        let later_us = self.random.pick(&[0, 1_000, 20_000, 200_000]);
        self.agenda.after(later_us, Happening::ClientNotices(conn));
        let now = self.conns;
        self.links
            .retain(|link| !(link.client_gone && link.broker_gone) || link.conn + 2 > now);
    }

    /// All connections of the broker break: it went down, or came up with another stand.
    pub(crate) fn drop_all_links(&mut self) {
        let conns: Vec<u64> = self.links.iter().map(|link| link.conn).collect();
        conns.into_iter().for_each(|conn| self.broker_gone(conn));
    }
}
