//! Verdicts of brokers on messages: out of turn, for good, or without a word.

use std::collections::BTreeSet;

use super::*;
use crate::mqtt_source::script::{Line, Script};

const GAP: &str = "tidemill/v1/gateway/gw/gap";

/// A CONNACK of MQTT 5 with one property, and one of 3.1.1.
pub(super) fn connack(protocol: Protocol, property: &[u8]) -> Vec<u8> {
    let length = property.len() as u8;
    match protocol {
        Protocol::V5 => [&[0x20, 3 + length, 0, 0, length], property].concat(),
        _ => vec![0x20, 2, 0, 0],
    }
}

/// The next PUBLISH: its topic and packet identifier.
pub(super) fn published(line: &mut Line) -> (String, u16) {
    let (first, body) = line.read_but_pings();
    assert_eq!(first & 0xf6, 0x32, "a PUBLISH at QoS 1");
    let topic_ends = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
    let topic = String::from_utf8(body[2..topic_ends].to_vec()).unwrap();
    let packet = u16::from_be_bytes([body[topic_ends], body[topic_ends + 1]]);
    (topic, packet)
}

pub(super) fn acknowledge(line: &mut Line, packet: u16) {
    let [high, low] = packet.to_be_bytes();
    line.write(&[0x40, 2, high, low]);
}

/// The numbers of rows that were settled, and of those that were refused.
pub(super) fn settled(reports: &[LaneReport]) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let (mut taken, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for report in reports {
        match report {
            LaneReport::Acknowledged { first, last, .. } => taken.extend(*first..=*last),
            LaneReport::Refused { first, last, .. } => refused.extend(*first..=*last),
            LaneReport::RequestBytes { .. } => panic!("{report:?}"),
        }
    }
    (taken, refused)
}

fn gap_row(seq: u64) -> Row {
    Row {
        rule: "".into(),
        ..row_to(GAP, seq)
    }
}

#[test]
fn acknowledgements_may_come_in_any_order_whatever_the_receive_maximum() {
    for (protocol, receive_maximum, in_flight) in [
        (Protocol::V5, 1, 100),
        (Protocol::V5, 3, 100),
        (Protocol::V5, 40, 100),
        (Protocol::V5, 65_535, 7),
        (Protocol::V311, 65_535, 20),
    ] {
        let script = Script::new(protocol);
        let mut settings = upstream(script.port(), protocol);
        settings.inflight_max = in_flight;
        let destinations = Destinations::start(vec![settings]);
        destinations.handle.ship(0, Priority::Normal, rows(1..=240));
        let mut line = script.silent();
        let [high, low] = u16::to_be_bytes(receive_maximum);
        line.write(&connack(protocol, &[33, high, low]));
        let window = usize::from(receive_maximum.min(in_flight));
        // The first is acknowledged last, the others from the newest to the oldest.
        let mut open: Vec<u16> = Vec::new();
        for number in 1..=240 {
            let (_, packet) = published(&mut line);
            assert!(!open.contains(&packet), "{packet} is in use");
            open.push(packet);
            if open.len() == window || number == 240 {
                let kept = usize::from(window > 1 && number < 240);
                open.split_off(kept)
                    .into_iter()
                    .rev()
                    .for_each(|packet| acknowledge(&mut line, packet));
            }
        }
        let all = (1..=240).collect();
        let reports = destinations.lane_reports(|reports| settled(reports).0 == all);
        assert_eq!(settled(&reports).1, BTreeSet::new());
        destinations.handle.stop(Duration::ZERO);
    }
}

#[test]
fn a_broker_that_wants_no_keep_alive_is_not_pinged_without_pause() {
    let script = Script::new(Protocol::V5);
    let mut settings = upstream(script.port(), Protocol::V5);
    settings.keep_alive = Duration::from_secs(600);
    settings.timeout = Duration::from_secs(600);
    let destinations = Destinations::start(vec![settings]);
    let mut line = script.silent();
    line.write(&connack(Protocol::V5, &[19, 0, 0]));
    destinations.until_connected();
    for seq in 1..=3 {
        destinations
            .handle
            .ship(0, Priority::Normal, rows(seq..=seq));
        let (first, body) = line.read();
        assert_eq!(first, 0x32, "no ping comes between");
        acknowledge(&mut line, u16::from_be_bytes([body[5], body[6]]));
        destinations.lane_reports(|all| all.iter().any(|r| is_end(r, Priority::Normal, seq)));
    }
    destinations.handle.stop(PATIENCE);
}

#[test]
fn a_broker_that_acknowledges_nothing_is_named_in_the_status() {
    for (qos, named) in [(0, true), (1, false)] {
        let broker = Broker::start(&format!("max_qos {qos}"));
        let destinations = Destinations::start(vec![upstream(broker.port(), Protocol::V5)]);
        destinations.until_connected();
        let status = destinations.handle.status().remove(0);
        assert_eq!(status.unconfirmed.is_some(), named, "{status:?}");
        destinations.handle.stop(PATIENCE);
    }
}

