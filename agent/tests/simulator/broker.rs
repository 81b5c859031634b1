//! The broker that sensors publish to, as MQTT describes one: a session with a window of messages on
//! their way, a queue behind it, packet identifiers that are used again, redelivery in order. It can
//! lose its session, and go back to an older stand of everything.

mod message;
mod session;
mod wire;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

use tidemill::event::SubscriptionIds;
use tidemill_transport::topic::{Subscription, Topic, TopicFilter};

pub(crate) use message::{Copy, Message, ToBroker, ToClient};
pub(crate) use wire::{Flaw, encode};

use session::{Flight, Session};

use crate::plan::{Copies, Ids, Setup};

/// `true` if the gateway gets a published message, for the rules that are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    No,
    /// If it leaves on a connection that does not say which subscription it answers.
    Perhaps,
    Yes,
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
    /// `true` if the broker went back to an older state.
    pub(crate) went_back: bool,
    pub(crate) conn: Option<u64>,
    /// The connection is of MQTT 5.
    five: bool,
    /// Connections last from now on: what is sent now leaves on this one.
    pub(crate) is_steady: bool,
    /// Versions change.
    mixed: bool,
    /// A session went on over another version, with messages that the gateway had read.
    pub(crate) changed: bool,
    pub(crate) crossed: bool,
    /// Sent on this connection and not acknowledged, in order.
    owed: VecDeque<u16>,
    /// The connection on which the last acknowledgement came, and when.
    quiet: Option<(u64, u64)>,
    /// Hash of the message that was last acknowledged under an identifier.
    used: HashMap<u16, u128>,
    /// An identifier that was used before stood for a message that the gateway had not seen.
    pub(crate) reused: bool,
    pub(crate) retained_sent: Vec<usize>,
}

/// Fate of messages that the broker held.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    /// The gateway may never see these.
    pub(crate) gone: Vec<usize>,
    /// The gateway may see these again, and cannot tell.
    pub(crate) again: Vec<usize>,
    /// The broker has still to send these, or sends them again: they may come behind later
    /// messages.
    pub(crate) back: Vec<usize>,
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
            went_back: false,
            conn: None,
            five: setup.copies != Copies::Unnamed,
            is_steady: false,
            mixed: setup.learned.versions,
            changed: false,
            crossed: false,
            owed: VecDeque::new(),
            quiet: None,
            used: HashMap::new(),
            reused: false,
            retained_sent: Vec::new(),
        }
    }

    /// Time since which everything is delivered and acknowledged, on a connection that still
    /// stands.
    pub(crate) fn quiet_since_us(&self) -> Option<u64> {
        let on = |(conn, _): &(u64, u64)| self.is_empty() && self.conn == Some(*conn);
        self.quiet.filter(on).map(|(_, at_us)| at_us)
    }

    /// A sensor publishes. Returns whether the gateway's base subscription gets a copy.
    pub(crate) fn publish(&mut self, message: &Rc<Message>, out: &mut Vec<ToClient>) -> Accepted {
        if message.kept {
            self.retained
                .insert(message.topic.clone(), Rc::clone(message));
        }
        let Some(session) = &mut self.session else {
            return Accepted::No;
        };
        let hits: Vec<(&TopicFilter, u32)> = session
            .subscriptions
            .iter()
            .filter(|(filter, _)| filter.matches(message.topic.as_str()))
            .map(|(filter, id)| (filter, *id))
            .collect();
        if hits.is_empty() {
            return Accepted::No;
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
            // Filters subscribed over MQTT 3.1.1 have no identifier, and a copy without any is for
            // all.
            _ => {
                hits.iter().any(|(filter, id)| is_base(filter) && *id > 0)
                    || hits.iter().all(|(_, id)| *id == 0)
            }
        };
        // It leaves on this connection, which names nothing.
        let names_nothing = self.is_steady && self.conn.is_some() && !self.five;
        let accepted = if accepted || names_nothing {
            Accepted::Yes
        } else if self.mixed {
            Accepted::Perhaps
        } else {
            Accepted::No
        };
        let copies: Vec<Copy> = match self.copies {
            Copies::Each => hits
                .iter()
                .map(|(_, id)| copy(SubscriptionIds::One(*id)))
                .collect(),
            Copies::Merged => {
                let ids = hits.iter().map(|(_, id)| *id).filter(|id| *id > 0);
                // Subscriptions of before, which nobody wants any more, are named as well.
                let stale = (0..message.stale_ids).map(|n| 1 << (7 * n));
                let ids: Vec<u32> = if hits.iter().all(|(_, id)| *id == 0) {
                    Vec::new()
                } else {
                    ids.chain(stale).collect()
                };
                vec![copy(match ids.as_slice() {
                    [] => SubscriptionIds::Unknown,
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
            let copy = copy.over(self.five);
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
        let (ids, max, five) = (self.ids, self.max_inflight, self.five);
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
                copy: copy.clone().over(five),
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
        now_us: u64,
        out: &mut Vec<ToClient>,
    ) -> Result<(), String> {
        match packet {
            ToBroker::Connect { five } => self.connect(conn, five, out),
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
                self.quiet = Some((conn, now_us));
                self.pump(out);
            }
            ToBroker::Subscribe { packet, wanted } => {
                let filters = wanted.len();
                out.push(ToClient::Suback { packet, filters });
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
                let filters = filters.len();
                out.push(ToClient::Unsuback { packet, filters });
            }
            ToBroker::Ping => out.push(ToClient::Pong),
        }
        Ok(())
    }

    fn connect(&mut self, conn: u64, five: bool, out: &mut Vec<ToClient>) {
        let known = self.session.as_ref().filter(|_| self.five != five);
        self.changed |= known.is_some();
        self.crossed |= known.is_some_and(|s| s.flights.iter().any(|flight| flight.read));
        (self.conn, self.five) = (Some(conn), five);
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
                copy: flight.copy.clone().over(five),
            });
            flight.sent = true;
            self.owed.push_back(flight.packet);
        }
        self.pump(out);
    }

    fn subscribe(&mut self, filter: TopicFilter, id: u32, out: &mut Vec<ToClient>) {
        let session = self.session.get_or_insert_default();
        let id = if self.five { id } else { 0 };
        let is_new = session.subscriptions.insert(filter.clone(), id).is_none();
        // Retain handling 1; MQTT 3.1.1 has none.
        if !is_new && self.five {
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
            let ids = match id {
                0 => SubscriptionIds::Unknown,
                id => SubscriptionIds::One(id),
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

    /// Number of messages that are not delivered and acknowledged.
    pub(crate) fn len(&self) -> usize {
        let session = self.session.as_ref();
        session.map_or(0, |session| session.queue.len() + session.flights.len())
    }

    /// Returns `true` if everything was delivered and acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        let session = self.session.as_ref();
        session.is_none_or(|session| session.queue.is_empty() && session.flights.is_empty())
    }

    /// Filters that its session holds.
    pub(crate) fn subscriptions(&self) -> Vec<&TopicFilter> {
        let session = self.session.iter();
        session.flat_map(|s| s.subscriptions.keys()).collect()
    }
}
