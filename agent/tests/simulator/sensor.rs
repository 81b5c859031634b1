//! The sensors: what they publish, and how they number it; some count wrongly.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bytes::Bytes;
use tidemill::event::hash_bytes;
use tidemill::mill::Input;
use tidemill_transport::topic::Topic;

use crate::broker::{Accepted, Flaw, Message};
use crate::coverage::Sight;
use crate::plan::{Copies, Kind, Miscount, Names};
use crate::run::Sim;

/// Numbers begin here: what lies far below was given out long ago.
const FIRST_NUMBER: i64 = 10_000;

/// A number that no counter comes to by itself.
const WILD_NUMBER: i64 = 4_294_967_295;

/// Bytes that a long payload is filled up with, at most.
const FILLING: &str = "................................................................";

/// A line without messages is asked within a second, and answers within this time.
const QUIET_US: u64 = 1_500_000;

/// Time within which a confirmation is in a commit.
const WRITTEN_DOWN_US: u64 = 5_000_000;

/// Counters of the sensors, by key.
#[derive(Debug, Default)]
pub(crate) struct Sensors {
    /// Offset that is added to an event's number.
    offsets: BTreeMap<u8, i64>,
    /// The next event bears a wild number, or did.
    wild: BTreeMap<u8, bool>,
    /// Counters that started anew: the gateway need not take such events.
    anew: BTreeMap<u8, u32>,
    /// Producers of which the gateway has said that their events count no more.
    silenced: BTreeSet<String>,
    /// The last named event of each key.
    latest: BTreeMap<u8, Rc<Message>>,
    /// Message that will be sent again.
    twin: Option<Rc<Message>>,
    /// Message that was sent again, and when the broker had read the acknowledgement of the first one.
    twice: Option<(usize, u64)>,
}

impl Sensors {
    /// A sensor counts wrongly.
    pub(crate) fn miscount(&mut self, key: u8, how: Miscount, next: usize) {
        let offset = self.offsets.entry(key).or_default();
        match how {
            Miscount::Wild => {
                // The second one would be the same name again.
                self.wild.entry(key).or_insert(true);
            }
            Miscount::Ahead => *offset += 200_000,
            Miscount::Anew => {
                *offset = 1 - FIRST_NUMBER - next as i64;
                *self.anew.entry(key).or_default() += 1;
            }
        }
    }

    /// An event's own name: numbered by its key, or a word.
    fn name(&mut self, level: &str, key: u8, uid: usize) -> String {
        if key % 2 == 1 {
            return format!("x{uid}");
        }
        if let Some(wild) = self.wild.get_mut(&key)
            && std::mem::take(wild)
        {
            return format!("{level}{key}:{WILD_NUMBER}");
        }
        let offset = self.offsets.get(&key).copied().unwrap_or(0);
        let number = FIRST_NUMBER + uid as i64 + offset;
        format!("{level}{key}:{number}")
    }

    /// The gateway says that a producer's events count no more.
    pub(crate) fn silenced(&mut self, producer: &str) {
        self.silenced.insert(producer.to_owned());
    }

    /// `true` if the gateway has said so of the producer of this topic. A second start from 1 soon after
    /// the first repeats numbers that count, which is told later.
    pub(crate) fn is_told(&self, topic: &str, key: u8) -> bool {
        if self.anew.get(&key).is_some_and(|times| *times > 1) {
            return true;
        }
        let level = topic.split('/').next().unwrap_or_default();
        self.silenced.contains(&format!("{level}{key}"))
    }

    fn may_be_swallowed(&self, key: u8) -> bool {
        self.anew.contains_key(&key)
    }
}

