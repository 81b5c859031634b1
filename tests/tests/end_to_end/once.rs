//! A message counts once for a rule, however many copies the broker makes of it. The counter sends
//! 1, 2, 3 …: a gap is a loss, and what comes beyond the last number was counted twice.

use tidemill_tests::{Broker, Gateway, Peer};

use crate::support::{COUNTER, PASS, broker, counted, listener, payloads, rule, sensor};

const BOTH: [&str; 2] = ["protocol = \"5\"", "protocol = \"3.1.1\""];

fn gateway(broker: &Broker, protocol: &str) -> Gateway {
    let gateway = Gateway::new(broker.port(), protocol);
    gateway.module("counter", COUNTER);
    gateway.module("pass", PASS);
    gateway.rule("end", &rule("\"end/+\"", "wasm = \"pass.wasm\"", "out"));
    gateway
}

/// A rule that counts all events of its filters under one key.
fn counter(filters: &str, retained: bool) -> String {
    format!(
        "[on]\nmqtt = [{filters}]\nretained = {retained}\nkey = \"all\"\n\
         [function]\nwasm = \"counter.wasm\"\n\
         [ports.out]\nto = \"local\"\ntopic = \"out\"\n"
    )
}

/// Publishes the last event and checks that it is number `n`, and what came before it.
#[track_caller]
fn check_counted(sensor: &mut Peer, out: &mut Peer, before: usize, n: usize, protocol: &str) {
    sensor.publish("a/b/c", b"", 1, false);
    let expected = counted(n).split_off(before);
    assert_eq!(
        payloads(out.receive_texts(n - before)),
        expected,
        "{protocol}"
    );
    // A copy that counts too would come before this, which takes the same way.
    sensor.publish("end/all", b"end", 1, false);
    assert_eq!(payloads(out.receive_until("end")), [""; 0], "{protocol}");
}

#[test]
fn a_message_on_two_filters_of_a_rule_counts_once() {
    for protocol in BOTH {
        let broker = broker();
        let mut gateway = gateway(&broker, protocol);
        gateway.rule("counter", &counter("\"a/+/c\", \"a/b/+\", \"a/#\"", false));
        let mut out = listener(&broker, "out");
        let mut sensor = sensor(&broker);
        let mut all = 0;
        for _ in 0..2 {
            gateway.start();
            for _ in 0..9 {
                sensor.publish("a/b/c", b"", 1, false);
            }
            check_counted(&mut sensor, &mut out, all, all + 10, protocol);
            all += 10;
            gateway.stop();
        }
    }
}

#[test]
fn a_message_on_filters_of_two_rules_counts_once_for_each() {
    for protocol in BOTH {
        let broker = broker();
        let mut gateway = gateway(&broker, protocol);
        gateway.rule("one", &counter("\"a/+/c\"", false));
        let other = counter("\"a/b/+\"", false).replace("\"out\"", "\"other\"");
        gateway.rule("two", &other);
        gateway.start();
        let mut out = listener(&broker, "out");
        let mut other = listener(&broker, "other");
        let mut sensor = sensor(&broker);
        for _ in 0..9 {
            sensor.publish("a/b/c", b"", 1, false);
        }
        check_counted(&mut sensor, &mut out, 0, 10, protocol);
        assert_eq!(payloads(other.receive_texts(10)), counted(10), "{protocol}");
        // A third rule listens to the same messages from now on.
        gateway.rule(
            "three",
            &counter("\"+/b/c\"", false).replace("\"out\"", "\"third\""),
        );
        gateway.reload();
        gateway.until_logged_times(" subscribed ", 2);
        check_counted(&mut sensor, &mut out, 10, 11, protocol);
        gateway.stop();
    }
}

#[test]
fn a_retained_message_counts_once_over_restarts_and_redeployments() {
    for protocol in BOTH {
        let broker = broker();
        let mut gateway = gateway(&broker, protocol);
        gateway.rule("counter", &counter("\"a/+/c\"", true));
        let mut out = listener(&broker, "out");
        let mut sensor = sensor(&broker);
        sensor.publish("a/b/c", b"kept", 1, true);
        gateway.start();
        check_counted(&mut sensor, &mut out, 0, 2, protocol);
        // A new filter overlaps the old one: the broker sends the message again, for the new rule.
        let mut other = listener(&broker, "other");
        let rule = counter("\"a/b/+\"", true).replace("\"out\"", "\"other\"");
        gateway.rule("other", &rule);
        gateway.reload();
        gateway.until_logged_times(" subscribed ", 2);
        check_counted(&mut sensor, &mut out, 2, 3, protocol);
        assert_eq!(payloads(other.receive_texts(2)), counted(2), "{protocol}");
        gateway.stop();
        // Another one comes while the agent is away.
        let mut third = listener(&broker, "third");
        let rule = counter("\"+/b/c\"", true).replace("\"out\"", "\"third\"");
        gateway.rule("third", &rule);
        gateway.start();
        gateway.until_logged(" subscribed ");
        check_counted(&mut sensor, &mut out, 3, 4, protocol);
        assert_eq!(payloads(third.receive_texts(2)), counted(2), "{protocol}");
        assert_eq!(payloads(other.receive_texts(1)), ["3"], "{protocol}");
        gateway.stop();
    }
}

#[test]
fn a_retained_message_on_two_filters_of_a_rule_counts_once() {
    for protocol in BOTH {
        let broker = broker();
        let mut gateway = gateway(&broker, protocol);
        gateway.rule("counter", &counter("\"a/+/c\", \"a/b/+\"", true));
        let mut out = listener(&broker, "out");
        let mut sensor = sensor(&broker);
        sensor.publish("a/b/c", b"kept", 1, true);
        gateway.start();
        check_counted(&mut sensor, &mut out, 0, 2, protocol);
        // The newer filter brings the message once more for a rule that has had it.
        let wider = counter("\"a/+/c\", \"a/b/+\", \"+/b/c\"", true);
        gateway.rule("counter", &wider);
        gateway.reload();
        gateway.until_logged_times(" subscribed ", 2);
        check_counted(&mut sensor, &mut out, 2, 3, protocol);
        gateway.stop();
    }
}

#[test]
fn retained_messages_are_no_events_unless_the_rule_wants_them() {
    for protocol in BOTH {
        let broker = broker();
        let mut gateway = gateway(&broker, protocol);
        gateway.rule("counter", &counter("\"a/#\"", false));
        let mut out = listener(&broker, "out");
        let mut sensor = sensor(&broker);
        sensor.publish("a/b/c", b"kept", 1, true);
        gateway.start();
        check_counted(&mut sensor, &mut out, 0, 1, protocol);
        gateway.stop();
    }
}
