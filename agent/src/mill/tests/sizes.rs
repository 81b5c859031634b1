//! Commits that are far longer than a record of the journal may be, and what makes many of them: none is
//! too long to be written, and none is in memory in one piece that need not be.

use super::durable::Gateway;
use super::*;
use crate::commit::outbox::Lane;
use crate::commit::record::{Dead, part_of};
use crate::event::clock::Quality;
use crate::event::emission::{LaneReport, Priority, Row};
use crate::event::{Delivery, Origin};

/// Passes everything on.
const PASS: &str = r#"(module (func (export "f") (result i32) (i32.const 1))
    (@custom "tidemill.manifest" "{\"abi\":1}"))"#;

/// Fails on everything.
const BROKEN: &str = r#"(module (func (export "f") (result i32) (unreachable))
    (@custom "tidemill.manifest" "{\"abi\":1}"))"#;

const RECORD_BYTES_MAX: usize = 64 << 10;

fn gateway(rules: &[(String, &'static str)]) -> Gateway {
    let mut gateway = Gateway::new(rules);
    gateway.record_bytes_max = RECORD_BYTES_MAX;
    gateway.settle().crash().settle().said.clear();
    gateway
}

fn pass() -> (String, &'static str) {
    (rule("pass", "mqtt = [\"s/+\"]"), PASS)
}

fn message(packet: u16, bytes: usize) -> Event {
    let mut event = Event::new(Topic::new("s/a").unwrap(), vec![b'x'; bytes], 0);
    event.origin = Origin::Mqtt(Some(Delivery {
        epoch: 1,
        packet,
        dup: false,
        fingerprint: crate::event::Fingerprint {
            hash: packet.into(),
            content: packet.into(),
        },
    }));
    event
}

fn lane<'a>(gateway: &'a Gateway, name: &str) -> &'a Lane {
    let mut lanes = gateway.mill.outbox().unwrap().lanes();
    lanes.find(|lane| lane.id().to_string() == name).unwrap()
}

fn balanced(gateway: &Gateway) {
    let mut out = Vec::new();
    gateway.mill.check_ledgers(&mut out);
    assert!(out.is_empty(), "{out:?}");
}

#[test]
fn a_commit_that_is_longer_than_a_record_counts_whole_or_not_at_all() {
    let mut gateway = gateway(&[pass()]);
    let first = gateway.mill.lsns().1 + 1;
    gateway.step(Input::Events(vec![message(1, 3 << 20)]));
    let parts = gateway.unsynced().len();
    assert!(parts > 40, "{parts}");
    // All but the last part is on stable storage: nothing may be let go.
    gateway.sync_some(parts - 1);
    assert_eq!(gateway.mill.lsns().1, first - 1);
    assert!(!gateway.said.contains("ack") && !gateway.said.contains("ship"));
    let mut whole = gateway.unsynced().len();
    assert_eq!(whole, 1);
    // The power fails, and what is there of it never was.
    gateway.crash().settle().said.clear();
    let made = |lane: &Lane| lane.counts().made;
    assert_eq!(
        gateway
            .mill
            .outbox()
            .unwrap()
            .lanes()
            .map(made)
            .sum::<u64>(),
        0
    );
    gateway.step(Input::Events(vec![message(1, 3 << 20)]));
    whole = gateway.unsynced().len();
    assert_eq!(whole, parts);
    gateway.settle();
    assert!(gateway.said.contains("ack [1]\n") && gateway.said.contains("ship 0 Normal 1="));
    gateway.crash();
    assert!(gateway.resumed.contains("ship 0 Normal 1=") || gateway.said.is_empty());
    assert_eq!(lane(&gateway, "local/normal").counts().made, 1);
    gateway.acknowledge(0, 1, 1).after(5_000).settle();
    balanced(&gateway);
}

#[test]
fn user_properties_of_dead_letters_are_counted_and_cut() {
    let mut gateway = gateway(&[(rule("broken", "mqtt = [\"s/+\"]"), BROKEN)]);
    let letters = (1..=60).map(|packet| {
        let mut event = message(packet, 100);
        event.properties = vec![b' '; if packet == 60 { 3 << 20 } else { 500_000 }].into();
        event
    });
    let letters = letters.collect();
    gateway.step(Input::Events(letters));
    assert!(
        gateway.most_unsynced < 40 << 20,
        "{}",
        gateway.most_unsynced
    );
    gateway.settle().crash();
    let shelf = gateway.mill.outbox().unwrap().dead_letters().unwrap();
    assert_eq!(shelf.counts().made, 60);
    assert!(shelf.waiting() > 1 && shelf.waiting_bytes() <= 2 << 20);
    let last = shelf
        .rows()
        .last()
        .map(|row| Dead::decode(&row.payload).unwrap());
    let last = last.unwrap();
    let left = (last.payload.len(), last.properties.len(), last.missing);
    assert_eq!(left, (100, 0, 3 << 20));
    // Nobody works on half an event.
    let seq = shelf.last_seq();
    gateway.step(Input::Redrive(seq));
    assert!(
        gateway
            .mill
            .outbox()
            .unwrap()
            .dead_letters()
            .unwrap()
            .row(seq)
            .is_some()
    );
    balanced(&gateway);
}

