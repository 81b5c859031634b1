//! Messages at QoS 0 beside rows on a connection that the broker ends over one of them: it does not say
//! over which.

use std::collections::BTreeSet;

use super::verdicts::{acknowledge, connack, published, settled};
use super::*;
use crate::mqtt_source::script::{Line, Script};

/// DISCONNECT with one of the reasons that a single message may be.
const OVER_A_MESSAGE: [u8; 3] = [0x90, 0x95, 0x99];

fn at_qos_0(bytes: usize) -> Outgoing {
    Outgoing {
        destination: 0,
        topic: Topic::new("out/fast").unwrap(),
        payload: vec![b'x'; bytes].into(),
        qos: 0,
        retain: false,
    }
}

/// Reads the next PUBLISH, answers pings before it, and returns whether it is a row.
fn is_row(line: &mut Line) -> bool {
    let (first, _) = line.read_but_pings();
    assert_eq!(first & 0xf0, 0x30, "a PUBLISH");
    first & 0x06 != 0
}

fn disconnect(line: &mut Line, code: u8) {
    line.write(&[0xe0, 2, code, 0]);
}

fn refused(reports: &[LaneReport]) -> BTreeSet<u64> {
    settled(reports).1
}

/// Answers pings and acknowledges rows until nobody sends any more.
fn take_all(script: &Script) {
    while let Some(mut line) = script.try_accept(&connack(Protocol::V5, &[])) {
        while let Some((first, body)) = line.try_read() {
            match first {
                0xc0 => line.write(&[0xd0, 0]),
                0x32 | 0x3a => {
                    let topic_ends = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                    line.write(&[0x40, 2, body[topic_ends], body[topic_ends + 1]]);
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_row_is_not_convicted_for_a_message_at_qos_0_beside_it() {
    for code in OVER_A_MESSAGE {
        for row_first in [true, false] {
            let script = Script::new(Protocol::V5);
            let destinations = Destinations::start(vec![upstream(script.port(), Protocol::V5)]);
            let mut line = script.accept(false);
            for ships in [row_first, !row_first] {
                if ships {
                    destinations.handle.ship(0, Priority::Normal, rows(1..=1));
                } else {
                    destinations.handle.send(vec![at_qos_0(10)]);
                }
                assert_eq!(is_row(&mut line), ships);
            }
            disconnect(&mut line, code);
            drop(line);
            // The row comes alone, and is taken.
            let mut line = script.accept(false);
            let (topic, packet) = published(&mut line);
            assert_eq!(topic, "out");
            acknowledge(&mut line, packet);
            destinations.until_acknowledged(Priority::Normal, 1);
            destinations.handle.stop(Duration::ZERO);
        }
    }
}

#[test]
fn a_row_that_is_refused_is_found_beside_messages_at_qos_0() {
    let script = Script::new(Protocol::V5);
    let destinations = Destinations::start(vec![upstream(script.port(), Protocol::V5)]);
    let mut line = script.accept(false);
    destinations.handle.ship(0, Priority::Normal, rows(1..=2));
    let (mut rows, mut others) = (0, 0);
    while (rows, others) != (2, 1) {
        if rows == 2 {
            destinations.handle.send(vec![at_qos_0(10)]);
        }
        if is_row(&mut line) {
            rows += 1
        } else {
            others += 1
        }
    }
    disconnect(&mut line, 0x95);
    drop(line);
    // Nothing stands beside the first one, though a message at QoS 0 waits already.
    destinations.handle.send(vec![at_qos_0(10)]);
    let mut line = script.accept(false);
    published(&mut line);
    disconnect(&mut line, 0x95);
    drop(line);
    std::thread::scope(|scope| {
        scope.spawn(|| take_all(&script));
        let reports = destinations.lane_reports(|all| {
            let (taken, refused) = settled(all);
            taken.len() + refused.len() == 2
        });
        assert_eq!(refused(&reports), BTreeSet::from([1]));
        destinations.handle.stop(Duration::ZERO);
        // Ends the broker, which waits for somebody to come.
        drop(TcpStream::connect(("127.0.0.1", script.port())));
    });
}

#[test]
fn a_message_at_qos_0_over_which_a_broker_ends_connections_is_dropped_and_no_row() {
    // Longer than what the kernel takes of it while nobody reads.
    let script = Script::new(Protocol::V5);
    let mut settings = upstream(script.port(), Protocol::V5);
    settings.packet_bytes_max = 16 << 20;
    let destinations = Destinations::start(vec![settings]);
    destinations.handle.ship(0, Priority::Normal, rows(1..=3));
    destinations.handle.send(vec![at_qos_0(7 << 20)]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while let Some(mut line) = script.try_accept(&connack(Protocol::V5, &[])) {
                // It looks at the length of what comes, and takes nothing that is long.
                while let Some(first) = line.peek_kind() {
                    if first == 0x30 {
                        disconnect(&mut line, 0x95);
                        break;
                    }
                    if first == 0xc0 {
                        line.read();
                        line.write(&[0xd0, 0]);
                    } else {
                        let (_, packet) = published(&mut line);
                        acknowledge(&mut line, packet);
                    }
                }
            }
        });
        assert_eq!(destinations.until_settled(1), (0, 1));
        destinations.until_acknowledged(Priority::Normal, 3);
        destinations.handle.stop(Duration::ZERO);
        drop(TcpStream::connect(("127.0.0.1", script.port())));
    });
}
