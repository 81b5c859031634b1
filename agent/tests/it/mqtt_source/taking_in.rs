//! Whatever comes at QoS 1 is reported, so that it is acknowledged, also where no rule can use it.

use tidemill::event::Malformed::{Cut, NotUtf8, PropertiesBeyond, TopicAlias, Unknown};
use tidemill::event::{EventFault, Property, SubscriptionIds};
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
                SourceReport::Unusable { count, .. } => dropped += count,
                _ => {}
            }
        }
        for event in &events {
            assert_eq!(event.fault, Some(EventFault::InvalidTopic), "{protocol:?}");
            assert_eq!(event.topic.as_str(), "");
        }
        let shown = |event: &Event| event.bad_topic.as_deref().map(str::to_owned);
        let shown: Vec<_> = events.iter().filter_map(shown).collect();
        assert_eq!(shown, ["a/+", r"a\xff", r"a\u{0}"], "{protocol:?}");
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
    assert!(events.iter().all(|event| event.delivery().is_some()));
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
        let hash = |place: usize| {
            events[place]
                .delivery()
                .map(|delivery| delivery.fingerprint)
        };
        assert_eq!(hash(0), hash(1), "{protocol:?}");
        assert_ne!(hash(0), hash(2), "{protocol:?}");
        assert_eq!(hash(3), None, "QoS 0 is not acknowledged");
        source.stop();
    }
}

#[test]
fn a_malformed_message_is_reported_and_acknowledged_and_ends_nothing() {
    let cases: [(&[u8], _); 8] = [
        (&[6, 38, 0, 1, 0xff, 0, 0], NotUtf8(Property::User)),
        (&[4, 3, 0, 1, 0xff], NotUtf8(Property::ContentType)),
        (&[4, 8, 0, 1, 0xff], NotUtf8(Property::ResponseTopic)),
        (&[3, 35, 0, 1], TopicAlias),
        (&[2, 99, 1], Unknown(99)),
        (&[3, 9, 0, 7], Cut(Property::CorrelationData)),
        (&[2, 11, 0x80], Cut(Property::SubscriptionIdentifier)),
        (&[9], PropertiesBeyond),
    ];
    let script = Script::new(Protocol::V5);
    let source = Source::silent(settings(script.port(), Protocol::V5), &[], &[]);
    let mut line = script.accept(true);
    for (packet, (properties, _)) in (1..).zip(cases) {
        let body = [b"\0\x01a\0", &[packet][..], properties, b"x"].concat();
        line.packet(0x32, &body);
    }
    let events = source.events(cases.len());
    for (event, (_, why)) in events.iter().zip(cases) {
        assert_eq!(event.fault, Some(EventFault::Malformed(why)));
        assert_eq!((event.topic.as_str(), &event.payload[..]), ("a", &b"x"[..]));
    }
    source.acknowledge(&events);
    assert_eq!(line.acknowledged(8), [1, 2, 3, 4, 5, 6, 7, 8]);
    // The connection is the same.
    line.publish(9, false, "y");
    assert_eq!(payloads(&source.events(1)), ["y"]);
    source.stop();
}

#[test]
fn what_cannot_be_acknowledged_is_dropped_and_told_and_ends_nothing() {
    for protocol in BOTH {
        let script = Script::new(protocol);
        let source = Source::silent(settings(script.port(), protocol), &[], &[]);
        let mut line = script.accept(true);
        // Packet 0, quality of service 3, and a topic longer than its message.
        let bad: [(u8, &[u8]); 3] = [
            (0x32, b"\0\x01a\0\0\0x"),
            (0x36, b"\0\x01a\0\x07\0x"),
            (0x32, b"\0\x63a\0\x07\0x"),
        ];
        for (first, body) in bad {
            line.packet(first, body);
        }
        line.publish(0, false, "y");
        let (mut dropped, mut reasons) = (0, Vec::new());
        let events = source.until(|report| match report {
            SourceReport::Unusable { count, reason } => {
                dropped += count;
                reasons.push(reason);
                None
            }
            SourceReport::Events(events) => Some(events),
            _ => None,
        });
        assert_eq!((payloads(&events), dropped), (vec!["y"], 3), "{protocol:?}");
        assert!(reasons[0].contains("32 07 00 01 61"), "{reasons:?}");
        source.stop();
    }
}

