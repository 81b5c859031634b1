//! Encrypted connections to a real mosquitto and a real HTTPS server: good ones, ones that have to be
//! refused and say why, and files that change under a connection.

use tidemill::destination::mqtt::DestinationSettings;
use tidemill::event::emission::Priority;
use tidemill::source::mqtt::{Protocol, SourceReport, SourceSettings};
use tidemill_tests::{Broker, Gateway, Peer, free_port, wait_until};
use tidemill_transport::tls::TlsFiles;

use crate::certificates::{Authority, Valid};
use crate::http_destinations::{OK, Sending, Server, settings as http_settings, taken};
use crate::mqtt_destinations::{Destinations, rows, upstream};
use crate::mqtt_source::{BOTH, PATIENCE, Source, settings as source_settings};

const MUST_SHOW: &str = "require_certificate true\n";

/// A broker with an encrypted listener that has the certificate `name`, and a plain one.
fn broker(authority: &Authority, name: &str, lines: &str) -> (Broker, u16) {
    let listener = authority.listener(name);
    loop {
        let plain = free_port();
        let broker = Broker::start(&format!("{listener}{lines}listener {plain} 127.0.0.1\n"));
        let says = |text| broker.log().contains(text);
        wait_until(|| says(" running") || says("Error"), || broker.log());
        // Another test may have taken the second port in the meantime.
        if says(" running") {
            return (broker, plain);
        }
    }
}

fn destination(port: u16, protocol: Protocol, tls: TlsFiles) -> DestinationSettings {
    let mut settings = upstream(port, protocol);
    settings.tls = Some(tls);
    settings
}

fn source(port: u16, protocol: Protocol, tls: TlsFiles) -> SourceSettings {
    let mut settings = source_settings(port, protocol);
    settings.tls = Some(tls);
    settings
}

#[test]
fn events_come_and_rows_leave_encrypted() {
    for protocol in BOTH {
        for shows in [false, true] {
            let authority = Authority::new();
            authority.sign("broker", "127.0.0.1", Valid::Now);
            authority.sign("gateway", "gw", Valid::Now);
            let (lines, tls) = if shows {
                (MUST_SHOW, authority.showing("gateway"))
            } else {
                ("", authority.trusting())
            };
            let (broker, plain) = broker(&authority, "broker", lines);
            let source = source(broker.port(), protocol, tls.clone());
            let source = Source::with(source, &[], &[(1, "out")], 1_000);
            source.until_held(1);
            let all = vec![destination(broker.port(), protocol, tls)];
            let destinations = Destinations::start(all);
            destinations.handle.ship(0, Priority::Normal, rows(1..=100));
            destinations.until_acknowledged(Priority::Normal, 100);
            Peer::connect(plain, "peer").publish("out", b"end", 1, false);
            assert_eq!(source.events_until("end").len(), 100);
            source.stop();
            destinations.handle.stop(PATIENCE);
        }
    }
}

/// Reason told where the other side's own is lost, because it hung up before it could be read.
const SHUNNED: &str = "does not take our certificate, or wants to see one";

/// A source that connects like this is told this, and so is a destination.
#[track_caller]
fn refused(port: u16, tls: &TlsFiles, expected: &str) {
    refused_with(port, tls, &[expected]);
}

/// As [`refused`], with one of these reasons.
#[track_caller]
fn refused_with(port: u16, tls: &TlsFiles, expected: &[&str]) {
    let is_expected = |reason: &str| expected.iter().any(|text| reason.contains(text));
    for protocol in BOTH {
        let source = source(port, protocol, tls.clone());
        let source = Source::with(source, &[], &[(1, "a")], 1_000);
        let reason = source.until_disconnected();
        assert!(is_expected(&reason), "source, {protocol:?}: {reason}");
        source.stop();
        let destinations = Destinations::start(vec![destination(port, protocol, tls.clone())]);
        let reason = destinations.until_disconnected();
        assert!(is_expected(&reason), "destination, {protocol:?}: {reason}");
        let trouble = destinations.handle.status().remove(0).trouble;
        assert!(trouble.is_some_and(|trouble| is_expected(&trouble)));
        destinations.handle.stop(PATIENCE);
    }
}

