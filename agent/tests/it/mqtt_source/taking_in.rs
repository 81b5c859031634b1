//! Whatever comes at QoS 1 is reported, so that it is acknowledged, also where no rule can use it.

use tidemill::event::EventFault;
use tidemill_tests::{Broker, Peer};

use super::script::Script;
use super::*;

#[test]
fn a_topic_that_is_none_is_reported_and_can_be_acknowledged() {
    for protocol in BOTH {
        let script = Script::new(protocol);
        let source = Source::silent(settings(script.port(), protocol), &[], &[]);
        let mut line = script.accept(true);
        let topics: [&[u8]; 3] = [b"a/+", b"a\xff", b"a\0"];
        for (packet, topic) in (1..).zip(topics) {
            let message = line.message(packet, false, topic, b"x");
            line.write(&message);
        }
        let message = line.message(0, false, b"a/#", b"x");
        line.write(&message);
        let (mut events, mut dropped) = (Vec::new(), 0);
        while events.len() < 3 || dropped == 0 {
            match source.next() {
                SourceReport::Events(some) => events.extend(some),
                // Nobody has to acknowledge that one.
                SourceReport::InvalidTopics { count } => dropped += count,
                _ => {}
            }
        }
        for event in &events {
            assert_eq!(event.fault, Some(EventFault::InvalidTopic), "{protocol:?}");
            assert_eq!(event.topic.as_str(), "");
        }
        assert_eq!((events.len(), dropped), (3, 1));
        source.acknowledge(&events);
        assert_eq!(line.acknowledged(3), [1, 2, 3]);
        source.stop();
    }
}

#[test]
fn a_surplus_copy_of_a_retained_message_is_reported_as_such() {
    let broker = Broker::start("");
    let mut peer = Peer::connect(broker.port(), "peer");
    peer.publish("a/b/c", b"kept", 1, true);
    // Neither filter covers the other, and each brings the message.
    let wanted = [(1, "a/+/c"), (2, "a/b/+")];
    let source = Source::start(broker.port(), Protocol::V311, &[], &wanted);
    let events = source.events(2);
    let faults: Vec<_> = events.iter().map(|event| event.fault).collect();
    assert_eq!(faults, [None, Some(EventFault::Surplus)]);
    assert!(events.iter().all(|event| event.delivery.is_some()));
    source.stop();
}

#[test]
fn the_same_message_has_the_same_hash_and_another_has_not() {
    for protocol in BOTH {
        let script = Script::new(protocol);
        let source = Source::silent(settings(script.port(), protocol), &[], &[]);
        let mut line = script.accept(true);
        line.publish(1, false, "x");
        line.publish(2, true, "x");
        line.publish(3, false, "y");
        line.publish(0, false, "x");
        let events = source.events(4);
        let hash = |place: usize| events[place].delivery.map(|delivery| delivery.fingerprint);
        assert_eq!(hash(0), hash(1), "{protocol:?}");
        assert_ne!(hash(0), hash(2), "{protocol:?}");
        assert_eq!(hash(3), None, "QoS 0 is not acknowledged");
        source.stop();
    }
}
