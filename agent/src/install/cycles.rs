//! Rules that would feed each other for ever over the local broker.

use std::sync::Arc;

use crate::config::{Config, Endpoint, LOCAL};
use crate::mill::BoundRule;
use tidemill_base::text::FileError;
use tidemill_transport::topic::TopicFilter;

/// A port that reaches a rule.
struct Edge<'a> {
    port: &'a str,
    filter: &'a TopicFilter,
    to: usize,
}

/// Refuses a cycle of rules, at the port of its first rule.
pub(super) fn check(config: &Config, rules: &[BoundRule]) -> Option<FileError> {
    let edges: Vec<_> = rules
        .iter()
        .map(|rule| edges(config, rule, rules))
        .collect();
    let cycle = find(&edges)?;
    let (first, edge) = cycle.first()?;
    let rule = rules.get(*first)?.rule();
    let port = rule.ports.get(edge.port)?;
    let mut way = rule.name.to_string();
    for (_, edge) in &cycle {
        let name = &rules.get(edge.to)?.rule().name;
        way += &format!(
            " sends by {} to {name}, which listens to {}",
            edge.port, edge.filter
        );
        if !Arc::ptr_eq(name, &rule.name) {
            way += &format!("; {name}");
        }
    }
    let message = format!(
        "ports.{}.topic: rules would feed each other in a cycle: {way}; send to a topic outside of these filters",
        edge.port
    );
    Some(rule.source.error_at(&port.value.topic_span, message))
}

fn edges<'a>(config: &Config, from: &'a BoundRule, rules: &'a [BoundRule]) -> Vec<Edge<'a>> {
    let mut edges = Vec::new();
    let rule = from.rule();
    for (name, port) in &rule.ports {
        if !is_local(config, &port.value.to) {
            continue;
        }
        let sent = rule.triggers.mqtt.iter();
        let sent = sent.filter_map(|filter| port.value.topic.as_filter_within(from.key(), filter));
        let sent: Vec<TopicFilter> = sent.collect();
        for (to, other) in rules.iter().enumerate() {
            let mut filters = other.rule().triggers.mqtt.iter();
            let reached = filters.find(|filter| sent.iter().any(|sent| filter.overlaps(sent)));
            edges.extend(reached.map(|filter| Edge {
                port: name,
                filter,
                to,
            }));
        }
    }
    edges
}

/// Returns `true` if messages to that destination arrive at the broker that the rules listen to.
fn is_local(config: &Config, destination: &str) -> bool {
    let other = config.destinations.get(destination);
    destination == LOCAL
        || other.is_some_and(|other| match &other.endpoint {
            Endpoint::Mqtt(broker) => {
                broker.host == config.broker.host && broker.port == config.broker.port
            }
            Endpoint::Http(_) => false,
        })
}

/// Finds a cycle: edges that lead nowhere are left out until each of the rest leads to another of
/// the rest.
fn find<'e, 'a>(edges: &'e [Vec<Edge<'a>>]) -> Option<Vec<(usize, &'e Edge<'a>)>> {
    let mut is_in = vec![true; edges.len()];
    let next = |is_in: &[bool], at: usize| {
        let mut out = edges.get(at)?.iter();
        out.find(|edge| is_in.get(edge.to) == Some(&true))
    };
    loop {
        let mut has_changed = false;
        for at in 0..edges.len() {
            if is_in.get(at) == Some(&true) && next(&is_in, at).is_none() {
                is_in.get_mut(at).into_iter().for_each(|it| *it = false);
                has_changed = true;
            }
        }
        if !has_changed {
            break;
        }
    }
    let mut at = is_in.iter().position(|is_in| *is_in)?;
    let mut walked: Vec<(usize, &Edge<'a>)> = Vec::new();
    loop {
        if let Some(start) = walked.iter().position(|(seen, _)| *seen == at) {
            return Some(walked.split_off(start));
        }
        let edge = next(&is_in, at)?;
        walked.push((at, edge));
        at = edge.to;
    }
}

#[cfg(test)]
mod tests {
    use super::super::install_all;
    use crate::config::Config;

    /// Installs rules that pass everything on: name, filter, destination, topic.
    fn install(rules: &[[&str; 4]]) -> Result<usize, String> {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("rules");
        std::fs::create_dir(&folder).unwrap();
        for [name, filter, to, topic] in rules {
            let text = format!(
                "name = \"{name}\"\nversion = 1\n[on]\nmqtt = [\"{filter}\"]\n\
                 [function]\nsql = \"SELECT * FROM events\"\n[ports.out]\nto = \"{to}\"\ntopic = \"{topic}\"\n"
            );
            std::fs::write(folder.join(format!("{name}.toml")), text).unwrap();
        }
        let file = dir.path().join("agent.toml");
        let text = "[gateway]\nid = \"gw\"\nrules_dir = \"rules\"\n[broker]\nurl = \"mqtt://127.0.0.1:1883\"\n\
             [destinations.same]\nurl = \"mqtt://127.0.0.1:1883\"\n\
             [destinations.far]\nurl = \"mqtt://127.0.0.1:1884\"\n";
        std::fs::write(&file, text).unwrap();
        let config = Config::read(&file).unwrap();
        let installed = install_all(&config).map(|rules| rules.len());
        installed.map_err(|wrong| wrong.iter().map(|error| format!("{error}\n")).collect())
    }

    #[test]
    fn rules_that_feed_each_other_are_refused_by_name() {
        for [first, second, to] in [
            ["b/1", "a/1", "local"],
            ["b/{topic.1}", "a/x", "local"],
            ["b/1", "a/1", "same"],
            ["b/1", "a/{payload:/d}", "local"],
        ] {
            let rules = [
                ["one", "$share/g/a/+", "local", first],
                ["two", "b/#", to, second],
            ];
            let wrong = install(&rules).unwrap_err();
            let way = "one sends by out to two, which listens to b/#; two sends by out to one";
            assert!(
                wrong.contains(way) && wrong.contains("one.toml:"),
                "{wrong}"
            );
        }
        let wrong = install(&[["self", "a/+", "same", "a/1"]]).unwrap_err();
        assert!(
            wrong.contains("in a cycle: self sends by out to self"),
            "{wrong}"
        );
    }

    #[test]
    fn rules_that_cannot_feed_each_other_are_taken() {
        for [first, second, to] in [
            ["b/1", "c/1", "local"],
            ["b/1", "a/1", "far"],
            ["b/1", "c/{topic}", "local"],
            ["b/1", "a/{topic}", "local"],
        ] {
            let two = if second.contains("topic") {
                "b/1"
            } else {
                "b/#"
            };
            let taken = install(&[["one", "a/+", "local", first], ["two", two, to, second]]);
            assert_eq!(taken, Ok(2), "{second}");
        }
    }
}
