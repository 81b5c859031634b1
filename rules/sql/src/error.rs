//! Errors in a statement, with their place, which can be shown with a caret.

use std::fmt;
use std::ops::Range;

/// Why a statement was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// The fault, and what would be right.
    pub message: String,
    /// Place in the statement, in bytes.
    pub span: Range<usize>,
}

impl SqlError {
    /// An error at a place of the statement.
    pub fn new(span: &Range<usize>, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            span: span.clone(),
        }
    }

    /// Line and column of the place, both from 1, columns in characters.
    #[must_use]
    pub fn place(&self, sql: &str) -> (usize, usize) {
        let before = sql.get(..self.span.start).unwrap_or(sql);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        (line, column)
    }

    /// The line of the statement that is wrong, with carets under the place.
    #[must_use]
    pub fn excerpt(&self, sql: &str) -> String {
        let (number, column) = self.place(sql);
        let line = sql.lines().nth(number - 1).unwrap_or_default();
        let marked = sql.get(self.span.clone()).unwrap_or_default();
        let marked = marked.lines().next().unwrap_or_default().chars().count();
        // The text before the place keeps its tabs, so that the caret is under the place.
        let indent: String = line
            .chars()
            .take(column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let margin = " ".repeat(number.to_string().len());
        let carets = "^".repeat(marked.max(1));
        format!("{margin} |\n{number} | {line}\n{margin} | {indent}{carets}")
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SqlError {}

/// `name` for messages, with the nearest known ones.
pub(crate) fn did_you_mean(near: &[&str]) -> String {
    match near {
        [] => String::new(),
        [one] => format!("; did you mean {one}?"),
        many => format!("; the nearest are {}", many.join(", ")),
    }
}
