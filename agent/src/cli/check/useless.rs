//! Lines of a rule or a configuration that mean something, and nothing that anybody could want.

use std::time::SystemTime;

use crate::config::{Config, Endpoint, LOCAL};
use crate::mill::BoundRule;
use crate::rule::{KeySpec, Rule, place_without_braces};
use tidemill_base::text::FileError;
use tidemill_transport::topic::TopicFilter;

/// The key of a rule that keeps one state for all events on purpose.
const ALL: &str = "all";

/// Warnings about one rule.
pub(super) fn of_rule(rule: &Rule) -> Vec<FileError> {
    let mut warnings: Vec<FileError> = key(rule).into_iter().collect();
    for (name, port) in &rule.ports {
        let port = &port.value;
        let warn = |why: String| {
            let message = format!("ports.{name}.topic: {why}");
            rule.source.error_at(&port.topic_span, message)
        };
        if let Some((level, place)) = port.topic.without_braces() {
            warnings.push(warn(format!(
                "{level:?} is sent as it stands; write {place} for what was probably meant"
            )));
        }
        if let Some(needed) = port.topic.levels_needed() {
            warnings.extend(levels(rule, needed).map(warn));
        }
    }
    warnings
}

fn key(rule: &Rule) -> Option<FileError> {
    let span = rule.key_span.as_ref()?;
    let key = rule.key.as_ref()?;
    let why = match key {
        KeySpec::Constant(text) if &**text != ALL => match place_without_braces(text) {
            Some(place) if &**text != "key" => {
                format!(
                    "every event has the key {text:?}; write {place} for what was probably meant"
                )
            }
            _ => format!(
                "every event has the key {text:?}; write \"/{text}\" for a value of the payload, \"{{topic.1}}\" for \
                 a level of the topic, or {ALL:?} if one state for all events is meant"
            ),
        },
        _ => levels(rule, key.levels_needed()?)?,
    };
    Some(rule.source.error_at(span, format!("on.key: {why}")))
}

/// Filters whose topics lack a level that is needed, where they cannot have it.
fn levels(rule: &Rule, needed: usize) -> Option<String> {
    let filters = &rule.triggers.mqtt;
    let lacks = |filter: &&TopicFilter| {
        let plain = filter.plain();
        !plain.ends_with('#') && plain.split('/').count() < needed
    };
    let short = filters.iter().find(lacks)?;
    let (level, has) = (needed - 1, short.plain().split('/').count());
    let which = if filters.iter().all(|filter| lacks(&filter)) {
        "every event is a dead letter"
    } else {
        "its events are dead letters"
    };
    Some(format!(
        "topics of {short} have the levels 0 to {}, and no level {level}: {which}; write a level that they have",
        has.saturating_sub(1)
    ))
}

/// Warnings about addresses and their certificates that hang on no rule.
pub(super) fn of_config(config: &Config) -> impl Iterator<Item = FileError> {
    let local = (LOCAL, &config.broker);
    let others = config.destinations.iter().filter_map(|(name, it)| {
        let Endpoint::Mqtt(broker) = &it.endpoint else {
            return None;
        };
        Some((name.as_str(), broker))
    });
    let brokers = std::iter::once(local).chain(others);
    let ports = brokers.filter_map(|(name, broker)| {
        let why = match (broker.port, &broker.tls) {
            (8_883, None) => "8883 is the port for TLS; write mqtts://",
            (1_883, Some(_)) => "1883 is the port without TLS; write mqtt://, or port 8883",
            _ => return None,
        };
        Some(url_warning(config, name, why))
    });
    ports.chain(certificates(config))
}

/// Certificates that are trusted or shown and out of their time. That is no error: the clock may be wrong for now.
fn certificates(config: &Config) -> impl Iterator<Item = FileError> {
    let others = config.destinations.iter().map(|(name, it)| {
        let tls = match &it.endpoint {
            Endpoint::Mqtt(broker) => &broker.tls,
            Endpoint::Http(http) => &http.tls,
        };
        (name.as_str(), tls)
    });
    let all = std::iter::once((LOCAL, &config.broker.tls)).chain(others);
    let now = SystemTime::now();
    all.flat_map(move |(name, tls)| {
        let told = tls.as_ref().map(|tls| tls.out_of_time(now));
        let told = told.unwrap_or_default().into_iter();
        let told = told.map(|why| format!("ca_file: {why}"));
        let own = tls.as_ref().and_then(|tls| tls.client_out_of_time(now));
        let own = own.map(|why| format!("cert_file: {why}"));
        told.chain(own)
            .map(move |why| url_warning(config, name, &why))
    })
}

/// Destinations that no rule sends to.
pub(super) fn destinations(
    config: &Config,
    rules: &[BoundRule],
) -> impl Iterator<Item = FileError> {
    let ports = rules.iter().flat_map(|bound| bound.rule().ports.values());
    let used: Vec<&str> = ports.map(|port| port.value.to.as_str()).collect();
    let names = config.destinations.keys();
    names.filter_map(move |name| {
        let why = format!(
            "no rule sends to it; write to = {name:?} in a port of a rule, or take the destination out"
        );
        (!used.contains(&name.as_str())).then(|| url_warning(config, name, &why))
    })
}

/// A warning about an address, with its place.
pub(super) fn url_warning(config: &Config, name: &str, why: &str) -> FileError {
    let message = match name {
        LOCAL => format!("broker.url: {why}"),
        name => format!("destinations.{name}: {why}"),
    };
    match config.urls.get(name) {
        Some(span) => config.source.error_at(span, message),
        None => config.source.error(message),
    }
}
