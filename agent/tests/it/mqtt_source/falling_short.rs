//! Brokers that do not give what was asked of them: as long as that is so, it is said.

use std::sync::mpsc::RecvTimeoutError;

use super::script::{Line, Script};
use super::*;
use tidemill_base::backoff::DELAY_MIN;

/// Reads a request of this kind and answers it with these codes.
fn answer(line: &mut Line, protocol: Protocol, request: u8, codes: &[u8]) {
    let (kind, body) = line.read_but_pings();
    assert_eq!(kind, request, "{body:?}");
    let properties: &[u8] = match protocol {
        Protocol::V5 => &[0],
        _ => &[],
    };
    let answer = [&body[..2], properties, codes].concat();
    line.packet((request & 0xf0) + 0x10, &answer);
}

const SUBSCRIBE: u8 = 0x82;
const UNSUBSCRIBE: u8 = 0xa2;

#[test]
fn a_filter_that_is_granted_qos_0_is_named_until_it_is_wanted_no_more() {
    for protocol in BOTH {
        let script = Script::new(protocol);
        let source = Source::start(script.port(), protocol, &[], &[(1, "a/+")]);
        let mut line = script.accept(true);
        answer(&mut line, protocol, SUBSCRIBE, &[0]);
        let said = source.until_falls_short(Some("QoS 0"));
        assert!(said[0].ends_with(": a/+"), "{said:?}");
        source.command(&[(2, "b")]);
        answer(&mut line, protocol, SUBSCRIBE, &[1]);
        answer(&mut line, protocol, UNSUBSCRIBE, &[0]);
        source.until_falls_short(None);
        source.stop();
    }
}

#[test]
fn a_refused_filter_is_named_until_it_is_granted() {
    for protocol in BOTH {
        let script = Script::new(protocol);
        let source = Source::start(script.port(), protocol, &[], &[(1, "a/+")]);
        let mut line = script.accept(true);
        answer(&mut line, protocol, SUBSCRIBE, &[0x80]);
        let said = source.until_falls_short(Some("refused"));
        assert!(said[0].contains("a/+ ("), "{said:?}");
        drop(line);
        let mut line = script.accept(true);
        answer(&mut line, protocol, SUBSCRIBE, &[1]);
        source.until_falls_short(None);
        source.stop();
    }
}

#[test]
fn a_request_for_filters_that_is_never_answered_ends_the_connection() {
    for protocol in BOTH {
        let script = Script::new(protocol);
        let mut settings = settings(script.port(), protocol);
        settings.timeout = Duration::from_secs(1);
        // The broker is asked early whether it has read the request.
        settings.keep_alive = Duration::from_secs(3_600);
        let source = Source::with(settings, &[], &[(1, "a/+")], 1_000);
        let mut line = script.accept(true);
        let (kind, body) = line.read_but_pings();
        assert_eq!(kind, SUBSCRIBE);
        let foreign: &[u8] = match protocol {
            Protocol::V5 => &[0x33, 0x33, 0, 1],
            _ => &[0x33, 0x33, 1],
        };
        assert_ne!(body[..2], foreign[..2]);
        line.packet(0x90, foreign);
        while let Some((kind, _)) = line.try_read() {
            assert_eq!(kind, 0xc0, "a ping");
            line.write(&[0xd0, 0]);
        }
        source.until(|report| match report {
            SourceReport::Disconnected { reason, retry_in } => {
                assert!(reason.contains("subscriptions"), "{reason}");
                assert!(retry_in >= DELAY_MIN, "that would be a tight loop");
                Some(())
            }
            _ => None,
        });
        source.until_falls_short(Some("does not answer requests for subscriptions"));
        let mut line = script.accept(true);
        answer(&mut line, protocol, SUBSCRIBE, &[1]);
        source.until_falls_short(None);
        source.stop();
    }
}

#[test]
fn filters_that_are_never_confirmed_as_dropped_end_the_connection() {
    for protocol in BOTH {
        let script = Script::new(protocol);
        let mut settings = settings(script.port(), protocol);
        settings.timeout = Duration::from_secs(1);
        let source = Source::with(settings, &[], &[(1, "a"), (2, "b")], 1_000);
        let mut line = script.accept(true);
        // Over MQTT 5 each filter has a packet of its own.
        let packets: &[&[u8]] = match protocol {
            Protocol::V5 => &[&[1], &[1]],
            _ => &[&[1, 1]],
        };
        for codes in packets {
            answer(&mut line, protocol, SUBSCRIBE, codes);
        }
        source.until_held(2);
        source.command(&[(1, "a")]);
        assert_eq!(line.read_but_pings().0, UNSUBSCRIBE);
        while let Some((kind, _)) = line.try_read() {
            assert_eq!(kind, 0xc0, "a ping");
            line.write(&[0xd0, 0]);
        }
        let reason = source.until_disconnected();
        assert!(reason.contains("subscriptions"), "{reason}");
        source.stop();
    }
}

#[test]
fn a_session_that_is_kept_for_less_than_was_asked_is_named_while_connected() {
    let script = Script::new(Protocol::V5);
    let source = Source::start(script.port(), Protocol::V5, &[], &[]);
    for seconds in [0, 60] {
        let connack = [0x20, 8, 0, 0, 5, 17, 0, 0, 0, seconds];
        let line = script.try_accept(&connack).unwrap();
        let said = source.until_falls_short(Some("keeps the session"));
        let words = format!("for {seconds} s only");
        assert!(said[0].contains(&words), "{said:?}");
        drop(line);
        source.until_falls_short(None);
    }
    source.stop();
}

#[test]
fn an_answer_that_trickles_in_is_named_while_it_does() {
    let script = Script::new(Protocol::V5);
    let mut settings = settings(script.port(), Protocol::V5);
    settings.timeout = Duration::from_secs(1);
    let source = Source::with(settings, &[], &[], 1_000);
    let mut line = script.silent();
    let mut connack = vec![0x20, 123, 0, 0, 120, 31, 0, 117];
    connack.extend([b'x'; 117]);
    let mut bytes = connack.into_iter();
    let said = loop {
        line.write(&[bytes.next().expect("it was said in time")]);
        match source.reports.recv_timeout(Duration::from_millis(100)) {
            Ok(SourceReport::FallsShort(said)) => break said,
            Ok(other) => panic!("{other:?}"),
            Err(RecvTimeoutError::Timeout) => {}
            Err(gone) => panic!("{gone}"),
        }
    };
    assert!(said[0].contains("takes longer than 2 s"), "{said:?}");
    line.write(&bytes.collect::<Vec<_>>());
    source.until_connected();
    source.until_falls_short(None);
    source.stop();
}
