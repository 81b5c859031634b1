//! A mill that keeps a journal: what is held back until when, and what comes back after a crash. The
//! journal is a list here, and the ponds are maps; real ones have tests of their own.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::commit::outbox::{Bounds, Destination, Outlet, Wanted};
use crate::commit::record::Parts;
use crate::config::{EventIdSource, OutboxLimits};
use crate::event::clock::Quality;
use crate::event::emission::{LaneId, LaneReport, Priority, Row};
use crate::event::{Delivery, EventFault, Fingerprint, Malformed, Origin, Version, hash_bytes};

type Pond = (u64, BTreeMap<Vec<u8>, Vec<u8>>);

/// A mill with a journal and two ponds, all of which may crash.
pub(super) struct Gateway {
    pub(super) rules: Vec<(String, &'static str)>,
    pub(super) mill: Mill,
    pub(super) now: Now,
    journal: Vec<(u64, Vec<u8>)>,
    ponds: [Pond; 2],
    /// Handed to the journal and not durable yet.
    unsynced: Vec<(u64, Vec<u8>)>,
    pub(super) said: String,
    /// Outputs of the last deployment, before anything came in.
    deployed: String,
    /// Outputs of the last start.
    pub(super) resumed: String,
    outlet: Outlet,
    pub(super) boot: &'static str,
    pub(super) record_bytes_max: usize,
    pub(super) bounds: Bounds,
    pub(super) limits: OutboxLimits,
    /// Limits that the gateway grants its rules.
    pub(super) function: FunctionLimits,
    /// Destinations that are configured no more.
    pub(super) discard: Vec<String>,
    /// Rows that the mill wants back.
    reads: VecDeque<(LaneId, Wanted, bool)>,
    /// Bytes written into state databases.
    pub(super) pond_bytes: usize,
    /// The most bytes that were on their way to stable storage at once.
    pub(super) most_unsynced: usize,
    /// `true` while a step is one step, however much is left.
    is_once: bool,
}

impl Gateway {
    pub(super) fn new(rules: &[(String, &'static str)]) -> Self {
        Self::with(rules, Quality::Synced)
    }

    /// One whose clock can be believed so far.
    pub(super) fn with(rules: &[(String, &'static str)], quality: Quality) -> Self {
        let mut gateway = Self {
            rules: rules.to_vec(),
            mill: Mill::new(),
            now: Now {
                mono_ms: 10_000,
                wall_ms: 1_700_000_000_000,
                quality,
            },
            journal: Vec::new(),
            ponds: Default::default(),
            unsynced: Vec::new(),
            said: String::new(),
            deployed: String::new(),
            resumed: String::new(),
            outlet: Outlet::Messages,
            boot: "boot",
            record_bytes_max: 8 << 20,
            bounds: Bounds::default(),
            limits: OutboxLimits::DESTINATION,
            function: FunctionLimits::default(),
            discard: Vec::new(),
            reads: VecDeque::new(),
            pond_bytes: 0,
            most_unsynced: 0,
            is_once: false,
        };
        gateway.start();
        gateway
    }

    fn keeping(&self) -> Keeping {
        Keeping {
            session: "h:1 gw".into(),
            commit_interval_ms: 50,
            commit_events: 256,
            event_id: EventIdSource::Pointer("/id".into()),
            event_id_numbers: true,
            event_ids_remembered: 4_096,
            checkpoint_bytes: 1 << 20,
            boot_id: self.boot.into(),
            journal: (Lsn::new(0), 0),
            first_pond: 0,
            newest_pond: None,
            record_bytes_max: self.record_bytes_max,
        }
    }

    fn destinations(&self) -> Vec<Destination> {
        let destination = |name: &str| Destination {
            name: name.into(),
            outlet: self.outlet,
            limits: self.limits,
        };
        let configured = |name: &&str| !self.discard.iter().any(|gone| gone == name);
        let names = ["local", "cloud"].into_iter().filter(configured);
        names.map(destination).collect()
    }

    /// Starts from what is durable.
    fn start(&mut self) {
        let (lsn, entries) = self.ponds.iter().max_by_key(|(lsn, _)| *lsn).unwrap();
        let mut image = Image::from_entries(Lsn::new(*lsn), entries.clone()).unwrap();
        let from = image.needs_from();
        for (lsn, bytes) in self.journal.iter().filter(|(lsn, _)| *lsn >= from.get()) {
            image.replay(Lsn::new(*lsn), bytes).unwrap();
        }
        let last_lsn = image.last_lsn();
        let hash = (image.agent.boot_id == self.boot).then(|| image.state_hash());
        image.outbox.set_bounds(self.bounds);
        let homeless = image
            .outbox
            .set_destinations("gw", self.destinations(), &self.discard);
        assert!(homeless.is_empty());
        self.mill = Mill::keeping(image, self.keeping(), self.now);
        let rules = bind_within(&self.function, &self.rules).unwrap();
        let subscriptions = subscriptions(&rules, &[]);
        let deployment = Deployment {
            rules,
            subscriptions,
        };
        let mut out = Vec::new();
        self.mill.deploy(self.now, deployment, &mut out).unwrap();
        // Rows that are too old by now, or given up, are dropped before anything else happens.
        let is_unchanged = self.mill.lsns().0 == last_lsn && self.mill.is_settled();
        let is_same = !self.journal.is_empty() && self.discard.is_empty() && is_unchanged;
        if let (Some(hash), true) = (hash, is_same) {
            assert_eq!(
                self.mill.state_hash(),
                hash,
                "what was replayed is what runs"
            );
        }
        self.carry_out(out);
        self.deployed = self.said.clone();
        let session_present = !self.journal.is_empty();
        self.connect(Version::V5, session_present);
        self.resumed = std::mem::take(&mut self.said);
    }

    pub(super) fn deploy(&mut self, rules: &[(String, &'static str)]) {
        self.rules = rules.to_vec();
        let rules = bind_within(&self.function, &self.rules).unwrap();
        let subscriptions = subscriptions(&rules, &[]);
        let deployment = Deployment {
            rules,
            subscriptions,
        };
        let mut out = Vec::new();
        self.mill.deploy(self.now, deployment, &mut out).unwrap();
        self.carry_out(out);
    }

    /// Turns the mill, again while a step has no share for all of it.
    pub(super) fn step(&mut self, input: Input) -> &mut Self {
        self.step_once(input);
        while self.mill.is_busy() && !self.is_once {
            self.step_once(Input::Tick);
        }
        self
    }

    /// Turns the mill once.
    pub(super) fn step_once(&mut self, input: Input) {
        let mut out = Vec::new();
        self.mill.step(self.now, input, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, out: Vec<Output>) {
        for output in out {
            let line = match output {
                Output::Append { lsn, bytes, .. } => {
                    let (len, max) = (bytes.len(), self.record_bytes_max);
                    assert!(
                        len <= max,
                        "record {lsn} of {len} bytes, and {max} are room"
                    );
                    self.unsynced.push((lsn.get(), bytes));
                    let unsynced = self.unsynced.iter().map(|(_, bytes)| bytes.len()).sum();
                    self.most_unsynced = self.most_unsynced.max(unsynced);
                    format!("commit {lsn}")
                }
                Output::Acknowledge { packets, .. } => format!("ack {packets:?}"),
                Output::Ship(shipment) => {
                    let rows = shipment.rows.iter();
                    let rows: Vec<_> = rows
                        .map(|row| format!("{}={}", row.seq, String::from_utf8_lossy(&row.payload)))
                        .collect();
                    format!(
                        "ship {} {:?} {}",
                        shipment.destination,
                        shipment.priority,
                        rows.join(" ")
                    )
                }
                Output::Checkpoint(checkpoint) => {
                    let pond = &mut self.ponds[checkpoint.pond];
                    if checkpoint.full {
                        pond.1.clear();
                    }
                    pond.0 = checkpoint.lsn.get();
                    let bytes = checkpoint.puts.iter().map(|(k, v)| k.len() + v.len());
                    self.pond_bytes += bytes.sum::<usize>();
                    pond.1.extend(checkpoint.puts);
                    checkpoint
                        .removes
                        .iter()
                        .for_each(|key| drop(pond.1.remove(key)));
                    self.step(Input::PondWritten {
                        pond: checkpoint.pond,
                    });
                    continue;
                }
                Output::Recycle { below_lsn } => {
                    self.journal.retain(|(lsn, _)| *lsn >= below_lsn.get());
                    continue;
                }
                Output::ReadBack {
                    lane,
                    wanted,
                    relocate,
                } => {
                    self.reads.push_back((lane, wanted, relocate));
                    continue;
                }
                Output::DeadLetter(dead) => format!("dead {}", dead.reason),
                Output::Proceed { .. } => "proceed".to_owned(),
                Output::Invoked { ticket, invoked } => format!(
                    "invoked {ticket}: emitting {}, made {}",
                    invoked.counts.emitting,
                    invoked.outputs.len()
                ),
                Output::Answer { ticket, wanted, .. } => format!("answer {ticket} {wanted}"),
                Output::Refused { lane, count, .. } => format!("refused {lane} {count}"),
                other => format!("{other:?}"),
            };
            writeln!(self.said, "{line}").unwrap();
        }
    }

    /// The sync returns: everything handed over is durable.
    pub(super) fn sync(&mut self) -> &mut Self {
        self.journal.append(&mut self.unsynced);
        let lsn = self.journal.last().map_or(0, |(lsn, _)| *lsn);
        self.step(Input::Durable(Lsn::new(lsn)))
    }

    /// The same without working on what no step had a share for.
    pub(super) fn sync_once(&mut self) {
        self.journal.append(&mut self.unsynced);
        let lsn = self.journal.last().map_or(0, |(lsn, _)| *lsn);
        self.step_once(Input::Durable(Lsn::new(lsn)));
    }

    /// The sync returns for the first so many records.
    pub(super) fn sync_some(&mut self, count: usize) -> &mut Self {
        self.journal.extend(self.unsynced.drain(..count));
        let lsn = self.journal.last().map_or(0, |(lsn, _)| *lsn);
        self.step(Input::Durable(Lsn::new(lsn)))
    }

    /// Records on their way to stable storage.
    pub(super) fn unsynced(&self) -> &[(u64, Vec<u8>)] {
        &self.unsynced
    }

    /// The first record that a start would need, where all before it is given up.
    pub(super) fn journal_begins(&self) -> u64 {
        self.journal.first().map_or(u64::MAX, |(lsn, _)| *lsn)
    }

    /// Syncs and reads back until nothing more is asked for.
    pub(super) fn settle(&mut self) -> &mut Self {
        loop {
            if !self.unsynced.is_empty() {
                self.sync();
            } else if let Some((lane, wanted, relocate)) = self.reads.pop_front() {
                let rows = self.rows_of(&lane, &wanted);
                self.step(Input::RowsRead {
                    lane,
                    rows,
                    relocate,
                });
            } else {
                return self;
            }
        }
    }

    pub(super) fn rows_of(&self, lane: &LaneId, wanted: &Wanted) -> Vec<(Lsn, Row)> {
        let (mut rows, mut parts) = (BTreeMap::new(), Parts::default());
        for (lsn, bytes) in self
            .journal
            .iter()
            .filter(|(lsn, _)| *lsn >= wanted.from_lsn.get())
        {
            let Some((lsn, commit)) = parts.push(Lsn::new(*lsn), bytes).unwrap() else {
                continue;
            };
            let deltas = commit.lanes.into_iter();
            let deltas = deltas.filter(|delta| delta.lane.as_ref() == Some(lane));
            for row in deltas.flat_map(|delta| delta.rows.into_iter().chain(delta.relocated)) {
                if lsn <= wanted.to_lsn && (wanted.first..=wanted.last).contains(&row.seq) {
                    rows.insert(row.seq, (lsn, row));
                }
            }
        }
        rows.into_values().collect()
    }

    /// A power cut: what was not durable is gone.
    pub(super) fn crash(&mut self) -> &mut Self {
        self.unsynced.clear();
        self.reads.clear();
        self.start();
        self
    }

    /// The same without working on what no step had a share for.
    pub(super) fn crash_once(&mut self) {
        self.is_once = true;
        self.crash();
        self.is_once = false;
    }

    pub(super) fn after(&mut self, ms: u64) -> &mut Self {
        self.now = Now {
            mono_ms: self.now.mono_ms + ms,
            wall_ms: self.now.wall_at(self.now.mono_ms + ms),
            ..self.now
        };
        self.step(Input::Tick)
    }

    fn connect(&mut self, protocol: Version, session_present: bool) -> &mut Self {
        self.step(Input::Connected {
            epoch: 1,
            protocol,
            session_present,
            window: None,
        })
    }

    /// The line is cut, and the broker keeps the session.
    fn cut(&mut self) -> &mut Self {
        self.step(Input::Disconnected).connect(Version::V5, true)
    }

    fn confirm(&mut self, acknowledged: u64) -> &mut Self {
        self.step(Input::Confirmed {
            epoch: 1,
            acknowledged,
        })
    }

    pub(super) fn event(
        &mut self,
        packet: u16,
        dup: bool,
        topic: &str,
        payload: &str,
    ) -> &mut Self {
        let mut event = Event::new(
            Topic::new(topic).unwrap(),
            payload.to_owned(),
            self.now.wall_ms,
        );
        event.origin = Origin::Mqtt(Some(Delivery {
            epoch: 1,
            packet,
            dup,
            fingerprint: fingerprint(topic, payload, ""),
        }));
        self.step(Input::Events(vec![event]))
    }

    /// One event and one step.
    pub(super) fn event_once(&mut self, packet: u16, topic: &str, payload: &str) {
        self.is_once = true;
        self.event(packet, false, topic, payload);
        self.is_once = false;
    }

    #[track_caller]
    pub(super) fn expect_balanced(&self) {
        let mut out = Vec::new();
        self.mill.check_ledgers(&mut out);
        assert!(out.is_empty(), "{out:?}");
    }

    pub(super) fn acknowledge(&mut self, destination: usize, first: u64, last: u64) -> &mut Self {
        self.step(Input::Lane(LaneReport::Acknowledged {
            destination,
            priority: Priority::Normal,
            first,
            last,
        }))
    }

    #[track_caller]
    pub(super) fn expect(&mut self, lines: &[&str]) -> &mut Self {
        let said = std::mem::take(&mut self.said);
        assert_eq!(said.lines().collect::<Vec<_>>(), lines);
        let mut out = Vec::new();
        self.mill.check_ledgers(&mut out);
        assert!(out.is_empty(), "{out:?}");
        self
    }
}

fn fingerprint(topic: &str, payload: &str, properties: &str) -> Fingerprint {
    let [topic, payload, properties] = [topic, payload, properties].map(str::as_bytes);
    let [content, ..] = hash_bytes(&[topic, payload]).to_le_bytes();
    Fingerprint {
        hash: hash_bytes(&[topic, payload, properties]),
        content: content.into(),
    }
}

pub(super) fn counter() -> (String, &'static str) {
    (rule("count", "mqtt = [\"s/+\"]"), COUNTER)
}

#[test]
fn nothing_is_acknowledged_or_sent_before_its_commit_is_durable() {
    let mut gateway = Gateway::new(&[counter()]);
    gateway.sync().expect(&["proceed"]);
    gateway
        .event(1, false, "s/a", "x")
        .event(2, false, "s/a", "y")
        .expect(&[]);
    gateway.after(50).expect(&["commit 4"]);
    gateway.event(3, false, "s/b", "z").expect(&[]);
    gateway
        .sync()
        .expect(&["ack [1, 2]", "ship 0 Normal 1=1 2=2"]);
    gateway
        .after(50)
        .sync()
        .expect(&["commit 5", "ack [3]", "ship 0 Normal 3=1"]);
}

#[test]
fn a_message_that_was_applied_is_acknowledged_and_not_applied_again() {
    let mut gateway = Gateway::new(&[counter()]);
    gateway.event(1, false, "s/a", "x").after(50).sync();
    gateway
        .crash()
        .event(1, true, "s/a", "x")
        .expect(&["ack [1]"]);
    gateway.event(1, true, "s/a", "other").after(50).sync();
    gateway.expect(&["commit 5", "ack [1]", "ship 0 Normal 2=2"]);
    assert_eq!(gateway.mill.intake_counts().repeated, 1);
}

#[test]
fn a_message_whose_commit_was_lost_is_applied_when_it_comes_again() {
    let mut gateway = Gateway::new(&[counter()]);
    gateway
        .sync()
        .event(1, false, "s/a", "x")
        .after(50)
        .said
        .clear();
    gateway.crash().event(1, true, "s/a", "x").after(50).sync();
    gateway.expect(&["commit 4", "ack [1]", "ship 0 Normal 1=1"]);
}

#[test]
fn receipts_are_void_once_the_broker_has_read_their_acknowledgements() {
    let mut gateway = Gateway::new(&[counter()]);
    gateway.event(1, false, "s/a", "x").after(50).sync();
    gateway.step(Input::Confirmed {
        epoch: 1,
        acknowledged: 1,
    });
    gateway.after(5_000).sync().said.clear();
    gateway.crash().event(1, true, "s/a", "x").after(50).sync();
    gateway.expect(&["commit 6", "ack [1]", "ship 0 Normal 2=2"]);
}

fn volatile(name: &str, on: &str) -> (String, &'static str) {
    let manifest = rule(name, on).replace("[on]", "durability = \"volatile\"\n[on]");
    (manifest, COUNTER)
}

#[test]
fn a_message_without_receipt_that_comes_again_confirms_no_receipt() {
    let mut gateway = Gateway::new(&[counter(), volatile("fast", "mqtt = [\"v/+\"]")]);
    gateway
        .sync()
        .event(1, false, "v/a", "x")
        .event(2, false, "s/a", "y")
        .after(50)
        .sync();
    // The broker got neither acknowledgement, and only the first one the next time.
    gateway.cut().event(1, true, "v/a", "x");
    gateway.confirm(1).after(5_000).sync().said.clear();
    gateway.cut().event(2, true, "s/a", "y");
    gateway.expect(&["ack [2]"]);
    gateway.confirm(1).after(5_000).sync();
    gateway.crash().said.clear();
    // Now it is confirmed, and the identifier stands for something new.
    gateway.event(2, true, "s/a", "y").after(50).sync();
    assert!(gateway.said.contains("ship 0 Normal 2=2"));
}

#[test]
fn a_message_that_gets_its_receipt_late_stands_where_it_came() {
    for crash in [false, true] {
        let mut gateway = Gateway::new(&[counter()]);
        gateway
            .sync()
            .event(1, false, "u/a", "x")
            .event(2, false, "s/a", "y")
            .event(3, false, "s/a", "z")
            .after(50)
            .sync();
        // From now on there is a rule for the first one, and so it gets a receipt.
        gateway.deploy(&[counter(), (rule("more", "mqtt = [\"u/+\"]"), COUNTER)]);
        for _ in 0..2 {
            gateway.cut();
            for (packet, topic, payload) in [(1, "u/a", "x"), (2, "s/a", "y"), (3, "s/a", "z")] {
                gateway.event(packet, true, topic, payload);
            }
            gateway.after(50).sync();
            if crash {
                gateway.step(Input::Flush).sync().crash();
            }
        }
        let counts = gateway.mill.ledgers();
        let counts: Vec<u64> = counts.map(|(_, ledger)| ledger.received).collect();
        assert_eq!(counts, [2, 1], "crash: {crash}");
        // The first two are confirmed: the third is still known.
        gateway.cut();
        gateway
            .event(1, true, "u/a", "x")
            .event(2, true, "s/a", "y")
            .confirm(2)
            .after(5_000)
            .sync();
        gateway.crash().event(3, true, "s/a", "z").after(50).sync();
        let counts = gateway.mill.ledgers();
        let counts: Vec<u64> = counts.map(|(_, ledger)| ledger.received).collect();
        assert_eq!(counts, [2, 1], "crash: {crash}");
    }
}

#[test]
fn receipts_hold_across_a_change_of_version_and_tell_properties_apart_within_one() {
    let mut gateway = Gateway::new(&[counter()]);
    gateway.sync();
    let message = |packet, dup, properties: &str| {
        let mut event = Event::new(Topic::new("s/a").unwrap(), "x", 0);
        event.origin = Origin::Mqtt(Some(Delivery {
            epoch: 1,
            packet,
            dup,
            fingerprint: fingerprint("s/a", "x", properties),
        }));
        Input::Events(vec![event])
    };
    gateway.step(message(1, false, "eid 1")).after(50).sync();
    gateway.crash().step(Input::Disconnected);
    gateway
        .connect(Version::V311, true)
        .step(message(1, true, ""));
    assert_eq!(gateway.mill.intake_counts().repeated, 1);
    gateway.step(Input::Disconnected);
    gateway.connect(Version::V5, true);
    gateway.step(message(1, true, "eid 2")).after(50).sync();
    assert_eq!(
        gateway.mill.intake_counts().repeated,
        1,
        "it is another one"
    );
    assert_eq!(gateway.mill.ledgers().next().unwrap().1.received, 2);
}

#[test]
fn an_event_with_a_name_counts_once_whatever_the_broker_forgets() {
    let mut gateway = Gateway::new(&[counter()]);
    gateway
        .event(1, false, "s/a", r#"{"id":"d:1"}"#)
        .after(50)
        .sync()
        .said
        .clear();
    gateway.crash().event(9, false, "s/a", r#"{"id":"d:1"}"#);
    gateway
        .event(10, false, "s/a", r#"{"id":"d:2"}"#)
        .after(50)
        .sync();
    gateway.expect(&["commit 5", "ack [9, 10]", "ship 0 Normal 2=2"]);
}

#[test]
fn a_number_is_one_where_its_sender_or_the_configuration_says_so() {
    for (numbers, kind, is_number) in [
        (true, "", true),
        (false, r#"{"eid-kind":"number"}"#, true),
        (false, r#"{"eid-kind":"name"}"#, false),
        (false, "", false),
    ] {
        let mut gateway = Gateway::new(&[counter()]);
        gateway.sync();
        let durable = gateway.mill.durable.as_mut().unwrap();
        durable.keeping.event_id_numbers = numbers;
        for n in (1..400).chain([1]) {
            let topic = Topic::new("s/a").unwrap();
            let mut event = Event::new(topic, format!(r#"{{"id":"d:{n}"}}"#), 0);
            event.properties = kind.into();
            gateway.step(Input::Events(vec![event]));
        }
        let counts = gateway.mill.intake_counts();
        let (too_old, repeated) = (u64::from(is_number), u64::from(!is_number));
        assert_eq!(
            (counts.routed, counts.too_old, counts.repeated),
            (399, too_old, repeated),
            "{numbers} {kind}"
        );
        assert_eq!(gateway.said.contains("Silenced"), is_number);
    }
}

#[test]
fn a_counter_that_starts_anew_counts_on_once_its_producer_is_forgotten() {
    let mut gateway = Gateway::new(&[counter()]);
    let mut packet = 0;
    let mut count = |gateway: &mut Gateway, n: u64| {
        packet += 1;
        gateway.event(packet, false, "s/a", &format!(r#"{{"id":"d:{n}"}}"#));
    };
    (1_000..1_300).for_each(|n| count(&mut gateway, n));
    gateway.after(50).sync();
    (1..=40).for_each(|n| count(&mut gateway, n));
    assert_eq!(gateway.mill.intake_counts().too_old, 40);
    gateway.step(Input::ForgetProducer("d".into()));
    gateway.after(50).sync().crash();
    (41..=43).for_each(|n| count(&mut gateway, n));
    gateway.step(Input::Flush).sync().crash();
    (43..=45).for_each(|n| count(&mut gateway, n));
    gateway.said.clear();
    gateway.expect(&[]);
    assert_eq!(gateway.mill.ledgers().next().unwrap().1.received, 305);
}

#[test]
fn what_was_not_acknowledged_is_sent_again_under_its_number() {
    let mut gateway = Gateway::new(&[counter()]);
    for packet in 1..=3 {
        gateway.event(packet, false, "s/a", &packet.to_string());
    }
    gateway
        .after(50)
        .sync()
        .acknowledge(0, 1, 1)
        .acknowledge(0, 3, 3);
    gateway.after(5_000).sync().said.clear();
    gateway.crash();
    gateway.after(5_000);
    let lane = gateway.mill.outbox().unwrap().lanes().next().unwrap();
    assert_eq!((lane.cursor(), lane.waiting(), lane.last_seq()), (1, 1, 3));
    gateway.crash().step(Input::Tick).said.clear();
    gateway.event(7, false, "s/a", "new").after(50).sync();
    gateway.expect(&["commit 6", "ack [7]", "ship 0 Normal 4=4"]);
}

#[test]
fn volatile_rules_write_nothing_and_hold_nothing_back() {
    let manifest =
        rule("count", "mqtt = [\"s/+\"]").replace("[on]", "durability = \"volatile\"\n[on]");
    let mut gateway = Gateway::new(&[(manifest, COUNTER)]);
    gateway.sync().said.clear();
    gateway.event(1, false, "s/a", "x");
    assert!(
        gateway.said.contains("Emission") && gateway.said.ends_with("ack [1]\n"),
        "{}",
        gateway.said
    );
    gateway.said.clear();
    gateway.step(Input::Confirmed {
        epoch: 1,
        acknowledged: 1,
    });
    gateway.after(100_000).expect(&[]);
}

#[test]
fn an_alarm_does_not_wait_for_the_interval() {
    let alarm = rule("alarm", "mqtt = [\"s/+\"]") + "priority = \"high\"\n";
    let mut gateway = Gateway::new(&[(alarm, COUNTER)]);
    gateway.sync().said.clear();
    gateway.event(1, false, "s/a", "x").expect(&["commit 4"]);
    gateway.sync().expect(&["ack [1]", "ship 0 High 1=1"]);
}

#[test]
fn two_ponds_and_what_follows_bring_everything_back() {
    let rules = [
        counter(),
        (rule("panes", "mqtt = [\"s/+\"]"), PANES),
        (rule("timer", "mqtt = [\"s/+\"]"), TIMER),
    ];
    let mut gateway = Gateway::new(&rules);
    for round in 0..10_u16 {
        for key in 0..30_u16 {
            gateway.event(round * 30 + key + 1, false, &format!("s/k{key}"), "");
        }
        gateway.after(50).sync();
        if round % 3 == 1 {
            gateway.step(Input::Flush).sync();
        }
        if round % 4 == 3 {
            gateway.crash();
        }
    }
    assert!(gateway.ponds.iter().all(|(lsn, _)| *lsn > 0));
    gateway.after(2_000).sync().said.clear();
    gateway.crash().expect(&[]);
}

#[test]
fn rows_of_windows_survive_a_crash_and_fire_once_with_all_of_them() {
    for (window, fired) in [
        (r#"{"length_ms":1000,"rows":true}"#, "0-1000:a,b,c,d"),
        (
            r#"{"kind":"session","length_ms":9000,"gap_ms":800,"rows":true}"#,
            "100-1250:a,b,c,d",
        ),
        (
            r#"{"kind":"sliding","length_ms":1000,"delay_ms":900,"rows":true}"#,
            "-900-1000:a,b,c,d",
        ),
        (
            r#"{"kind":"count","count":4,"rows":true}"#,
            "100-450:a,b,c,d",
        ),
    ] {
        let windowed = windows::windowed(window);
        let sliding = window.contains("sliding");
        let mut gateway = Gateway::new(&[windowed]);
        gateway.after(100);
        for (packet, row) in ["a", "b"].into_iter().enumerate() {
            let row = if sliding && row == "a" { "!a" } else { row };
            gateway.event(packet as u16 + 1, false, "s/a", row);
            gateway.after(50).sync();
        }
        gateway.crash();
        gateway.event(3, false, "s/a", "c").after(50).sync();
        gateway.step(Input::Flush).sync();
        gateway
            .after(200)
            .event(4, false, "s/a", "d")
            .after(50)
            .sync();
        gateway.crash().after(1).said.clear();
        let resumed = gateway.resumed.clone();
        gateway
            .after(100)
            .after(450)
            .after(150)
            .after(250)
            .after(2_000)
            .sync();
        let fired = if sliding {
            fired.replace("a,b", "!a,b")
        } else {
            fired.to_owned()
        };
        let told = gateway.said.matches(&fired).count() + resumed.matches(&fired).count();
        assert!(told > 0, "{window}: {resumed} {}", gateway.said);
        gateway.crash().after(5_000).sync();
        let row = gateway
            .mill
            .outbox()
            .unwrap()
            .lanes()
            .map(|lane| lane.last_seq())
            .max();
        assert_eq!(row, Some(1), "{window}");
    }
}

#[test]
fn a_dead_letter_is_kept_and_can_be_worked_on_once_more() {
    let mut gateway = Gateway::new(&[(rule("fragile", "mqtt = [\"s/+\"]"), FRAGILE)]);
    gateway.sync().said.clear();
    gateway
        .event(1, false, "s/a", r#"{"t":-1}"#)
        .after(50)
        .sync();
    gateway.crash();
    let shelf = gateway.mill.outbox().unwrap().dead_letters().unwrap();
    assert_eq!(
        (shelf.waiting(), &*shelf.row(1).unwrap().rule),
        (1, "fragile")
    );
    gateway.step(Input::Redrive(1)).after(50).sync();
    let shelf = gateway.mill.outbox().unwrap().dead_letters().unwrap();
    assert_eq!(
        (shelf.waiting(), shelf.last_seq()),
        (1, 2),
        "it failed again"
    );
    assert_eq!(gateway.mill.ledgers().next().unwrap().1.dead, 2);
    gateway.step(Input::DropDeadLetter(2)).after(50).sync();
    assert_eq!(
        gateway
            .mill
            .outbox()
            .unwrap()
            .dead_letters()
            .unwrap()
            .waiting(),
        0
    );
    gateway.said.clear();
    gateway.expect(&[]);
}

#[test]
fn a_message_of_no_use_is_a_dead_letter_once_and_acknowledged() {
    let mut gateway = Gateway::new(&[counter()]);
    gateway.sync().said.clear();
    let message = |dup| {
        let mut event = Event::new(Topic::new("s/a").unwrap(), "x", 0);
        event.fault = Some(EventFault::Malformed(Malformed::TopicAlias));
        event.origin = Origin::Mqtt(Some(Delivery {
            epoch: 1,
            packet: 7,
            dup,
            fingerprint: Fingerprint::default(),
        }));
        Input::Events(vec![event])
    };
    gateway
        .step(message(false))
        .expect(&["dead malformed: it uses a topic alias, and none was offered"]);
    gateway.after(50).sync().expect(&["commit 4", "ack [7]"]);
    gateway.crash();
    gateway.said.clear();
    gateway.step(message(true)).expect(&["ack [7]"]);
    let shelf = gateway.mill.outbox().unwrap().dead_letters().unwrap();
    assert_eq!((shelf.waiting(), shelf.last_seq()), (1, 1));
}

#[test]
fn the_reason_of_a_dead_letter_shows_what_stood_in_place_of_its_topic() {
    let check = |fault: EventFault, bad_topic: &str, reason: &str| {
        let mut gateway = Gateway::new(&[counter()]);
        gateway.sync().said.clear();
        let mut event = Event::new(Topic::none(), "x", 0);
        event.fault = Some(fault);
        event.bad_topic = Some(bad_topic.into());
        event.origin = Origin::Mqtt(Some(Delivery {
            epoch: 1,
            packet: 7,
            dup: false,
            fingerprint: Fingerprint::default(),
        }));
        gateway.step(Input::Events(vec![event]));
        gateway.expect(&[&format!("dead {reason}")]);
        gateway.after(50).sync().crash();
        let shelf = gateway.mill.outbox().unwrap().dead_letters().unwrap();
        let dead = crate::commit::record::Dead::decode(&shelf.row(1).unwrap().payload);
        assert_eq!(dead.unwrap().reason, reason);
    };
    let invalid = EventFault::InvalidTopic;
    check(invalid, "s/+/env", r#"its topic is not valid: "s/+/env""#);
    check(invalid, "", r#"its topic is not valid: """#);
    let alias = EventFault::Malformed(Malformed::TopicAlias);
    let why = "malformed: it uses a topic alias, and none was offered";
    check(alias, "", why);
    let both = format!(r#"{why}; its topic is not valid: "a/\xff""#);
    check(alias, r"a/\xff", &both);
}

#[test]
fn a_request_is_sent_again_with_the_same_rows_and_cut_when_refused() {
    let mut gateway = Gateway::new(&[counter()]);
    gateway.outlet = Outlet::Requests;
    gateway.crash().sync().said.clear();
    for packet in 1..=4 {
        gateway.event(packet, false, "s/a", &packet.to_string());
    }
    gateway
        .after(50)
        .sync()
        .expect(&["commit 4", "commit 5", "ack [1, 2, 3, 4]"]);
    gateway.sync().expect(&["ship 0 Normal 1=1 2=2 3=3 4=4"]);
    gateway
        .event(5, false, "s/a", "5")
        .after(50)
        .sync()
        .said
        .clear();
    gateway.crash();
    assert_eq!(gateway.resumed, "ship 0 Normal 1=1 2=2 3=3 4=4\n");
    let refuse = |first, last| {
        Input::Lane(LaneReport::Refused {
            destination: 0,
            priority: Priority::Normal,
            first,
            last,
            reason: "no".into(),
        })
    };
    gateway
        .step(refuse(1, 4))
        .sync()
        .expect(&["commit 7", "ship 0 Normal 1=1 2=2"]);
    gateway
        .step(refuse(1, 2))
        .sync()
        .expect(&["commit 8", "ship 0 Normal 1=1"]);
    gateway
        .step(refuse(1, 1))
        .sync()
        .expect(&["commit 9", "ship 0 Normal 2=2"]);
    gateway.acknowledge(0, 2, 2).sync().expect(&[
        "refused local/normal 1",
        "commit 10",
        "ship 0 Normal 3=3 4=4",
    ]);
    assert_eq!(
        gateway
            .mill
            .outbox()
            .unwrap()
            .dead_letters()
            .unwrap()
            .waiting(),
        1
    );
}

#[test]
fn a_lost_session_is_told_and_its_receipts_are_void() {
    let mut gateway = Gateway::new(&[counter()]);
    gateway.event(1, false, "s/a", "x").after(50).sync();
    let held = [tidemill_transport::topic::Subscription {
        id: 1,
        filter: tidemill_transport::topic::TopicFilter::new("s/+").unwrap(),
    }];
    gateway
        .step(Input::Subscribed(held.into()))
        .sync()
        .said
        .clear();
    gateway
        .step(Input::Disconnected)
        .connect(Version::V5, false);
    gateway
        .expect(&["SessionLost", "commit 6"])
        .sync()
        .expect(&["proceed"]);
    gateway.event(1, true, "s/a", "x").after(50).sync();
    gateway.expect(&["commit 7", "ack [1]", "ship 0 Normal 2=2"]);
    assert_eq!(
        gateway.mill.subscriptions_of("h:1 gw"),
        [(1, "s/+".to_owned())]
    );
}

#[test]
fn the_version_of_a_session_is_kept_with_its_subscriptions() {
    let mut gateway = Gateway::new(&[counter()]);
    let held = [tidemill_transport::topic::Subscription {
        id: 1,
        filter: tidemill_transport::topic::TopicFilter::new("s/+").unwrap(),
    }];
    for version in [Version::V5, Version::V311, Version::V5] {
        gateway.step(Input::Disconnected).connect(version, true);
        gateway.step(Input::Subscribed(held.to_vec())).sync();
        // Another connection of this process does not change what is written down.
        gateway.crash();
        assert_eq!(gateway.mill.version_of("h:1 gw"), Some(version));
        assert_eq!(gateway.mill.version_of("h:2 gw"), None);
        let known = gateway.mill.subscriptions_of("h:1 gw");
        assert_eq!(known, [(1, "s/+".to_owned())]);
    }
}

#[test]
fn deadlines_of_an_earlier_boot_stay_where_the_first_start_put_them() {
    let mut gateway = Gateway::new(&[(rule("timer", "mqtt = [\"s/+\"]"), TIMER)]);
    gateway.event(1, false, "s/a", "x").after(50).sync();
    gateway.now.mono_ms = 900;
    gateway.boot = "another boot";
    gateway.start();
    gateway
        .event(2, false, "s/b", "x")
        .after(40)
        .step(Input::Commit)
        .sync()
        .said
        .clear();
    gateway.crash().after(9).expect(&[]);
    gateway
        .after(1)
        .step(Input::Commit)
        .sync()
        .expect(&["commit 7", "ship 0 Normal 1=1"]);
}

#[test]
fn what_waits_goes_out_at_the_start_whatever_may_come_in() {
    let mut gateway = Gateway::new(&[counter()]);
    gateway.event(1, false, "s/a", "x").after(50).sync();
    gateway.said.clear();
    gateway.crash();
    assert_eq!(gateway.deployed, "ship 0 Normal 1=1\n");
}

#[test]
fn one_copy_of_an_event_with_a_name_is_for_all_rules() {
    let rules = [counter(), (rule("one", "mqtt = [\"s/a\"]"), COUNTER)];
    let mut gateway = Gateway::new(&rules);
    gateway.sync().said.clear();
    for (packet, id) in [(1, 1), (2, 2)] {
        let mut event = Event::new(Topic::new("s/a").unwrap(), r#"{"id":"d:1"}"#, 0);
        event.subscriptions = SubscriptionIds::One(id);
        event.origin = Origin::Mqtt(Some(Delivery {
            epoch: 1,
            packet,
            dup: false,
            fingerprint: fingerprint("s/a", "x", ""),
        }));
        gateway.step(Input::Events(vec![event]));
    }
    gateway.after(50).sync();
    gateway.expect(&["commit 4", "ack [1, 2]", "ship 0 Normal 1=1 2=1"]);
}

#[test]
fn a_copy_for_nobody_gets_a_receipt_and_is_nothing_new_after_a_deployment() {
    let mut gateway = Gateway::new(&[counter()]);
    gateway.sync().said.clear();
    let copy = |dup| {
        let mut event = Event::new(Topic::new("s/a").unwrap(), "x", 0);
        event.subscriptions = SubscriptionIds::One(99);
        event.origin = Origin::Mqtt(Some(Delivery {
            epoch: 1,
            packet: 5,
            dup,
            fingerprint: fingerprint("s/a", "x", ""),
        }));
        event
    };
    gateway.step(Input::Events(vec![copy(false)]));
    gateway.after(50).sync();
    gateway.expect(&["commit 4", "ack [5]"]);
    let mut again = copy(true);
    again.subscriptions = SubscriptionIds::Unknown;
    gateway.step(Input::Events(vec![again]));
    gateway.expect(&["ack [5]"]);
    assert_eq!(gateway.mill.intake_counts().repeated, 1);
}

#[test]
fn a_rule_that_goes_leaves_its_last_state_in_the_next_checkpoint() {
    let one = || (rule("one", "mqtt = [\"s/a\"]"), COUNTER);
    let mut gateway = Gateway::new(&[counter(), one()]);
    for _ in 0..2 {
        gateway.step(Input::Flush).sync();
    }
    gateway.event(1, false, "s/a", "x").after(50).sync();
    gateway.deploy(&[counter()]);
    for _ in 0..2 {
        gateway.step(Input::Flush).sync();
    }
    gateway.rules.push(one());
    gateway.crash();
    gateway.event(2, false, "s/a", "y").after(50).sync();
    let sent = "ship 0 Normal 3=2 4=2\n";
    assert!(gateway.said.ends_with(sent), "{}", gateway.said);
}
