//! Coming and going: brokers that are away, refuse, restart; the good-bye; the stalled mill.

use std::io::{Read, Write};

use super::script::Script;
use super::*;
use tidemill_base::backoff::DELAY_MIN;
use tidemill_tests::{Broker, Peer};

#[test]
fn a_broker_that_is_away_at_start_is_named_and_waited_for() {
    for protocol in BOTH {
        let mut broker = Broker::stopped("");
        let source = Source::start(broker.port(), protocol, &[], &[(1, "a")]);
        let reason = source.until_disconnected();
        assert!(reason.contains("is the broker running"), "{reason}");
        broker.run();
        source.until_held(1);
        source.stop();
    }
}

#[test]
fn a_restarted_broker_is_found_again_and_queued_messages_come() {
    for protocol in BOTH {
        let mut broker = Broker::start("persistence true");
        let source = Source::start(broker.port(), protocol, &[], &[(1, "a")]);
        source.until_held(1);
        broker.stop();
        broker.run();
        Peer::connect(broker.port(), "peer").publish("a", b"end", 1, false);
        source.events_until("end");
        source.stop();
    }
}

#[test]
fn two_clients_with_one_id_are_told_so() {
    for protocol in BOTH {
        let broker = Broker::start("");
        let sources = [(); 2].map(|()| Source::start(broker.port(), protocol, &[], &[(1, "a")]));
        sources[0].until(|report| match report {
            SourceReport::Disconnected { reason, retry_in } => {
                assert!(retry_in >= DELAY_MIN, "that would be a tight loop");
                reason.contains("client id").then_some(())
            }
            _ => None,
        });
        sources.into_iter().for_each(Source::stop);
    }
}

#[test]
fn a_broker_that_names_the_reason_of_a_takeover_is_quoted() {
    let port = scripted(vec![vec![&[0x20, 3, 0, 0, 0], &[0xe0, 2, 0x8e, 0]]]);
    let source = Source::start(port, Protocol::V5, &[], &[(1, "a")]);
    let reason = source.until_disconnected();
    assert!(reason.contains("same client id"), "{reason}");
    source.stop();
}

#[test]
fn a_broker_that_only_speaks_3_1_1_is_met_and_asked_for_5_the_next_time() {
    let taken: Answers = vec![&[0x20, 2, 0, 0]];
    // It refuses the version in the words of 3.1.1, or in those of 5.
    for refused in [&[0x20, 2, 0, 1][..], &[0x20, 3, 0, 0x84, 0]] {
        let script = vec![vec![refused], taken.clone(), vec![refused], taken.clone()];
        let source = Source::start(scripted(script), Protocol::Auto, &[], &[]);
        assert_eq!(source.until_connected(), (Version::V311, false));
        assert_eq!(source.until_connected(), (Version::V311, false));
        source.stop();
    }
}

#[test]
fn a_broker_that_hangs_up_is_not_taken_for_an_old_one() {
    let taken: Answers = vec![&[0x20, 3, 0, 0, 0]];
    let script = vec![vec![], vec![], vec![], vec![], taken];
    let source = Source::start(scripted(script), Protocol::Auto, &[], &[]);
    let mut hinted = false;
    let version = source.until(|report| match report {
        SourceReport::Disconnected { reason, .. } => {
            hinted |= reason.contains("protocol = \"3.1.1\"");
            None
        }
        SourceReport::Connected { protocol, .. } => Some(protocol),
        _ => None,
    });
    assert_eq!((version, hinted), (Version::V5, true));
    source.stop();
}

/// Bytes that a scripted broker writes on one connection before it closes it.
type Answers = Vec<&'static [u8]>;

/// A broker that answers each CONNECT as the script says.
fn scripted(script: Vec<Answers>) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for answers in script {
            let (mut stream, _) = listener.accept().unwrap();
            let read = stream.read(&mut [0; 1_000]).unwrap();
            assert!(read > 0, "no CONNECT came");
            for answer in answers {
                stream.write_all(answer).unwrap();
            }
        }
    });
    port
}

#[test]
fn a_stop_leaves_the_session_with_the_broker() {
    for protocol in BOTH {
        let broker = Broker::start("");
        let source = Source::start(broker.port(), protocol, &[], &[(1, "a")]);
        let held = source.until_held(1);
        source.stop();
        broker.until_logged("Received DISCONNECT from gateway");
        Peer::connect(broker.port(), "peer").publish("a", b"end", 1, false);
        let held: Vec<_> = held.iter().map(|s| (s.id, s.filter.as_str())).collect();
        let source = Source::start(broker.port(), protocol, &held, &[(1, "a")]);
        source.events_until("end");
        source.stop();
    }
}