#[test]
fn a_flood_of_dead_letters_is_committed_before_any_is_only_counted() {
    // Payloads that are no JSON: a fault of the function would end in quarantine.
    let mut gateway = gateway(&[(rule("fragile", "mqtt = [\"s/+\"]"), FRAGILE)]);
    gateway.step(Input::Events(
        (1..=900).map(|packet| message(packet, 1)).collect(),
    ));
    gateway.settle();
    let shelf = gateway.mill.outbox().unwrap().dead_letters().unwrap();
    assert_eq!(shelf.counts().made, 900);
}

#[test]
fn a_dead_letter_takes_nothing_from_one_of_another_event_in_its_batch() {
    let broken = |n: usize| (rule(&format!("r{n:03}"), "mqtt = [\"s/+\"]"), BROKEN);
    let mut gateway = gateway(&[broken(1)]);
    let bytes = 900_000;
    let both = vec![message(1, bytes), message(2, bytes)];
    gateway.step(Input::Events(both)).settle();
    let shelf = gateway.mill.outbox().unwrap().dead_letters().unwrap();
    let kept = |row: &Row| Dead::decode(&row.payload).unwrap().payload.len();
    let kept: Vec<_> = shelf.rows().map(kept).collect();
    assert_eq!(kept, [bytes; 2]);
    balanced(&gateway);
    // Nor does one of many rules: each event has room for so many.
    let rules: Vec<_> = (0..200).map(broken).collect();
    let mut gateway = self::gateway(&rules);
    gateway.step(Input::Events(vec![message(1, 1), message(2, 1)]));
    gateway.settle();
    let shelf = gateway.mill.outbox().unwrap().dead_letters().unwrap();
    assert_eq!(shelf.counts().made, 400);
    balanced(&gateway);
}

#[test]
fn rows_of_a_destination_that_is_given_up_go_some_at_a_time() {
    let mut gateway = gateway(&[pass()]);
    for packet in 1..=150 {
        gateway
            .step(Input::Events(vec![message(packet, 200_000)]))
            .sync();
    }
    assert_eq!(lane(&gateway, "local/normal").waiting(), 150);
    gateway.most_unsynced = 0;
    gateway.discard = vec!["local".to_owned()];
    gateway.deploy(&[]);
    gateway.crash().settle().after(5_000).settle();
    let given_up = lane(&gateway, "local/normal");
    assert_eq!((given_up.waiting(), given_up.counts().dead), (0, 150));
    assert!(gateway.most_unsynced < 4 << 20, "{}", gateway.most_unsynced);
    assert_eq!(lane(&gateway, "dead-letters/normal").counts().made, 150);
    balanced(&gateway);
    gateway.crash();
    assert_eq!(lane(&gateway, "local/normal").counts().dead, 150);
}

#[test]
fn a_destination_that_refuses_everything_fills_no_commit() {
    let mut gateway = gateway(&[pass()]);
    gateway.step(Input::Events(
        (1..=30).map(|packet| message(packet, 30_000)).collect(),
    ));
    gateway.settle();
    for seq in 1..=15 {
        gateway.step(Input::Lane(LaneReport::Refused {
            destination: 0,
            priority: Priority::Normal,
            first: seq,
            last: seq,
            reason: "it is too large".to_owned(),
        }));
    }
    // Two or three make a commit: nothing waits until there are too many for one.
    assert!(
        gateway.unsynced().len() >= 5,
        "{}",
        gateway.unsynced().len()
    );
    assert_eq!(lane(&gateway, "dead-letters/normal").counts().made, 15);
    gateway.after(5_000).settle().crash();
    assert_eq!(lane(&gateway, "local/normal").counts().dead, 15);
    balanced(&gateway);
}

