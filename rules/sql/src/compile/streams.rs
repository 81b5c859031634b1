//! The streams of a statement, with what is declared of them before it or by the rule.

use super::{Options, Stream};
use crate::ast::Select;
use crate::error::SqlError;
use crate::parse::Declaration;

/// Formats of messages that are one value without columns.
const BARE: [&str; 5] = ["number", "text", "bytes", "binary", "lines"];

/// The streams of the statement with what is declared of them.
pub(super) fn streams(
    select: &Select,
    declarations: &[Declaration],
    options: &Options,
) -> Result<Vec<Stream>, SqlError> {
    let sources = std::iter::once(&select.from).chain(select.joins.iter().map(|join| &join.source));
    let mut streams: Vec<Stream> = Vec::new();
    for source in sources {
        let declared = declarations
            .iter()
            .find(|known| known.name == source.stream);
        let given = options
            .streams
            .iter()
            .find(|known| known.name == source.stream);
        if given.is_none() && declared.is_none() && !options.streams.is_empty() {
            let known: Vec<&str> = options.streams.iter().map(|s| s.name.as_str()).collect();
            let message = format!(
                "there is no stream {}, there is {}",
                source.stream,
                known.join(", ")
            );
            return Err(SqlError::new(&source.span, message));
        }
        if given.is_some() && declared.is_some() {
            let message = format!(
                "{} is declared twice, by CREATE STREAM and by [streams.{0}]; leave out one of them",
                source.stream
            );
            return Err(SqlError::new(&source.span, message));
        }
        let mut stream = given.cloned().unwrap_or_default();
        stream.name.clone_from(&source.name);
        stream.source.clone_from(&source.stream);
        stream.declared = given.is_some() || declared.is_some();
        if let Some(declared) = declared {
            let topic = declared.source.as_ref().map(|(topic, _)| topic.clone());
            stream.filters = vec![topic.unwrap_or_else(|| declared.name.clone())];
            stream.fields.clone_from(&declared.fields);
            stream.options.clone_from(&declared.options);
            let mut options = declared.options.iter();
            let format = options.find(|option| option.name == "format");
            let format = format.map(|format| format.value.to_ascii_lowercase());
            stream.recoded = format.as_deref().is_some_and(|format| format != "json");
            stream.bare = format.filter(|format| BARE.contains(&format.as_str()));
            stream.complete = !declared.fields.is_empty();
            stream.strict = declared.strict;
            stream.timestamp = declared.timestamp.as_ref().map(|name| pointer(name));
        }
        if stream.filters.is_empty() && given.is_none() {
            stream.filters = vec![source.stream.clone()];
        }
        if streams.iter().any(|known| known.name == stream.name) {
            let message = format!(
                "two streams are called {}; write AS and another name",
                stream.name
            );
            return Err(SqlError::new(&source.span, message));
        }
        streams.push(stream);
    }
    Ok(streams)
}

/// The JSON pointer of a column.
pub(super) fn pointer(column: &str) -> String {
    format!("/{}", column.replace('~', "~0").replace('/', "~1"))
}