#[test]
fn a_copy_may_name_any_number_of_subscriptions() {
    let script = Script::new(Protocol::V5);
    let source = Source::silent(settings(script.port(), Protocol::V5), &[], &[]);
    let mut line = script.accept(true);
    let two = [6, 1, 1, 11, 7, 11, 8];
    let six = [13, 11, 1, 11, 2, 11, 3, 11, 0x80, 1, 11, 5, 11, 6];
    line.packet(0x30, &[b"\0\x01a", &two[..], b"x"].concat());
    line.packet(0x30, &[b"\0\x01a", &six[..], b"y"].concat());
    let events = source.events(2);
    assert_eq!(payloads(&events), ["x", "y"]);
    let ids = |ids: &[u32]| SubscriptionIds::Many(ids.into());
    assert_eq!(events[0].subscriptions, ids(&[7, 8]));
    assert_eq!(events[1].subscriptions, ids(&[1, 2, 3, 128, 5, 6]));
    source.stop();
}

#[test]
fn a_message_at_qos_2_of_an_earlier_client_goes_the_whole_way() {
    for protocol in BOTH {
        let script = Script::new(protocol);
        let source = Source::silent(settings(script.port(), protocol), &[], &[]);
        let mut line = script.accept(true);
        let mut message = line.message(7, true, b"a", b"x");
        message[0] = 0x3c;
        line.write(&message);
        line.publish(8, false, "y");
        let events = source.events(2);
        source.acknowledge(&events);
        assert_eq!(line.read_but_pings(), (0x50, vec![0, 7]), "{protocol:?}");
        assert_eq!(line.acknowledged(1), [8]);
        line.packet(0x62, &[0, 7]);
        assert_eq!(line.read_but_pings(), (0x70, vec![0, 7]), "{protocol:?}");
        source.stop();
    }
}

#[test]
fn answers_with_texts_that_are_none_are_answers() {
    let script = Script::new(Protocol::V5);
    let source = Source::silent(settings(script.port(), Protocol::V5), &[], &[(1, "a")]);
    let mut line = script.silent();
    line.packet(0x20, &[1, 0, 10, 31, 0, 1, 0xff, 38, 0, 0, 0, 1, 0xff]);
    source.until_connected();
    let (kind, body) = line.read_but_pings();
    assert_eq!(kind, 0x82);
    line.packet(0x90, &[body[0], body[1], 4, 31, 0, 1, 0xff, 1]);
    source.until_held(1);
    line.packet(0xe0, &[0x8b, 4, 31, 0, 1, 0xff]);
    let reason = source.until_disconnected();
    assert!(reason.contains("shutting down"), "{reason}");
    source.stop();
}

#[test]
fn bytes_that_are_no_packet_are_shown() {
    for protocol in BOTH {
        let script = Script::new(protocol);
        let source = Source::silent(settings(script.port(), protocol), &[], &[]);
        let mut line = script.accept(true);
        line.write(&[0x30, 0xff, 0xff, 0xff, 0xff, 7]);
        let reason = source.until_disconnected();
        assert!(reason.contains("30 ff ff ff ff 07"), "{reason}");
        source.stop();
    }
}

#[test]
fn a_topic_above_the_limit_is_reported_with_its_beginning_alone() {
    for protocol in BOTH {
        let broker = Broker::start("");
        let source = Source::start(broker.port(), protocol, &[], &[(1, "#")]);
        source.until_held(1);
        let mut peer = Peer::connect(broker.port(), "peer");
        let longest = "t".repeat(1_024);
        for topic in [longest.clone(), format!("{longest}u"), "u".repeat(60_000)] {
            peer.publish(&topic, b"x", 1, false);
        }
        let events = source.events(3);
        let seen = events
            .iter()
            .map(|event| (event.fault, event.topic.as_str()));
        let too_long = |bytes| Some(EventFault::TopicTooLong { bytes });
        let expected = [
            (None, &*longest),
            (too_long(1_025), ""),
            (too_long(60_000), ""),
        ];
        assert_eq!(seen.collect::<Vec<_>>(), expected, "{protocol:?}");
        let reason = |event: &Event| event.fault?.reason_with(event.bad_topic.as_deref());
        let said = events.last().and_then(reason).unwrap();
        let begins = "its topic of 60000 bytes is longer than broker.topic_bytes_max: \"uuu";
        assert!(said.starts_with(begins) && said.len() < 400, "{said}");
        assert!(events.iter().all(|event| event.payload == "x"));
        source.acknowledge(&events);
        source.stop();
    }
}