#[test]
fn a_gap_record_that_the_access_list_refuses_holds_nothing_up() {
    for protocol in BOTH {
        let mut broker = Broker::stopped("");
        let list = broker.path("acl");
        std::fs::write(&list, "topic readwrite out\n").unwrap();
        broker.add(&format!("acl_file {}", list.display()));
        broker.run();
        let destinations = Destinations::start(vec![upstream(broker.port(), protocol)]);
        let mut batch = rows(1..=3);
        batch[1] = gap_row(2);
        destinations.handle.ship(0, Priority::Normal, batch);
        let reports = destinations.lane_reports(|all| {
            let (taken, refused) = settled(all);
            taken.len() + refused.len() == 3
        });
        // Over 3.1.1 mosquitto acknowledges what it drops.
        let refused = match protocol {
            Protocol::V5 => BTreeSet::from([2]),
            _ => BTreeSet::new(),
        };
        assert_eq!(settled(&reports).1, refused, "{protocol:?} {reports:?}");
        destinations.handle.stop(PATIENCE);
    }
}

/// Reaction of a broker to a message to a topic that it does not allow.
#[derive(Debug, Clone, Copy)]
enum Denial {
    HangUp,
    Disconnect,
    /// A PUBACK with this reason code.
    Code(u8),
}

/// A broker that takes what goes to `out`, and connections until it is told to end by a topic `end`.
fn denying(protocol: Protocol, denial: Denial) -> u16 {
    let script = Script::new(protocol);
    let port = script.port();
    std::thread::spawn(move || {
        while let Some(mut line) = script.try_accept(&connack(protocol, &[])) {
            while let Some((first, body)) = line.try_read() {
                let is_acknowledged = first & 0x06 != 0;
                if first & 0xf0 != 0x30 || !is_acknowledged {
                    continue;
                }
                let topic_ends = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                let packet = [body[topic_ends], body[topic_ends + 1]];
                let is_allowed = &body[2..topic_ends] == b"out";
                match denial {
                    _ if is_allowed => line.write(&[&[0x40, 2][..], &packet].concat()),
                    Denial::Code(code) => {
                        line.write(&[&[0x40, 3][..], &packet, &[code]].concat());
                    }
                    Denial::Disconnect => {
                        line.write(&[0xe0, 2, 0x87, 0]);
                        break;
                    }
                    Denial::HangUp => break,
                }
            }
        }
    });
    port
}

#[test]
fn a_gap_record_over_which_a_broker_hangs_up_becomes_a_dead_letter() {
    for (protocol, denial) in [
        (Protocol::V311, Denial::HangUp),
        (Protocol::V5, Denial::HangUp),
        (Protocol::V5, Denial::Disconnect),
        (Protocol::V5, Denial::Code(0x87)),
        (Protocol::V5, Denial::Code(0x90)),
        (Protocol::V5, Denial::Code(0x83)),
    ] {
        let port = denying(protocol, denial);
        let destinations = Destinations::start(vec![upstream(port, protocol)]);
        let mut batch = rows(1..=3);
        batch[1] = gap_row(2);
        destinations.handle.ship(0, Priority::Normal, batch);
        let reports = destinations.lane_reports(|all| {
            let (taken, refused) = settled(all);
            taken.len() + refused.len() == 3
        });
        let refused = settled(&reports).1;
        assert_eq!(refused, BTreeSet::from([2]), "{protocol:?} {denial:?}");
        destinations.handle.stop(Duration::ZERO);
    }
}

#[test]
fn a_row_over_which_a_broker_hangs_up_stalls_its_lane_and_no_other() {
    for (protocol, denial) in [
        (Protocol::V311, Denial::HangUp),
        (Protocol::V5, Denial::Disconnect),
    ] {
        let port = denying(protocol, denial);
        let destinations = Destinations::start(vec![upstream(port, protocol)]);
        let denied = vec![row_to("secret", 1)];
        destinations.handle.ship(0, Priority::Normal, denied);
        let stalled = || destinations.handle.status()[0].stalled.clone();
        wait_until(|| stalled().is_some(), || "no stall".to_owned());
        let why = stalled().unwrap();
        assert!(
            why.contains("secret") && why.contains("access list"),
            "{why}"
        );
        destinations.handle.ship(0, Priority::High, rows(1..=3));
        destinations.until_acknowledged(Priority::High, 3);
        // It is never given up; the status follows the reports.
        let rows = || destinations.handle.status()[0].rows;
        wait_until(|| rows() == 1, || format!("{} rows", rows()));
        destinations.handle.stop(Duration::ZERO);
    }
}

#[test]
fn a_row_over_which_a_broker_hangs_up_is_found_beside_messages_that_nobody_acknowledges() {
    let port = denying(Protocol::V311, Denial::HangUp);
    let destinations = Destinations::start(vec![upstream(port, Protocol::V311)]);
    let denied = vec![row_to("secret", 1)];
    destinations.handle.ship(0, Priority::Normal, denied);
    let unacknowledged = Outgoing {
        destination: 0,
        topic: Topic::new("out").unwrap(),
        payload: "21.5".into(),
        qos: 0,
        retain: false,
    };
    let stalled = || {
        destinations.handle.send(vec![unacknowledged.clone()]);
        destinations.handle.status()[0].stalled.clone()
    };
    wait_until(|| stalled().is_some(), || "no stall".to_owned());
    destinations.handle.stop(Duration::ZERO);
}
