//! Pages that say what keys a file may have, for tests that compare them with the parser: under a heading with the name of
//! a table in brackets stand rows, of which the first cell has the keys and the last one an example.

use std::collections::{BTreeMap, BTreeSet};

/// A row of a table of keys.
#[derive(Debug)]
pub struct Row {
    /// The keys, without the table that the heading names.
    pub keys: Vec<String>,
    /// The cells behind them, as they stand there.
    pub cells: Vec<String>,
}

/// The words between backticks.
pub fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The rows of all tables of keys by the heading that they stand under.
pub fn rows(page: &str) -> BTreeMap<&str, Vec<Row>> {
    let mut rows: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
    let (mut heading, mut is_of_keys) = ("", false);
    for line in page.lines() {
        if line.starts_with('#') {
            heading = line.trim_start_matches('#').trim();
        }
        if line.starts_with("|--") || line.starts_with("| --") {
            continue;
        }
        let Some(inner) = line.strip_prefix("| ") else {
            is_of_keys = false;
            continue;
        };
        let mut cells = inner.trim_end_matches('|').split(" | ").map(str::trim);
        let first = cells.next().unwrap_or_default();
        if !is_of_keys {
            is_of_keys = first == "key";
        } else {
            rows.entry(heading).or_default().push(Row {
                keys: code(first).map(str::to_owned).collect(),
                cells: cells.map(str::to_owned).collect(),
            });
        }
    }
    rows.retain(|_, rows| !rows.is_empty());
    rows
}

/// All keys of rows; none stands there twice.
pub fn keys(rows: &[Row]) -> BTreeSet<&str> {
    let mut keys = BTreeSet::new();
    for key in rows.iter().flat_map(|row| &row.keys) {
        assert!(keys.insert(key.as_str()), "{key} stands there twice");
    }
    keys
}

#[test]
fn keys_are_found_with_their_cells() {
    let page = "## `[a]`: first\n\n| key | default | |\n|---|---|---|\n| `x`, `y` | `1` | not `z` |\n\n| place | what |\n| `{k}` | no key |\n";
    let rows = rows(page);
    let found = &rows["`[a]`: first"];
    assert_eq!((rows.len(), found.len()), (1, 1));
    assert_eq!(found[0].keys, ["x", "y"]);
    assert_eq!(found[0].cells[..2], ["`1`", "not `z`"]);
}
