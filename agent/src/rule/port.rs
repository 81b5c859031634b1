//! `[ports.NAME]` of a rule's manifest.

use serde::Deserialize;
use toml::Spanned;

use super::{Durability, Gateway, Port, Priority, TopicTemplate};
use tidemill_base::text::{FileError, Source, nearest};

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

/// Checks the port `name` of a rule.
pub(super) fn check(
    source: &Source,
    name: &str,
    table: &Spanned<Table>,
    rule: &str,
    durability: Durability,
    is_sql: bool,
    gateway: &Gateway<'_>,
) -> Result<Port, FileError> {
    let table = table.get_ref();
    let to = table.to.get_ref();
    if let Some(known) = gateway.destinations
        && !known.contains(&to.as_str())
    {
        let near = nearest(to, known.iter().copied());
        let hint = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
        let message = format!(
            "ports.{name}.to: the gateway has no destination {to:?}, it has {}{hint}",
            known.join(", ")
        );
        return Err(source.error_at(&table.to.span(), message));
    }
    if let Some(nulls) = table
        .nulls
        .as_ref()
        .filter(|nulls| *nulls.get_ref() && !is_sql)
    {
        let message = format!("ports.{name}.nulls = true belongs to rules in SQL");
        return Err(source.error_at(&nulls.span(), message));
    }
    let topic = TopicTemplate::parse(table.topic.get_ref(), rule, gateway.id).map_err(|why| {
        source.error_at(&table.topic.span(), format!("ports.{name}.topic: {why}"))
    })?;
    let priority = match &table.priority {
        None => Priority::Normal,
        Some(text) => match text.get_ref().as_str() {
            "high" => Priority::High,
            "normal" => Priority::Normal,
            other => {
                let message =
                    format!("ports.{name}.priority {other:?}: write \"high\" or \"normal\"");
                return Err(source.error_at(&text.span(), message));
            }
        },
    };
    let qos = match (&table.qos, durability) {
        (Some(qos), _) if *qos.get_ref() > 1 => {
            return Err(source.error_at(&qos.span(), format!("ports.{name}.qos is 0 or 1")));
        }
        (Some(qos), _) => u8::from(*qos.get_ref() == 1),
        (None, Durability::ExactlyOnce) => 1,
        (None, Durability::Volatile) => 0,
    };
    Ok(Port {
        to: to.clone(),
        topic,
        topic_span: table.topic.span(),
        priority,
        retain: table.retain,
        qos,
    })
}
