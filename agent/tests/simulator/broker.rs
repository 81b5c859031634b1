//! The broker that sensors publish to, as MQTT describes one: a session with a window of messages on
//! their way, a queue behind it, packet identifiers that are used again, redelivery in order. It can
//! lose its session, and go back to an older stand of everything.

mod session;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use tidemill::event::SubscriptionIds;
use tidemill::topic::{Subscription, Topic, TopicFilter};

use session::{Flight, Session};

use crate::plan::{Copies, Ids, Setup};

/// A published message.
#[derive(Debug)]
pub(crate) struct Message {
    /// Its number in the simulation's books.
    pub(crate) uid: usize,
    pub(crate) topic: Topic,
    pub(crate) payload: Bytes,
    pub(crate) properties: Bytes,
    pub(crate) hash: u128,
    /// Of topic and payload alone.
    pub(crate) content: u64,
    pub(crate) acknowledged: bool,
    pub(crate) oversized: bool,
    pub(crate) kept: bool,
    /// Has a name of its own.
    pub(crate) named: bool,
    /// The filter of the rules whose values are checked.
    pub(crate) base: Option<&'static str>,
}

/// A message on its way to the gateway.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub(crate) message: Rc<Message>,
    pub(crate) ids: SubscriptionIds,
    pub(crate) retained: bool,
}

/// What the broker sends.
#[derive(Debug, Clone)]
pub(crate) enum ToClient {
    Connack { session_present: bool },
    Publish { packet: u16, dup: bool, copy: Copy },
    Suback(u16),
    Unsuback(u16),
    Pong,
}

/// What it reads.
#[derive(Debug, Clone)]
pub(crate) enum ToBroker {
    Connect,
    Puback(u16),
    Subscribe {
        packet: u16,
        wanted: Vec<Subscription>,
    },
    Unsubscribe {
        packet: u16,
        filters: Vec<TopicFilter>,
    },
    Ping,
}

/// Messages that are kept, by topic.
type Retained = BTreeMap<Topic, Rc<Message>>;

pub(crate) struct Broker {
    copies: Copies,
    ids: Ids,
    max_inflight: usize,
    session: Option<Session>,
    retained: Retained,
    snapshot: Option<(Option<Session>, Retained)>,
    pub(crate) up: bool,
    pub(crate) conn: Option<u64>,
    /// Sent on this connection and not acknowledged, in order.
    owed: VecDeque<u16>,
    /// What was acknowledged last under an identifier.
    used: HashMap<u16, u128>,
    /// An identifier that was used before stood for a message that the gateway had not seen.
    pub(crate) reused: bool,
    pub(crate) retained_sent: Vec<usize>,
}

/// What became of messages that the broker held.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    /// The gateway may never see these.
    pub(crate) gone: Vec<usize>,
    /// It may see these again, and cannot tell.
    pub(crate) again: Vec<usize>,
}

impl Broker {
    pub(crate) fn new(setup: &Setup) -> Self {
        Self {
            copies: setup.copies,
            ids: setup.ids,
            max_inflight: setup.max_inflight,
            session: None,
            retained: BTreeMap::new(),
            snapshot: None,
            up: true,
            conn: None,
            owed: VecDeque::new(),
            used: HashMap::new(),
            reused: false,
            retained_sent: Vec::new(),
        }
    }

    /// A sensor publishes. Returns whether the gateway's base subscription gets a copy.
    pub(crate) fn publish(&mut self, message: &Rc<Message>, out: &mut Vec<ToClient>) -> bool {
        if message.kept {
            self.retained
                .insert(message.topic.clone(), Rc::clone(message));
        }
        let Some(session) = &mut self.session else {
            return false;
        };
        let hits: Vec<(&TopicFilter, u32)> = session
            .subscriptions
            .iter()
            .filter(|(filter, _)| filter.matches(message.topic.as_str()))
            .map(|(filter, id)| (filter, *id))
            .collect();
        if hits.is_empty() {
            return false;
        }
        let is_base = |filter: &TopicFilter| message.base == Some(filter.as_str());
        let copy = |ids| Copy {
            message: Rc::clone(message),
            ids,
            retained: false,
        };
        let accepted = match self.copies {
            Copies::Unnamed => true,
            // Any copy of it is for all rules.
            _ if message.named => true,
            _ => hits.iter().any(|(filter, _)| is_base(filter)),
        };
        let copies: Vec<Copy> = match self.copies {
            Copies::Each => hits
                .iter()
                .map(|(_, id)| copy(SubscriptionIds::One(*id)))
                .collect(),
            Copies::Merged => {
                let ids: Vec<u32> = hits.iter().map(|(_, id)| *id).collect();
                vec![copy(match ids.as_slice() {
                    [one] => SubscriptionIds::One(*one),
                    _ => SubscriptionIds::Many(ids.into()),
                })]
            }
            Copies::Unnamed => vec![copy(SubscriptionIds::Unknown)],
        };
        for copy in copies {
            self.send(copy, out);
        }
        accepted
    }