#[test]
fn a_broker_that_is_not_who_it_should_be_is_refused_with_the_way_out() {
    let authority = Authority::new();
    authority.sign("expired", "127.0.0.1", Valid::Before);
    authority.sign("early", "127.0.0.1", Valid::Later);
    authority.sign("other", "other.example", Valid::Now);
    authority.sign_itself("own", "127.0.0.1");
    authority.sign_version_1("old", "127.0.0.1");
    for (name, expected) in [
        (
            "expired",
            "its certificate expired on 2020-01-02 00:00 UTC, and it is 20",
        ),
        (
            "early",
            "its certificate is valid from 3020-01-02 00:00 UTC on",
        ),
        (
            "other",
            "its certificate is for other.example, not for 127.0.0.1: write a name",
        ),
        (
            "own",
            "nobody who is trusted here has signed its certificate: name the",
        ),
        (
            "old",
            "its certificate is of version 1 of X.509, which knows no names of hosts: give it one of \
             version 3 with the host in url in subjectAltName",
        ),
    ] {
        let (broker, _) = broker(&authority, name, "");
        refused(broker.port(), &authority.trusting(), expected);
    }
    let stranger = Authority::new();
    stranger.sign("broker", "127.0.0.1", Valid::Now);
    let (broker, _) = broker(&stranger, "broker", "");
    refused(
        broker.port(),
        &authority.trusting(),
        "nobody who is trusted here",
    );
    // One that signed itself can be trusted by name.
    let (broker, _) = self::broker(&authority, "own", "");
    let own = TlsFiles {
        ca_file: Some(authority.path("own.cert")),
        ..authority.trusting()
    };
    let destinations = Destinations::start(vec![destination(broker.port(), Protocol::V5, own)]);
    destinations.until_connected();
    destinations.handle.stop(PATIENCE);
}

#[test]
fn a_gateway_that_is_not_known_is_told_what_to_do() {
    let authority = Authority::new();
    authority.sign("broker", "127.0.0.1", Valid::Now);
    authority.sign("expired", "gw", Valid::Before);
    let stranger = Authority::new();
    stranger.sign("gateway", "gw", Valid::Now);
    let (broker, plain) = broker(&authority, "broker", MUST_SHOW);
    let unknown = TlsFiles {
        client: stranger.showing("gateway").client,
        ..authority.trusting()
    };
    for (tls, expected) in [
        (
            authority.trusting(),
            "wants to see a certificate: name one in cert_file",
        ),
        (
            authority.showing("expired"),
            "because it has expired: renew the one",
        ),
        (unknown, "because it does not know who signed it"),
    ] {
        refused_with(broker.port(), &tls, &[expected, SHUNNED]);
    }
    refused(plain, &authority.trusting(), "is that port one with TLS?");
    let gone = TlsFiles {
        ca_file: Some(authority.path("gone")),
        ..authority.trusting()
    };
    refused(broker.port(), &gone, "gone cannot be read: No such file");
}

#[test]
fn new_certificates_make_a_new_connection_and_lose_nothing() {
    for protocol in BOTH {
        let authority = Authority::new();
        authority.sign("broker", "127.0.0.1", Valid::Now);
        authority.sign("gateway", "gw", Valid::Now);
        let (broker, plain) = broker(
            &authority,
            "broker",
            "require_certificate true\nuse_identity_as_username true\n",
        );
        let tls = authority.showing("gateway");
        let source = source(broker.port(), protocol, tls.clone());
        let source = Source::with(source, &[], &[(1, "in")], 100_000);
        source.until_held(1);
        let all = vec![destination(broker.port(), protocol, tls)];
        let destinations = Destinations::start(all);
        destinations.until_connected();
        let mut peer = Peer::connect(plain, "peer");
        for round in 0..3_u64 {
            let first = round * 100 + 1;
            let batch = rows(first..=first + 99);
            destinations.handle.ship(0, Priority::Normal, batch);
            authority.sign("gateway", "gw", Valid::Now);
            for number in 0..100 {
                let payload = format!("{}", round * 100 + number);
                peer.publish("in", payload.as_bytes(), 1, false);
            }
            destinations.until_connected();
        }
        peer.publish("in", b"end", 1, false);
        let (mut numbers, mut connections, mut ended) = (Vec::new(), 0, false);
        while !(ended && connections >= 1) {
            match source.next() {
                SourceReport::Events(events) => {
                    for event in events {
                        let text = std::str::from_utf8(&event.payload).unwrap();
                        match text.parse::<u64>() {
                            Ok(number) => numbers.push(number),
                            Err(_) => ended = true,
                        }
                    }
                }
                SourceReport::Connected {
                    session_present, ..
                } => {
                    assert!(session_present, "the broker kept the session");
                    connections += 1;
                }
                SourceReport::Disconnected { reason, .. } => {
                    // The next ones may have come while these were read.
                    let changed = reason == "certificates changed";
                    assert!(changed || reason.contains("is not the key of"), "{reason}");
                }
                _ => {}
            }
        }
        // Some may have come twice, because they were not acknowledged yet: none is missing.
        numbers.sort_unstable();
        numbers.dedup();
        assert!(
            numbers.iter().copied().eq(0..300),
            "{protocol:?} {numbers:?}"
        );
        destinations.until_acknowledged(Priority::Normal, 300);
        source.stop();
        destinations.handle.stop(PATIENCE);
    }
}

