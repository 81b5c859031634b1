//! The fenced blocks of a page, and what they are.

use std::ops::Range;

/// The kind of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Rule,
    Statement,
    Config,
    Events,
    Results,
    /// Commands behind `$ `, with what comes out of them.
    Session,
    /// Commands alone.
    Commands,
    Other,
}

/// A fenced block.
pub(super) struct Block<'a> {
    /// The text behind the fence.
    tag: &'a str,
    pub(super) text: &'a str,
    /// Range of `text` in the page.
    pub(super) place: Range<usize>,
    /// The line of the fence, from 1.
    pub(super) line: usize,
    /// The last line before that is not empty.
    before: &'a str,
}

/// All blocks of a page, in order.
pub(super) fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, usize, usize)> = None;
    let (mut at, mut before) = (0, "");
    for (number, line) in (1..).zip(page.split_inclusive('\n')) {
        let start = at;
        at += line.len();
        match (line.trim_end().strip_prefix("```"), open) {
            (Some(tag), None) => open = Some((tag, at, number)),
            (Some(_), Some((tag, from, line))) => {
                blocks.push(Block {
                    tag,
                    text: &page[from..start],
                    place: from..start,
                    line,
                    before,
                });
                open = None;
                before = "";
            }
            (None, None) if !line.trim().is_empty() => before = line.trim(),
            _ => {}
        }
    }
    assert!(open.is_none(), "a block has no end: {:?}", open);
    blocks
}

impl<'a> Block<'a> {
    pub(super) fn kind(&self) -> Kind {
        let first = self.text.lines().next().unwrap_or_default();
        let has = |name: &str| first.contains(&format!("\"{name}\":"));
        match self.tag {
            "toml" => {
                let configures = ["[gateway]", "[broker]", "[destinations."];
                let mut lines = self.text.lines();
                let is_of_bridge = |line| ["[bridge]", "[[port]]"].contains(&line);
                if self.text.lines().any(is_of_bridge) {
                    // The file of another program, whose own tests read it.
                    Kind::Other
                } else if lines.any(|line| configures.iter().any(|table| line.starts_with(table))) {
                    Kind::Config
                } else {
                    Kind::Rule
                }
            }
            "sql" => Kind::Statement,
            "json" if first.is_empty() || (has("at") && (has("port") || has("dead_letter"))) => {
                Kind::Results
            }
            "json" if has("at") && has("topic") => Kind::Events,
            "" if self.text.lines().any(|line| line.starts_with("$ ")) => Kind::Session,
            "" if ["echo ", "tidemill ", "cargo "]
                .iter()
                .any(|word| first.starts_with(word)) =>
            {
                Kind::Commands
            }
            _ => Kind::Other,
        }
    }

    /// The file that the line before names: its last word in backticks, where a colon ends the line
    /// and that word has an ending.
    pub(super) fn file(&self) -> Option<&'a str> {
        let endings = [".toml", ".sql", ".jsonl"];
        // `a.jsonl`; and what there is to see in it:
        let words = self.before.strip_suffix(':')?.split('`').skip(1).step_by(2);
        words
            .filter(|word| endings.iter().any(|ending| word.ends_with(ending)))
            .last()
    }
}