impl Sim<'_> {
    /// A sensor publishes. Returns whether the broker has it for the rules that are checked.
    pub(crate) fn publish(&mut self, key: u8, kind: Kind) -> bool {
        if !self.broker.up {
            return false;
        }
        let message = Rc::new(self.message(key, kind));
        if message.named && matches!(kind, Kind::Reading | Kind::Alarm) {
            self.sensors.latest.insert(key, Rc::clone(&message));
        }
        self.send(&message)
    }

    /// A sensor publishes its last named event again.
    pub(crate) fn publish_again(&mut self, key: u8) {
        let latest = self.sensors.latest.get(&key).cloned();
        if let Some(message) = latest.filter(|_| self.broker.up) {
            self.coverage.see(Sight::Repeated);
            // If nobody had it the first time, or the broker lost it, it comes behind later ones now.
            if !self.truth.is_held(message.uid) {
                self.truth.out_of_order(message.uid);
            }
            self.send(&message);
        }
    }

    /// A sensor publishes what it will say again.
    pub(crate) fn publish_first_twin(&mut self, key: u8) {
        if self.broker.up {
            let message = Rc::new(self.message(key, Kind::Reading));
            let accepted = self.send(&message);
            self.sensors.twin = accepted.then_some(message);
        }
    }

    /// Sends the same message again, under the same packet identifier. The line was quiet for so
    /// long that the broker was asked whether it has read the first acknowledgement; then the two
    /// can be told apart.
    pub(crate) fn publish_second_twin(&mut self, key: u8) {
        let quiet_us = self.broker.quiet_since_us();
        let is_quiet = quiet_us.is_some_and(|since| since + QUIET_US <= self.agenda.now_us);
        let twin = self.sensors.twin.take().filter(|twin| twin.key == key);
        if let Some(twin) = twin.filter(|_| is_quiet)
            && self.send(&twin)
        {
            self.coverage.see(Sight::Twins);
            self.truth.twice(twin.uid);
            self.sensors.twice = quiet_us.map(|since| (twin.uid, since));
            self.cut(true);
        }
    }

    /// The process ends. That the broker has read an acknowledgement it has written down after 5 s at the
    /// latest; before, what is said again may be taken for the first one (docs/delivery.md).
    pub(crate) fn forget_confirmations(&mut self) {
        let twice = self.sensors.twice.take();
        let is_new = |since: u64| self.agenda.now_us < since + QUIET_US + WRITTEN_DOWN_US;
        if let Some((uid, _)) = twice.filter(|(_, since)| is_new(*since)) {
            self.truth.may_be_one(uid);
        }
    }

    /// The owner looks at what the gateway says of a sensor whose counter started anew, and lets it
    /// begin again.
    pub(crate) fn forget_producer(&mut self, key: u8) {
        for level in ["s", "a"] {
            let producer = format!("{level}{key}");
            if self.sensors.silenced.contains(&producer) {
                self.coverage.see(Sight::Forgotten);
                // Messages that a broker sends again from before count again.
                self.truth.forgotten(key);
                self.turn_mill(Input::ForgetProducer(producer.as_str().into()));
            }
        }
    }

    fn send(&mut self, message: &Rc<Message>) -> bool {
        let uid = message.uid;
        if message.topic.as_str().starts_with("q/") {
            self.coverage.see(Sight::Quick);
        }
        let mut out = Vec::new();
        let accepted = self.broker.publish(message, &mut out);
        self.say(format_args!(
            "message {uid} on {}, accepted {accepted:?}",
            message.topic
        ));
        let is_checked = message.base.is_some();
        match accepted {
            Accepted::Yes if is_checked => self.truth.accepted(uid),
            Accepted::Perhaps if is_checked => self.truth.perhaps(uid),
            _ => {}
        }
        let has_name = message.named || message.name_property.is_some();
        if has_name && message.counts && self.sensors.may_be_swallowed(message.key) {
            self.truth.may_be_silenced(uid);
        }
        if message.topic.as_str().starts_with("r/") {
            self.truth.kept_live(uid);
        }
        if let Some(conn) = self.broker.conn {
            self.send_to_client(conn, out);
        }
        accepted == Accepted::Yes && is_checked
    }

    fn message(&mut self, key: u8, kind: Kind) -> Message {
        let level = match kind {
            Kind::Alarm => "a",
            Kind::Retained => "r",
            Kind::Careless => "z",
            Kind::Unwanted => "n",
            Kind::Quick => "q",
            _ => "s",
        };
        let base = match kind {
            Kind::Alarm => Some("a/+"),
            Kind::Reading | Kind::Poison | Kind::Garbage | Kind::KeptReading => Some("s/+"),
            _ => None,
        };
        let v = self.random.below(10);
        let odd = v % 2 == 1 && kind != Kind::Garbage;
        let uid = self.truth.published(key, base, odd);
        let names = self.setup.names;
        // Nearly all have a name, where names are used.
        let named = self.setup.has_names() && !uid.is_multiple_of(16);
        let named = named && !(names == Names::Pointer && kind == Kind::Garbage);
        let number = if self.setup.same_content {
            String::new()
        } else {
            format!("\"u\":{uid},")
        };
        let name = if named {
            self.sensors.name(level, key, uid)
        } else {
            String::new()
        };
        let in_payload = if named && names == Names::Pointer {
            format!(",\"id\":\"{name}\"")
        } else {
            String::new()
        };
        let filling = match kind {
            Kind::Oversized => self.too_much(),
            _ => self.filling(),
        };
        let t = if kind == Kind::Poison { -1 } else { 20 };
        let end = if kind == Kind::Garbage { "" } else { "}" };
        let payload = format!("{{{number}\"v\":{v},\"t\":{t}{in_payload}{filling}{end}");
        let topic = format!("{level}/k{key}");
        let only_five = self.setup.copies != Copies::Unnamed && !self.setup.learned.versions;
        let flaw = (kind == Kind::Malformed).then(|| Flaw::draw(&mut self.random, only_five));
        Message {
            uid,
            key,
            hash: hash_bytes(&[topic.as_bytes(), payload.as_bytes(), name.as_bytes()]),
            topic: Topic::new(&topic).unwrap(),
            payload: Bytes::from(payload),
            name_property: (named && names == Names::Property).then_some(name),
            acknowledged: kind != Kind::Careless,
            flaw,
            kept: matches!(kind, Kind::Retained | Kind::KeptReading),
            // On a connection of MQTT 3.1.1 there are no properties to bear one.
            named: named && !(self.setup.learned.versions && names == Names::Property),
            counts: key.is_multiple_of(2),
            stale_ids: uid as u32 % 5,
            base,
        }
    }

    /// More than the gateway takes: a little, or far more.
    fn too_much(&mut self) -> String {
        let more = self.random.pick(&[1, 1_000, 70_000]);
        padding(self.setup.packet_bytes_max() + more)
    }

    /// Text that makes a payload long, up to the gateway's limit.
    fn filling(&mut self) -> String {
        if !self.setup.learned.large || !self.random.one_in(10) {
            return String::new();
        }
        self.coverage.see(Sight::Large);
        let max = self.setup.payload_bytes_max();
        let bytes = match self.random.below(4) {
            0 => max,
            1 => max - self.random.below(64) as usize,
            _ => self.random.below(max as u64) as usize,
        };
        padding(bytes)
    }
}

fn padding(bytes: usize) -> String {
    let filling = FILLING.repeat(bytes / FILLING.len() + 1);
    format!(",\"p\":\"{}\"", &filling[..bytes])
}