#[test]
fn batches_leave_over_https_and_a_wrong_server_gets_none() {
    let authority = Authority::new();
    authority.sign("server", "127.0.0.1", Valid::Now);
    authority.sign("other", "other.example", Valid::Now);
    authority.sign("gateway", "gw", Valid::Now);
    for shows in [false, true] {
        let server = Server::encrypted(&authority, "server", shows, |_| OK);
        let mut settings = http_settings(server.port);
        settings.tls = Some(if shows {
            authority.showing("gateway")
        } else {
            authority.trusting()
        });
        let sending = Sending::with(settings);
        sending.ship(1..=2);
        assert_eq!(sending.settled(), [taken(1, 2)]);
        let before = server.next().connection;
        sending.ship(3..=3);
        assert_eq!(sending.settled(), [taken(3, 3)]);
        assert_eq!(server.next().connection, before);
        // With other files a later request comes on another connection.
        authority.sign("gateway", "gw", Valid::Now);
        for number in 4.. {
            sending.ship(number..=number);
            assert_eq!(sending.settled(), [taken(number, number)]);
            if server.next().connection != before || !shows {
                break;
            }
        }
        sending.handle.stop(PATIENCE);
    }
    let server = Server::encrypted(&authority, "other", false, |_| OK);
    let mut settings = http_settings(server.port);
    settings.tls = Some(authority.trusting());
    let sending = Sending::with(settings);
    sending.ship(1..=1);
    let why = sending.until_trouble();
    assert!(
        why.contains("is for other.example, not for 127.0.0.1"),
        "{why}"
    );
    let left = sending.handle.stop(PATIENCE);
    assert_eq!(left.lanes, []);
    let server = Server::encrypted(&authority, "server", true, |_| OK);
    let mut settings = http_settings(server.port);
    settings.tls = Some(authority.trusting());
    let sending = Sending::with(settings);
    sending.ship(1..=1);
    let why = sending.until_trouble();
    let told = why.contains("wants to see a certificate") || why.contains(SHUNNED);
    assert!(told, "{why}");
    sending.handle.stop(PATIENCE);
}

#[test]
fn the_whole_agent_speaks_tls_and_names_who_cannot_be_trusted() {
    let authority = Authority::new();
    for name in ["broker", "gateway", "server"] {
        authority.sign(name, "127.0.0.1", Valid::Now);
    }
    authority.sign("expired", "127.0.0.1", Valid::Before);
    let (broker, plain) = broker(&authority, "broker", MUST_SHOW);
    let server = Server::encrypted(&authority, "server", false, |_| OK);
    let expired = Server::encrypted(&authority, "expired", false, |_| OK);
    let ca = authority.path("ca").display().to_string();
    let destination = |name, port| {
        format!("[destinations.{name}]\nurl = \"https://127.0.0.1:{port}/\"\nca_file = \"{ca}\"\n")
    };
    let lines = destination("good", server.port) + &destination("bad", expired.port);
    let mut gateway = Gateway::new(broker.port(), &lines);
    gateway.variable(
        "TIDEMILL_BROKER__URL",
        format!("mqtts://127.0.0.1:{}", broker.port()),
    );
    gateway.variable("TIDEMILL_BROKER__CA_FILE", authority.path("ca"));
    gateway.variable("TIDEMILL_BROKER__CERT_FILE", authority.path("gateway.cert"));
    gateway.variable("TIDEMILL_BROKER__KEY_FILE", authority.path("gateway.key"));
    let pass = "(module (func (export \"on_event\") (result i32) (i32.const 1)))";
    gateway.module("pass", pass);
    for name in ["good", "bad"] {
        gateway.rule(
            name,
            &format!(
                "[on]\nmqtt = [\"in/#\"]\nkey = \"k\"\n[function]\nwasm = \"pass.wasm\"\n\
                 [ports.out]\nto = \"{name}\"\ntopic = \"out\"\n"
            ),
        );
    }
    gateway.start();
    Peer::connect(plain, "peer").publish("in/a", b"7", 1, false);
    assert_eq!(server.next().json()["rows"][0]["payload"], 7);
    gateway.until_logged("not delivered: its certificate expired on 2020-01-02");
    let log = gateway.stop();
    let told = log
        .iter()
        .find(|line| line.contains("expired on 2020"))
        .unwrap();
    assert!(told.contains("destination=\"bad\""), "{told}");
}

#[test]
fn a_port_with_tls_that_is_spoken_to_without_is_called_that() {
    let authority = Authority::new();
    authority.sign("broker", "127.0.0.1", Valid::Now);
    let (broker, _) = broker(&authority, "broker", "");
    for protocol in BOTH {
        let settings = source_settings(broker.port(), protocol);
        let source = Source::with(settings, &[], &[(1, "a")], 1_000);
        let reason = source.until_disconnected();
        assert!(
            reason.contains("write mqtts://"),
            "source, {protocol:?}: {reason}"
        );
        source.stop();
        let destinations = Destinations::start(vec![upstream(broker.port(), protocol)]);
        let reason = destinations.until_disconnected();
        assert!(
            reason.contains("write mqtts://"),
            "destination, {protocol:?}: {reason}"
        );
        destinations.handle.stop(PATIENCE);
    }
}
