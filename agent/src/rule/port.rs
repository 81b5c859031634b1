//! `[ports.NAME]` of a rule's manifest.

use serde::Deserialize;
use toml::Spanned;

use super::{Durability, Gateway, Port, Priority, TopicTemplate};
use tidemill_base::text::{Errors, Source, nearest};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pub(super) to: Spanned<String>,
    pub(super) topic: Spanned<String>,
    pub(super) priority: Option<Spanned<String>>,
    pub(super) nulls: Option<Spanned<bool>>,
    #[serde(default)]
    pub(super) retain: bool,
    pub(super) qos: Option<Spanned<u64>>,
}

/// Facts about a rule that its ports are checked against.
pub(super) struct Place<'a> {
    pub(super) source: &'a Source,
    pub(super) rule: &'a str,
    pub(super) durability: Durability,
    pub(super) is_sql: bool,
    pub(super) gateway: &'a Gateway<'a>,
}

/// Checks the port `name` of a rule. What is wrong has something good in its place.
pub(super) fn check(
    place: &Place<'_>,
    name: &str,
    table: &Spanned<Table>,
    errors: &Errors,
) -> Port {
    let Place {
        source, gateway, ..
    } = place;
    let table = table.get_ref();
    let to = table.to.get_ref();
    let known = gateway.destinations;
    if let Some(known) = known.filter(|known| !known.contains(&to.as_str())) {
        let near = nearest(to, known.iter().copied());
        let hint = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
        let message = format!(
            "ports.{name}.to: the gateway has no destination {to:?}, it has {}{hint}",
            known.join(", ")
        );
        errors.push(source.error_at(&table.to.span(), message));
    }
    let nulls = table.nulls.as_ref();
    if let Some(nulls) = nulls.filter(|nulls| *nulls.get_ref() && !place.is_sql) {
        let message = format!("ports.{name}.nulls = true belongs to rules in SQL");
        errors.push(source.error_at(&nulls.span(), message));
    }
    let topic = |text: &str| TopicTemplate::parse(text, place.rule, gateway.id);
    let topic = topic(table.topic.get_ref()).unwrap_or_else(|why| {
        let message = format!("ports.{name}.topic: {why}");
        errors.push(source.error_at(&table.topic.span(), message));
        TopicTemplate::stand_in()
    });
    let priority = match table
        .priority
        .as_ref()
        .map(|text| (text.get_ref().as_str(), text))
    {
        None | Some(("normal", _)) => Priority::Normal,
        Some(("high", _)) => Priority::High,
        Some((other, text)) => {
            let message = format!("ports.{name}.priority {other:?}: write \"high\" or \"normal\"");
            errors.push(source.error_at(&text.span(), message));
            Priority::Normal
        }
    };
    let qos = match (&table.qos, place.durability) {
        (Some(qos), _) => {
            if *qos.get_ref() > 1 {
                let message = format!("ports.{name}.qos is 0 or 1");
                errors.push(source.error_at(&qos.span(), message));
            }
            u8::from(*qos.get_ref() == 1)
        }
        (None, Durability::ExactlyOnce) => 1,
        (None, Durability::Volatile) => 0,
    };
    Port {
        to: to.clone(),
        topic,
        topic_span: table.topic.span(),
        priority,
        retain: table.retain,
        qos,
    }
}