    fn send(&mut self, copy: Copy, out: &mut Vec<ToClient>) {
        if copy.message.acknowledged {
            if let Some(session) = &mut self.session {
                session.queue.push_back(copy);
            }
            self.pump(out);
        } else if self.conn.is_some() {
            out.push(ToClient::Publish {
                packet: 0,
                dup: false,
                copy,
            });
        }
    }

    /// Sends what the window has room for.
    fn pump(&mut self, out: &mut Vec<ToClient>) {
        if self.conn.is_none() {
            return;
        }
        let (ids, max) = (self.ids, self.max_inflight);
        let Some(session) = &mut self.session else {
            return;
        };
        while session.flights.len() < max
            && let Some(copy) = session.queue.pop_front()
        {
            let packet = session.next_packet(ids);
            out.push(ToClient::Publish {
                packet,
                dup: false,
                copy: copy.clone(),
            });
            self.owed.push_back(packet);
            session.flights.push_back(Flight {
                packet,
                copy,
                sent: true,
                read: false,
            });
        }
    }

    /// Reads a packet of connection `conn`.
    ///
    /// # Errors
    /// When the gateway acknowledges what it must not.
    pub(crate) fn read(
        &mut self,
        conn: u64,
        packet: ToBroker,
        out: &mut Vec<ToClient>,
    ) -> Result<(), String> {
        match packet {
            ToBroker::Connect => self.connect(conn, out),
            ToBroker::Puback(packet) => {
                let owed = self.owed.pop_front();
                if owed != Some(packet) {
                    return Err(format!("PUBACK {packet}, where {owed:?} was the next"));
                }
                if let Some(session) = &mut self.session {
                    let place = session.flights.iter().position(|f| f.packet == packet);
                    let flight = place.and_then(|place| session.flights.remove(place));
                    let hash = flight.map_or(0, |flight| flight.copy.message.hash);
                    self.used.insert(packet, hash);
                }
                self.pump(out);
            }
            ToBroker::Subscribe { packet, wanted } => {
                out.push(ToClient::Suback(packet));
                for Subscription { id, filter } in wanted {
                    self.subscribe(filter, id, out);
                }
            }
            ToBroker::Unsubscribe { packet, filters } => {
                for filter in &filters {
                    if let Some(session) = &mut self.session {
                        session.subscriptions.remove(filter);
                    }
                }
                out.push(ToClient::Unsuback(packet));
            }
            ToBroker::Ping => out.push(ToClient::Pong),
        }
        Ok(())
    }

    fn connect(&mut self, conn: u64, out: &mut Vec<ToClient>) {
        self.conn = Some(conn);
        self.owed.clear();
        out.push(ToClient::Connack {
            session_present: self.session.is_some(),
        });
        let session = self.session.get_or_insert_default();
        for flight in &mut session.flights {
            let used = self.used.get(&flight.packet);
            let other = used.is_some_and(|hash| *hash != flight.copy.message.hash);
            self.reused |= flight.sent && !flight.read && other;
            out.push(ToClient::Publish {
                packet: flight.packet,
                dup: flight.sent,
                copy: flight.copy.clone(),
            });
            flight.sent = true;
            self.owed.push_back(flight.packet);
        }
        self.pump(out);
    }

    fn subscribe(&mut self, filter: TopicFilter, id: u32, out: &mut Vec<ToClient>) {
        let session = self.session.get_or_insert_default();
        let is_new = session.subscriptions.insert(filter.clone(), id).is_none();
        // Retain handling 1; MQTT 3.1.1 has none.
        if !is_new && self.copies != Copies::Unnamed {
            return;
        }
        let matching: Vec<_> = self
            .retained
            .values()
            .filter(|message| filter.matches(message.topic.as_str()))
            .cloned()
            .collect();
        for message in matching {
            self.retained_sent.push(message.uid);
            let ids = match self.copies {
                Copies::Unnamed => SubscriptionIds::Unknown,
                _ => SubscriptionIds::One(id),
            };
            let retained = true;
            self.send(
                Copy {
                    message,
                    ids,
                    retained,
                },
                out,
            );
        }
    }

    /// The gateway's library has read a message of this connection.
    pub(crate) fn note_read(&mut self, packet: u16) {
        let flights = self.session.iter_mut().flat_map(|s| &mut s.flights);
        for flight in flights.filter(|flight| flight.packet == packet) {
            flight.read = true;
        }
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self, conn: u64) {
        if self.conn == Some(conn) {
            self.conn = None;
            self.owed.clear();
        }
    }

    /// Whether everything was delivered and acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        let session = self.session.as_ref();
        session.is_none_or(|session| session.queue.is_empty() && session.flights.is_empty())
    }

    /// What its session holds.
    pub(crate) fn subscriptions(&self) -> Vec<&TopicFilter> {
        let session = self.session.iter();
        session.flat_map(|s| s.subscriptions.keys()).collect()
    }
}