#[test]
fn rows_that_keep_old_segments_are_written_again_some_at_a_time() {
    let alarms = rule("alarms", "mqtt = [\"h/+\"]")
        .replace("[ports.out]", "[ports.out]\npriority = \"high\"");
    let mut gateway = gateway(&[(alarms, PASS), pass()]);
    gateway.bounds.pinned_bytes = 0;
    gateway.crash().settle();
    for packet in 1..=40 {
        gateway
            .step(Input::Events(vec![message(packet, 30_000)]))
            .settle();
    }
    for n in 1..=120 {
        let mut event = message(100 + n, 100_000);
        event.topic = Topic::new("h/a").unwrap();
        gateway.step(Input::Events(vec![event])).settle();
        gateway.step(Input::Lane(LaneReport::Acknowledged {
            destination: 0,
            priority: Priority::High,
            first: n.into(),
            last: n.into(),
        }));
    }
    let before = gateway.journal_begins();
    gateway.most_unsynced = 0;
    for _ in 0..2 {
        gateway.step(Input::Flush).settle();
    }
    for _ in 0..6 {
        gateway.after(5_000).settle();
    }
    for _ in 0..2 {
        gateway.step(Input::Flush).settle();
    }
    assert!(
        gateway.journal_begins() > before + 100,
        "{}",
        gateway.journal_begins()
    );
    assert!(gateway.most_unsynced < 1 << 20, "{}", gateway.most_unsynced);
    gateway.crash().settle();
    assert_eq!(lane(&gateway, "local/normal").waiting(), 40);
    gateway.acknowledge(0, 1, 40).after(5_000).settle();
    balanced(&gateway);
}

#[test]
fn a_power_gap_that_is_closed_late_moves_any_number_of_timers_at_once() {
    let timer = TIMER.replace("100)", "10000)");
    let mut gateway = gateway(&[(rule("w", "mqtt = [\"s/+\"]"), Box::leak(timer.into()))]);
    gateway.now.quality = Quality::Synced;
    for n in 0..3_000_u16 {
        gateway.event(n + 1, false, &format!("s/{n}"), "x");
    }
    gateway.after(50).settle();
    gateway.now = Now {
        mono_ms: 500,
        quality: Quality::None,
        ..gateway.now
    };
    gateway.boot = "another boot";
    gateway.crash().after(50).settle();
    gateway.now.wall_ms += 4_000;
    gateway.now.quality = Quality::Synced;
    gateway.after(0).after(50);
    let mut records = gateway.unsynced().iter();
    let is_in_parts = records.any(|(_, bytes)| part_of(bytes).is_some());
    assert!(is_in_parts, "one record holds all of it");
    // Half of it on stable storage is none of it.
    gateway.sync_some(1).crash().after(50).settle();
    // A replay comes to the same state as the mill: the harness compares.
    gateway.crash();
}

