//! Filters: what is subscribed, and which copies come for it.

use super::*;
use tidemill::event::{EventFault, SubscriptionIds};
use tidemill_tests::{Broker, Peer};

#[test]
fn a_kept_session_is_subscribed_anew_and_holds_no_more_than_that() {
    for protocol in BOTH {
        let broker = Broker::start("");
        let source = Source::start(broker.port(), protocol, &[], &[(1, "a/x"), (2, "b/x")]);
        let held = source.until_held(2);
        source.command(&[(2, "b/x"), (3, "c/x")]);
        source.until(|report| match report {
            SourceReport::Subscribed { held }
                if held.iter().any(|s| s.filter.as_str() == "c/x") =>
            {
                Some(())
            }
            _ => None,
        });
        source.stop();

        let held: Vec<_> = held
            .iter()
            .filter(|s| s.id != 1 && s.filter.as_str() != "a/x")
            .cloned()
            .collect();
        let mut now: Vec<_> = held.iter().map(|s| (s.id, s.filter.as_str())).collect();
        now.push((if held[0].id == 0 { 0 } else { 3 }, "c/x"));
        let before = broker.log().matches("Received SUBSCRIBE").count();
        let source = Source::start(broker.port(), protocol, &now, &[(2, "b/x"), (3, "c/x")]);
        assert!(source.until_connected().1, "the broker kept the session");
        let mut peer = Peer::connect(broker.port(), "peer");
        for topic in ["a/x", "b/x", "c/x"] {
            peer.publish(topic, topic.as_bytes(), 1, false);
        }
        peer.publish("b/x", b"end", 1, false);
        assert_eq!(
            payloads(&source.events_until("end")),
            ["b/x", "c/x"],
            "{protocol:?}"
        );
        source.stop();
        // Filters that need no identifiers share a packet.
        let packets = if protocol == Protocol::V5 { 2 } else { 1 };
        let asked = broker.log().matches("Received SUBSCRIBE").count() - before;
        assert_eq!(asked, packets, "{protocol:?}");
    }
}

#[test]
fn retained_copies_come_once_and_not_again_to_a_kept_session() {
    for protocol in BOTH {
        let broker = Broker::start("");
        let mut peer = Peer::connect(broker.port(), "peer");
        peer.publish("a/x", b"kept", 1, true);
        let source = Source::start(broker.port(), protocol, &[], &[(1, "a/+")]);
        let held = source.until_held(1);
        peer.publish("a/x", b"end", 1, false);
        let events = source.events_until("end");
        assert_eq!(payloads(&events), ["kept"]);
        assert!(events[0].retained);
        source.stop();

        let held: Vec<_> = held.iter().map(|s| (s.id, s.filter.as_str())).collect();
        let source = Source::start(broker.port(), protocol, &held, &[(1, "a/+")]);
        source.until_connected();
        peer.publish("a/x", b"end", 1, false);
        // Over 3.1.1 the broker sends it again, and it is acknowledged for nobody.
        let mut events = source.events_until("end");
        events.retain(|event| event.fault != Some(EventFault::Surplus));
        assert_eq!(payloads(&events), Vec::<&str>::new(), "{protocol:?}");
        source.stop();
    }
}

#[test]
fn overlapping_filters_bring_copies_that_name_their_subscription() {
    let broker = Broker::start("");
    let wanted = [(1, "a/+/c"), (2, "a/b/+"), (3, "z")];
    let source = Source::start(broker.port(), Protocol::V5, &[], &wanted);
    source.until_held(3);
    let mut peer = Peer::connect(broker.port(), "peer");
    peer.publish("a/b/c", b"both", 1, false);
    peer.publish("z", b"end", 1, false);
    let events = source.events_until("end");
    for id in [1, 2] {
        let answers = events
            .iter()
            .filter(|e| e.subscriptions.answers(id))
            .count();
        assert_eq!(answers, 1, "subscription {id}: {events:?}");
    }
    source.stop();
}

#[test]
fn covered_filters_bring_one_copy_over_3_1_1() {
    let broker = Broker::start("");
    let wanted = [(1, "a/+/c"), (2, "a/b/c"), (3, "z")];
    let source = Source::start(broker.port(), Protocol::V311, &[], &wanted);
    source.until_held(2);
    let mut peer = Peer::connect(broker.port(), "peer");
    peer.publish("a/b/c", b"both", 1, false);
    peer.publish("z", b"end", 1, false);
    let events = source.events_until("end");
    assert_eq!(payloads(&events), ["both"]);
    assert_eq!(events[0].subscriptions, SubscriptionIds::Unknown);
    source.stop();
}

#[test]
fn a_broker_that_forgot_everything_is_subscribed_anew() {
    for protocol in BOTH {
        let mut broker = Broker::start("");
        let source = Source::start(broker.port(), protocol, &[], &[(1, "a")]);
        source.until_held(1);
        broker.kill();
        broker.run();
        source.until_held(0);
        source.until_held(1);
        source.stop();
    }
}