#[test]
fn a_source_stops_while_its_broker_is_away() {
    let broker = Broker::stopped("");
    Source::start(broker.port(), Protocol::Auto, &[], &[(1, "a")]).stop();
}

#[test]
fn a_stalled_mill_loses_neither_events_nor_the_connection() {
    for protocol in BOTH {
        let broker = Broker::start("max_queued_messages 0");
        let source = Source::with(settings(broker.port(), protocol), &[], &[(1, "a")], 4);
        source.until_held(1);
        let mut peer = Peer::connect(broker.port(), "peer");
        let count = 20_000;
        for number in 0..count {
            peer.publish("a", format!("{number:0100}").as_bytes(), 0, false);
        }
        peer.publish("a", b"end", 1, false);
        let events = source.events_until("end");
        let numbers: Vec<usize> = payloads(&events)
            .iter()
            .map(|p| p.parse().unwrap())
            .collect();
        assert!(
            numbers.iter().copied().eq(0..count),
            "{protocol:?}: {}",
            numbers.len()
        );
        source.stop();
    }
}

#[test]
fn refused_users_are_told_what_to_check() {
    for protocol in BOTH {
        let mut broker = Broker::stopped("");
        let passwords = broker.path("passwords");
        std::fs::write(&passwords, "").unwrap();
        broker.add(&format!("password_file {}", passwords.display()));
        broker.add("allow_anonymous false");
        broker.run();
        let source = Source::start(broker.port(), protocol, &[], &[(1, "a")]);
        let reason = source.until_disconnected();
        assert!(reason.contains("user name and password"), "{reason}");
        source.stop();
    }
}

#[test]
fn a_broker_that_answers_nothing_any_more_is_given_up() {
    for protocol in BOTH {
        let script = Script::new(protocol);
        let mut settings = settings(script.port(), protocol);
        settings.keep_alive = Duration::from_secs(1);
        let source = Source::with(settings, &[], &[], 1_000);
        let mut line = script.accept(true);
        assert_eq!(line.read().0, 0xc0, "a ping");
        let reason = source.until_disconnected();
        assert!(reason.contains("does not answer"), "{reason}");
        source.stop();
    }
}

#[test]
fn a_silent_broker_does_not_pin_the_intake() {
    for protocol in BOTH {
        // The kernel takes connections for it.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut settings = settings(port, protocol);
        // Due before, and at the same moment as, the time for connecting is up.
        settings.keep_alive = Duration::from_secs(1);
        let source = Source::with(settings, &[], &[], 1_000);
        let reason = source.until_disconnected();
        assert!(reason.contains("does not answer"), "{reason}");
        source.stop();
    }
}

#[test]
fn a_broker_that_never_pauses_does_not_hold_up_pings_and_the_stop() {
    let script = Script::new(Protocol::V311);
    let mut settings = settings(script.port(), Protocol::V311);
    settings.keep_alive = Duration::from_secs(1);
    let source = Source::with(settings, &[], &[], 1_000);
    let mut line = script.accept(true);
    // Answers that nobody asked for: no event comes of them.
    let mut flooding = line.another();
    let flood = std::thread::spawn(move || {
        let answers = [0xd0_u8, 0].repeat(32 << 10);
        while flooding.write_all(&answers).is_ok() {}
    });
    assert_eq!(line.read().0, 0xc0, "a ping");
    source.stop();
    drop(line);
    flood.join().unwrap();
}

#[test]
fn messages_are_life_enough_where_the_answer_to_a_ping_waits_behind_them() {
    let script = Script::new(Protocol::V311);
    let mut settings = settings(script.port(), Protocol::V311);
    settings.keep_alive = Duration::from_secs(1);
    let source = Source::with(settings, &[], &[], 1_000);
    let mut line = script.accept(true);
    for number in 0..4 {
        assert_eq!(line.read().0, 0xc0, "a ping");
        line.publish(0, false, &number.to_string());
    }
    line.publish(0, false, "end");
    assert_eq!(payloads(&source.events_until("end")).len(), 4);
    source.stop();
}
