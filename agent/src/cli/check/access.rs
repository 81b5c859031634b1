//! The topics that an agent needs at its brokers, for those who write their access lists.

use std::collections::BTreeSet;
use std::io::Result;

use crate::commit::outbox::gap_topic;
use crate::destination::client_id;
use crate::mill::BoundRule;
use crate::rule::Port;
use tidemill_base::console::Stdout;

/// Lists the filters that rules listen to.
pub(super) fn subscribes(gateway: &str, rules: &[BoundRule], out: &mut Stdout) -> Result<()> {
    let filters = rules.iter().flat_map(|bound| &bound.rule().triggers.mqtt);
    let filters: BTreeSet<_> = filters.map(ToString::to_string).collect();
    list(gateway, "subscribes to", filters, out)
}

/// Lists the topics that rules send to at a destination, and that of the gap records that go there
/// after a long outage.
pub(super) fn publishes(
    gateway: &str,
    destination: &str,
    rules: &[BoundRule],
    out: &mut Stdout,
) -> Result<()> {
    let filters = rules.iter().flat_map(|bound| {
        let (ports, triggers) = (&bound.rule().ports, &bound.rule().triggers.mqtt);
        let ports = ports.values().map(|port| &port.value);
        let ports = ports.filter(|port| port.to == destination);
        ports.flat_map(|Port { topic, .. }| {
            let own = topic.as_filter(bound.key());
            let own = own.filter(|_| triggers.is_empty());
            // Levels of the event's topic are what the rule listens to says of them.
            let within = triggers.iter();
            let within = within.filter_map(|filter| topic.as_filter_within(bound.key(), filter));
            within.chain(own)
        })
    });
    let mut topics: BTreeSet<_> = filters.map(|filter| filter.to_string()).collect();
    if !topics.is_empty() {
        topics.insert(gap_topic(gateway));
    }
    let client_id = client_id(gateway, destination);
    list(&client_id, "publishes to", topics, out)
}

fn list(client_id: &str, does: &str, topics: BTreeSet<String>, out: &mut Stdout) -> Result<()> {
    if topics.is_empty() {
        return Ok(());
    }
    let topics: Vec<_> = topics.into_iter().collect();
    writeln!(out, "  {client_id} {does} {}", topics.join(", "))
}
