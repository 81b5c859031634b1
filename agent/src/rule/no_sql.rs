//! Refusals of statements, in builds without the compiler.

use std::ops::Range;

use toml::Spanned;

use super::tables::File;
use super::{FunctionSource, Gateway, Rule, Stream};
use tidemill_base::text::{FileError, Source};
use tidemill_transport::topic::TopicFilter;

const WAY_OUT: &str = "this is a small build of tidemill, without SQL; install the build whose archive has no `small` in its \
                       name, or write the rule with stock = \"threshold\" or wasm = \"file.wasm\" under [function]";

/// Refuses a file that holds one statement.
pub(super) fn rule(source: Source, _: &Gateway<'_>) -> Result<Rule, FileError> {
    Err(refused(&source, &(0..0)))
}

/// Refuses the statement of a manifest.
pub(super) fn statement(
    source: &Source,
    _: &File,
    sql: &Spanned<String>,
    _: (&[Stream], &[TopicFilter]),
) -> Result<(FunctionSource, Vec<Stream>), FileError> {
    Err(refused(source, &sql.span()))
}

fn refused(source: &Source, span: &Range<usize>) -> FileError {
    source.error_at(span, format!("the statement cannot be compiled: {WAY_OUT}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::limits::FunctionLimits;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.into(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_statement_is_refused_with_its_line_and_the_way_out() {
        let text =
            "name = \"hot\"\n[on]\nmqtt = [\"a\"]\n[function]\nsql = \"SELECT a FROM input\"\n";
        let file: File = toml::from_str(text).unwrap();
        let sql = Spanned::new(48..69, "SELECT a FROM input".to_owned());
        let error = statement(&source("hot.toml", text), &file, &sql, (&[], &[])).unwrap_err();
        let expected = "hot.toml:5:7: the statement cannot be compiled: this is a small build";
        assert!(error.to_string().starts_with(expected), "{error}");
        let gateway = Gateway {
            id: "gw",
            destinations: None,
            limits: &FunctionLimits::default(),
        };
        let error = rule(source("hot.sql", "SELECT a FROM b"), &gateway).unwrap_err();
        assert!(
            error.to_string().contains("no `small` in its name"),
            "{error}"
        );
    }
}
