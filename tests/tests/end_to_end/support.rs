//! Rules, modules and readings of logs that several of these tests need.

use tidemill_tests::{Broker, Peer};

pub(crate) use tidemill_tests::COUNTER;

/// A broker that drops nothing of what it queues.
pub(crate) fn broker() -> Broker {
    Broker::start("max_queued_messages 0\nmax_inflight_messages 1000")
}

/// A client that hears all of `filter`.
pub(crate) fn listener(broker: &Broker, filter: &str) -> Peer {
    let mut peer = Peer::connect(broker.port(), &format!("listener-{filter}"));
    peer.subscribe(filter);
    peer
}

/// A client that publishes.
pub(crate) fn sensor(broker: &Broker) -> Peer {
    Peer::connect(broker.port(), "sensor")
}

/// A rule without its name: `function` for the events of `filters`, a list in TOML, to `topic`.
pub(crate) fn rule(filters: &str, function: &str, topic: &str) -> String {
    format!(
        "[on]\nmqtt = [{filters}]\nkey = \"{{topic.1}}\"\n[function]\n{function}\n\
         [ports.out]\nto = \"local\"\ntopic = \"{topic}\"\n"
    )
}

/// A threshold of 50 on the number that is the payload.
pub(crate) fn threshold(filter: &str, topic: &str) -> String {
    let text = rule(&format!("{filter:?}"), "stock = \"threshold\"", topic);
    format!("{text}[inputs]\nvalue = \"\"\n[params]\nlimit = 50\n")
}

/// Passes every event on.
pub(crate) const PASS: &str = r#"(module (func (export "on_event") (result i32) (i32.const 1)))"#;

/// The numbers of a counter that has counted `n` events, as texts.
pub(crate) fn counted(n: usize) -> Vec<String> {
    (1..=n).map(|number| number.to_string()).collect()
}

/// Payloads only.
pub(crate) fn payloads(messages: Vec<(String, String)>) -> Vec<String> {
    messages.into_iter().map(|(_, payload)| payload).collect()
}

/// A number in a rule's last line of the ledger, which has `name=number` for each column.
pub(crate) fn ledger(log: &[String], rule: &str, column: &str) -> u64 {
    let of_rule = format!("ledger rule={rule} ");
    let line = log.iter().rfind(|line| line.contains(&of_rule));
    let line = line.unwrap_or_else(|| panic!("no ledger of {rule}:\n{}", log.join("\n")));
    let mark = format!(" {column}=");
    let (_, rest) = line.split_once(&mark).unwrap();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// Checks that every event of a rule stands in one column, and returns how many it received.
#[track_caller]
pub(crate) fn balanced(log: &[String], rule: &str) -> u64 {
    let received = ledger(log, rule, "received");
    let columns = ["filtered", "absorbed", "emitting", "dead", "dropped"];
    let sum: u64 = columns.iter().map(|column| ledger(log, rule, column)).sum();
    assert_eq!(received, sum, "{}", log.join("\n"));
    received
}