#[test]
fn on_a_full_disk_nothing_is_made_and_what_makes_room_is_done_at_once() {
    let window = windows::windowed(r#"{"length_ms":1000,"rows":true}"#);
    let timer = rule("timer", "mqtt = [\"t/+\"]");
    let mut gateway = gateway(&[window, (timer, TIMER)]);
    for _ in 0..2 {
        gateway.step(Input::Flush).settle();
    }
    gateway.event(1, false, "s/a", "!x").settle();
    gateway.event(2, false, "t/a", "x").after(50).settle();
    let before = gateway.journal_begins();
    gateway.step(Input::Room(Room::Short)).settle().said.clear();
    assert!(gateway.mill.is_full());
    // Timers and windows wait, and nothing wakes the loop for them.
    gateway.after(5_000).settle();
    assert!(!gateway.said.contains("ship"), "{}", gateway.said);
    assert!(gateway.unsynced().is_empty());
    // Two checkpoints within seconds give the journal up to here back; usual is one in ten minutes.
    gateway.after(1_000).settle().after(1_000).settle();
    let begins = gateway.journal_begins();
    assert!(begins > before, "{begins}");
    gateway.step(Input::Room(Room::Plenty));
    gateway.after(0).after(50).settle();
    assert!(!gateway.mill.is_full());
    assert!(gateway.said.contains("ship"), "{}", gateway.said);
    balanced(&gateway);
    gateway.crash();
}

#[test]
fn rows_that_are_written_again_leave_after_the_commit_interval() {
    let alarms = rule("alarms", "mqtt = [\"h/+\"]")
        .replace("[ports.out]", "[ports.out]\npriority = \"high\"");
    let mut gateway = gateway(&[(alarms, PASS), pass()]);
    (gateway.bounds.pinned_bytes, gateway.bounds.handed_rows) = (1_000, 2);
    gateway.crash().settle();
    for packet in 1..=20 {
        gateway
            .step(Input::Events(vec![message(packet, 300)]))
            .settle();
    }
    let acknowledged = |priority, first, last| {
        Input::Lane(LaneReport::Acknowledged {
            destination: 0,
            priority,
            first,
            last,
        })
    };
    for n in 1..=10 {
        let mut event = message(100 + n, 100_000);
        event.topic = Topic::new("h/a").unwrap();
        gateway.step(Input::Events(vec![event])).settle();
        gateway.step(acknowledged(Priority::High, n.into(), n.into()));
    }
    gateway.after(50).settle();
    for _ in 0..2 {
        gateway.step(Input::Flush).settle();
    }
    // They keep much more of the journal than they are, so they are in a commit of their own.
    gateway.said.clear();
    gateway.step(acknowledged(Priority::Normal, 1, 2));
    assert!(!gateway.said.contains("ship"), "{}", gateway.said);
    gateway.after(50).settle();
    assert!(
        gateway.said.contains("ship 0 Normal 3="),
        "{}",
        gateway.said
    );
    balanced(&gateway);
    gateway.crash();
}

#[test]
fn rows_that_keep_a_full_disk_full_are_written_again_at_once() {
    let alarms = rule("alarms", "mqtt = [\"h/+\"]")
        .replace("[ports.out]", "[ports.out]\npriority = \"high\"");
    let mut gateway = gateway(&[(alarms, PASS), pass()]);
    gateway.bounds.relocated_bytes = 2_000;
    gateway.crash().settle();
    for packet in 1..=40 {
        gateway
            .step(Input::Events(vec![message(packet, 300)]))
            .settle();
    }
    for n in 1..=40 {
        let mut event = message(100 + n, 100_000);
        event.topic = Topic::new("h/a").unwrap();
        gateway.step(Input::Events(vec![event])).settle();
        gateway.step(Input::Lane(LaneReport::Acknowledged {
            destination: 0,
            priority: Priority::High,
            first: n.into(),
            last: n.into(),
        }));
    }
    for _ in 0..2 {
        gateway.step(Input::Flush).settle();
    }
    let before = gateway.journal_begins();
    gateway.most_unsynced = 0;
    gateway.step(Input::Room(Room::Short)).settle();
    // The room left on the disk is looked at after each of them.
    assert!(gateway.most_unsynced < 4_000, "{}", gateway.most_unsynced);
    for _ in 0..4 {
        gateway.after(500).settle();
    }
    let begins = gateway.journal_begins();
    assert!(begins > before + 40, "{before} {begins}");
    gateway.crash().settle();
    assert_eq!(lane(&gateway, "local/normal").waiting(), 40);
    balanced(&gateway);
}

fn long_topic() -> String {
    "t".repeat(60_000)
}

#[test]
fn topics_of_dead_letters_count_as_what_a_batch_keeps() {
    let manifest = |n: usize| rule(&format!("r{n:02}"), "mqtt = [\"s/+\"]");
    let rules: Vec<_> = (0..40).map(|n| (manifest(n), BROKEN)).collect();
    let mut gateway = gateway(&rules);
    let mut event = message(1, 1);
    event.topic = Topic::new(&format!("s/{}", long_topic())).unwrap();
    gateway.step(Input::Events(vec![event]));
    gateway.settle();
    let shelf = gateway.mill.outbox().unwrap().dead_letters().unwrap();
    // So many fit into 1 MiB.
    assert_eq!((shelf.counts().made, shelf.waiting()), (17, 17));
    balanced(&gateway);
}

#[test]
fn topics_of_emissions_count_as_what_an_event_costs() {
    let manifest = |n: usize| {
        let long = format!("\"out/{}/", long_topic());
        rule(&format!("r{n:02}"), "mqtt = [\"s/+\"]").replace("\"out/", &long)
    };
    let rules: Vec<_> = (0..80).map(|n| (manifest(n), PASS)).collect();
    let mut gateway = gateway(&rules);
    gateway.step(Input::Events(vec![message(1, 1)]));
    gateway.settle();
    // So many fit into 4 MiB.
    assert_eq!(lane(&gateway, "local/normal").counts().made, 69);
    let shelf = gateway.mill.outbox().unwrap().dead_letters().unwrap();
    let reason = |row: &Row| Dead::decode(&row.payload).unwrap().reason;
    let reasons: Vec<_> = shelf.rows().map(reason).collect();
    assert_eq!(reasons, ["event too costly"; 11]);
    balanced(&gateway);
}
