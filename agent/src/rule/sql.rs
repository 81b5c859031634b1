//! Rules in SQL: a statement in a manifest, or a file that holds nothing else. What is wrong with a
//! statement is shown in the file where it stands, with a caret.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tidemill_sql::{Compiled, Options, SqlError, compile};
use tidemill_values::Value;

use super::{
    Durability, FunctionSource, Gateway, Placed, Port, Priority, Rule, Statement, TopicTemplate,
    Triggers,
};
use crate::config::LOCAL;
use crate::text::{FileError, Source};
use crate::topic::TopicFilter;

/// A rule of a file that holds one statement: what FROM names is the topic, and rows go out through
/// `out`.
pub(super) fn rule(source: Source, gateway: &Gateway<'_>) -> Result<Rule, FileError> {
    let name = name_of(&source);
    let options = Options {
        name: name.clone(),
        ..Options::default()
    };
    let whole = 0..source.text.len();
    let compiled = compile(&source.text, &options).map_err(|error| in_file(&source, 0, &error))?;
    let filters = filters(&source, &whole, &compiled)?;
    let template = TopicTemplate::parse("out", &name, gateway.id);
    let out = Port {
        to: LOCAL.to_owned(),
        topic: template.map_err(|why| source.error(why))?,
        priority: Priority::Normal,
        retain: false,
        qos: 1,
    };
    let placed = Placed {
        value: out,
        span: whole.clone(),
    };
    Ok(Rule {
        name: name.into(),
        version: 1,
        description: String::new(),
        durability: Durability::ExactlyOnce,
        triggers: Triggers {
            mqtt: filters,
            retained: false,
            schedules: Vec::new(),
        },
        key: None,
        function: function(source.text.clone(), compiled),
        function_span: whole,
        inputs: BTreeMap::new(),
        params: BTreeMap::new(),
        window: Default::default(),
        ports: BTreeMap::from([("out".to_owned(), placed)]),
        limits: *gateway.limits,
        source: Arc::new(source),
    })
}

/// The function of a statement in a manifest.
pub(super) fn in_manifest(
    source: &Source,
    span: &Range<usize>,
    sql: &str,
    options: &Options,
) -> Result<FunctionSource, FileError> {
    // Where the statement stands as it is, errors point into it.
    let written = source.text.get(span.clone()).unwrap_or_default();
    let offset = written.find(sql).map(|at| span.start + at);
    match compile(sql, options) {
        Ok(compiled) => Ok(function(sql.to_owned(), compiled)),
        Err(error) => Err(match offset {
            Some(offset) => in_file(source, offset, &error),
            None => source.error_at(span, format!("{error}\n{}", error.excerpt(sql))),
        }),
    }
}

fn function(sql: String, compiled: Compiled) -> FunctionSource {
    FunctionSource::Sql(Arc::new(Statement {
        sql,
        wasm: compiled.wasm,
        plan: compiled.plan,
    }))
}

/// The error with its place in the file, and the line that is wrong.
fn in_file(source: &Source, offset: usize, error: &SqlError) -> FileError {
    let moved = SqlError {
        message: error.message.clone(),
        span: error.span.start + offset..error.span.end + offset,
    };
    let message = format!("{}\n{}", moved.message, moved.excerpt(&source.text));
    source.error_at(&moved.span, message)
}

fn filters(
    source: &Source,
    span: &Range<usize>,
    compiled: &Compiled,
) -> Result<Vec<TopicFilter>, FileError> {
    let mut filters: Vec<TopicFilter> = Vec::new();
    for text in compiled.streams.iter().flat_map(|stream| &stream.filters) {
        let filter = TopicFilter::new(text)
            .map_err(|why| source.error_at(span, format!("the topic {text:?}: {why}")))?;
        if !filters.contains(&filter) {
            filters.push(filter);
        }
    }
    Ok(filters)
}

/// The rule's name: that of the file, as far as a rule may be called so.
fn name_of(source: &Source) -> String {
    let stem = source.path.file_stem().unwrap_or_default();
    let name: String = stem
        .to_string_lossy()
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(64)
        .collect();
    match name.is_empty() {
        true => "statement".to_owned(),
        false => name,
    }
}

/// The value of a parameter in a statement.
pub(super) fn param(value: &toml::Value) -> Option<Value> {
    match value {
        toml::Value::Integer(number) => Some(Value::Int(*number)),
        toml::Value::Float(number) => Some(Value::float(*number)),
        toml::Value::Boolean(yes) => Some(Value::Bool(*yes)),
        toml::Value::String(text) => Some(Value::text(text.as_str())),
        _ => None,
    }
}
