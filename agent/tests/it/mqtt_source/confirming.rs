//! Acknowledgements that the broker is known to have read, and the end of a lost session.

use tidemill::config::limits::CONFIRM_EVERY;
use tidemill_tests::{Broker, Peer};

use super::script::Script;
use super::*;

#[test]
fn every_acknowledgement_is_confirmed_soon_after_the_last() {
    for protocol in BOTH {
        let broker = Broker::start("");
        let mut settings = settings(broker.port(), protocol);
        settings.keep_alive = Duration::from_secs(1);
        let source = Source::silent(settings, &[], &[(1, "a")]);
        source.until_epoch();
        source.until_held(1);
        let mut peer = Peer::connect(broker.port(), "peer");
        for count in 1..=2 {
            peer.publish("a", b"x", 1, false);
            source.acknowledge(&source.events(1));
            let confirmation = source.until_confirmed(count);
            assert_eq!((confirmation.epoch, confirmation.acknowledged), (1, count));
        }
        source.stop();
    }
}

#[test]
fn a_flood_is_confirmed_long_before_packet_identifiers_come_round() {
    const EVENTS: u64 = 40_000;
    for protocol in BOTH {
        let broker = Broker::start("max_inflight_messages 1000\nmax_queued_messages 0");
        let mut settings = settings(broker.port(), protocol);
        // No ping but those that the flood brings about, or a pause in it.
        settings.keep_alive = Duration::from_secs(600);
        let source = Source::with(settings, &[], &[(1, "a")], 1_000);
        source.until_held(1);
        let port = broker.port();
        let sensor = std::thread::spawn(move || {
            let messages = (0..EVENTS).map(|_| ("a".to_owned(), b"x".to_vec()));
            Peer::connect(port, "peer").publish_all(messages);
        });
        let (mut events, mut confirmed) = (0, Vec::new());
        while events < EVENTS || confirmed.len() < 2 {
            match source.next() {
                SourceReport::Events(some) => events += some.len() as u64,
                SourceReport::Confirmed(confirmation) => confirmed.push(confirmation.acknowledged),
                other => panic!("{other:?}"),
            }
        }
        sensor.join().unwrap();
        // Written in whole batches, and counted after each.
        let mut before = 0;
        for count in &confirmed {
            assert!(count - before < CONFIRM_EVERY + 4_096, "{confirmed:?}");
            before = *count;
        }
        source.stop();
    }
}

#[test]
fn a_quiet_line_is_asked_right_behind_its_acknowledgements() {
    for protocol in BOTH {
        let script = Script::new(protocol);
        let mut settings = settings(script.port(), protocol);
        settings.keep_alive = Duration::from_secs(600);
        let source = Source::silent(settings, &[], &[]);
        let mut line = script.accept(true);
        for round in 1..=2 {
            line.publish(1, false, "x");
            line.publish(2, false, "y");
            source.acknowledge(&source.events(2));
            for kind in [0x40, 0x40, 0xc0] {
                assert_eq!(line.read().0, kind, "{protocol:?}, round {round}");
            }
            line.write(&[0xd0, 0]);
            let confirmed = source.until_confirmed(2 * round).acknowledged;
            assert_eq!(confirmed, 2 * round, "{protocol:?}");
        }
        source.stop();
    }
}

#[test]
fn an_answer_says_nothing_of_what_left_after_its_question() {
    for protocol in BOTH {
        let script = Script::new(protocol);
        let mut settings = settings(script.port(), protocol);
        settings.keep_alive = Duration::from_secs(1);
        let source = Source::silent(settings, &[], &[]);
        let mut line = script.accept(true);
        (1..=3).for_each(|packet| line.publish(packet, false, "x"));
        let events = source.events(3);
        source.acknowledge(&events[..2]);
        for _ in 0..2 {
            assert_eq!(line.read().0, 0x40);
        }
        assert_eq!(line.read().0, 0xc0, "a ping");
        source.acknowledge(&events[2..]);
        assert_eq!(line.read().0, 0x40);
        line.write(&[0xd0, 0]);
        assert_eq!(source.until_confirmed(1).acknowledged, 2, "{protocol:?}");
        assert_eq!(line.read().0, 0xc0, "a ping");
        line.write(&[0xd0, 0]);
        assert_eq!(source.until_confirmed(3).acknowledged, 3, "{protocol:?}");
        source.stop();
    }
}

#[test]
fn a_lost_session_is_filled_only_after_the_word_to_proceed() {
    for protocol in BOTH {
        let script = Script::new(protocol);
        let source = Source::silent(settings(script.port(), protocol), &[(1, "a")], &[(1, "a")]);
        let mut line = script.accept(false);
        let report = source.next();
        let SourceReport::Connected { window, .. } = report else {
            panic!("{report:?}")
        };
        assert_eq!(window, (protocol == Protocol::V5).then_some(2_000));
        source.until_held(0);
        line.publish(9, false, "x");
        source.acknowledge(&source.events(1));
        // A word for an earlier connection is none.
        source.handle.proceed(0);
        assert_eq!(line.acknowledged(1), [9], "{protocol:?}");
        source.handle.proceed(1);
        assert_eq!(line.read_but_pings().0, 0x82, "{protocol:?}: a SUBSCRIBE");
        drop(line);
        // A kept session goes on at once.
        let mut line = script.accept(true);
        assert_eq!(line.read_but_pings().0, 0x82, "its answer never came");
        source.stop();
    }
}
