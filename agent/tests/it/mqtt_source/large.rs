//! Messages above the limit: of whatever length, they cost neither connection nor session.

use tidemill::event::{Event, EventFault};
use tidemill_tests::{Broker, Peer};

use super::*;

const LIMIT: usize = 1 << 20;

/// Events before the event "end", and the number of connections that they took.
fn until_end(source: &Source) -> (Vec<Event>, usize) {
    let (mut events, mut connections): (Vec<Event>, usize) = (Vec::new(), 0);
    loop {
        match source.next() {
            SourceReport::Connected { .. } => connections += 1,
            SourceReport::Events(some) => events.extend(some),
            _ => {}
        }
        if events.last().is_some_and(|event| event.payload == "end") {
            events.pop();
            return (events, connections);
        }
    }
}

/// Lengths as they came, faults marked.
fn lengths(events: &[Event]) -> Vec<(usize, bool)> {
    let length = |event: &Event| match event.fault {
        Some(EventFault::TooLarge { bytes }) if event.payload.is_empty() => (bytes - 1, true),
        None => (event.payload.len(), false),
        other => panic!("{other:?}"),
    };
    events.iter().map(length).collect()
}

#[test]
fn messages_of_any_length_cost_neither_connection_nor_session() {
    for protocol in BOTH {
        let broker = Broker::start("max_queued_messages 0");
        let source = Source::start(broker.port(), protocol, &[], &[(1, "a")]);
        source.until_held(1);
        let mut peer = Peer::connect(broker.port(), "peer");
        let all = [11_000, 2 << 20, LIMIT - 1, LIMIT, 200_000_000, 12_000];
        for bytes in all {
            peer.publish("a", &vec![b'x'; bytes], 1, false);
        }
        peer.publish("a", b"end", 1, false);
        let (events, connections) = until_end(&source);
        assert_eq!(connections, 0, "{protocol:?}");
        let expected: Vec<_> = all.iter().map(|bytes| (*bytes, *bytes >= LIMIT)).collect();
        assert_eq!(lengths(&events), expected, "{protocol:?}");
        source.stop();
    }
}

#[test]
fn what_is_too_large_leaves_the_window_of_the_broker() {
    for protocol in BOTH {
        let broker = Broker::start("max_inflight_messages 20\nmax_queued_messages 0");
        let mut settings = settings(broker.port(), protocol);
        settings.packet_bytes_max = 2_000;
        let source = Source::with(settings, &[], &[(1, "a")], 1_000);
        source.until_held(1);
        let mut peer = Peer::connect(broker.port(), "peer");
        peer.publish_all((0..50).map(|_| ("a".to_owned(), vec![b'x'; 5_000])));
        peer.publish("a", b"end", 1, false);
        let (events, connections) = until_end(&source);
        assert_eq!((events.len(), connections), (50, 0), "{protocol:?}");
        source.stop();
    }
}

#[test]
fn a_retained_message_beyond_all_limits_comes_once() {
    for protocol in BOTH {
        let broker = Broker::start("");
        let mut peer = Peer::connect(broker.port(), "peer");
        peer.publish("a", &vec![b'x'; 20_000_000], 1, true);
        let source = Source::start(broker.port(), protocol, &[], &[(1, "a")]);
        source.until_held(1);
        peer.publish("a", b"end", 1, false);
        let (events, _) = until_end(&source);
        assert_eq!(lengths(&events), [(20_000_000, true)], "{protocol:?}");
        source.stop();
    }
}

#[test]
fn one_that_is_not_acknowledged_comes_again_under_the_same_hash() {
    for protocol in BOTH {
        let mut broker = Broker::start("persistence true");
        let source = Source::silent(settings(broker.port(), protocol), &[], &[(1, "a")]);
        source.until_epoch();
        source.until_held(1);
        Peer::connect(broker.port(), "peer").publish("a", &vec![b'x'; 9 << 20], 1, false);
        let first = source.events(1).remove(0).delivery().unwrap();
        broker.stop();
        broker.run();
        let again = source.events(1).remove(0).delivery().unwrap();
        assert_eq!(
            (again.packet, again.fingerprint),
            (first.packet, first.fingerprint)
        );
        assert!(again.dup && !first.dup, "{protocol:?}");
        source.stop();
    }
}

#[test]
fn at_qos_0_there_is_nobody_to_acknowledge_it() {
    let broker = Broker::start("");
    let source = Source::start(broker.port(), Protocol::V311, &[], &[(1, "a")]);
    source.until_held(1);
    let mut peer = Peer::connect(broker.port(), "peer");
    peer.publish("a", &vec![b'x'; LIMIT], 0, false);
    let (mut dropped, mut reasons) = (0, Vec::new());
    for _ in 0..20 {
        peer.publish("a", &vec![b'x'; LIMIT], 0, false);
    }
    while dropped < 21 {
        let (count, reason) = source.until(|report| match report {
            SourceReport::Unusable { count, reason } => Some((count, reason)),
            _ => None,
        });
        dropped += count;
        reasons.push(reason);
    }
    let expected = format!(
        "to a: {} bytes are more than broker.packet_bytes_max",
        LIMIT + 1
    );
    assert!(
        reasons.iter().all(|reason| *reason == expected),
        "{reasons:?}"
    );
    source.stop();
}
