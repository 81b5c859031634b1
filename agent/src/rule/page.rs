//! `docs/rule.md` against the parser: all keys are there and no other, examples are understood, and defaults are what a rule
//! has that says nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Gateway, Rule, keys};
use crate::config::limits::FunctionLimits;
use tidemill_base::text::shape::{Key, Takes, tables};
use tidemill_base::text::{FileErrors, Source};
use tidemill_tests::page::{self, Row, code};

const PAGE: &str = include_str!("../../../docs/rule.md");

/// The name of a table as the page writes it: `x` stands for a name of the owner's choice.
fn table_of(heading: &str) -> String {
    let name = code(heading).next().unwrap_or_default();
    name.trim_matches(['[', ']']).replace("NAME", "x")
}

fn parse(text: &str) -> Result<Rule, FileErrors> {
    let source = Source {
        path: PathBuf::from("rule.toml"),
        text: text.to_owned(),
    };
    let gateway = Gateway {
        id: "gw",
        destinations: None,
        limits: &FunctionLimits::default(),
    };
    Rule::parse(source, &gateway)
}

/// A rule that says no more than it must, with `lines` in one of its tables.
fn rule(table: &str, key: &str, lines: &[&str]) -> String {
    let function = if key == "nulls" {
        "sql = \"SELECT t FROM s\""
    } else {
        "stock = \"threshold\""
    };
    let mut parts = vec![
        ("", vec!["name = \"rule\""]),
        ("on", vec!["mqtt = [\"a/+\"]"]),
        ("function", vec![function]),
        ("ports.x", vec!["to = \"local\"", "topic = \"b\""]),
    ];
    if !parts.iter().any(|(known, _)| *known == table) {
        parts.push((table, Vec::new()));
    }
    let mut text = String::new();
    for (name, mut own) in parts {
        if name == table {
            let of = |line: &str| line.split(" =").next().unwrap_or_default().to_owned();
            let given: Vec<String> = lines.iter().map(|line| of(line)).collect();
            // One function only.
            own.retain(|line| name != "function" && !given.contains(&of(line)));
            own.extend(lines);
        }
        if !name.is_empty() {
            text.push_str(&format!("[{name}]\n"));
        }
        text.push_str(&(own.join("\n") + "\n"));
    }
    text
}

/// Debug text of a rule without the places in its file, to compare contents.
fn meaning(mut rule: Rule) -> String {
    rule.source = std::sync::Arc::new(Source {
        path: PathBuf::new(),
        text: String::new(),
    });
    let shown = format!("{rule:?}");
    let numbers = |c: char| c.is_ascii_digit();
    shown
        .split("..")
        .map(|part| part.trim_matches(numbers))
        .collect()
}

fn check_row(table: &str, row: &Row) {
    let [default, meaning_cell, example] = &row.cells[..] else {
        panic!("{table}: {row:?}");
    };
    let key = row.keys.first().unwrap();
    assert_eq!(row.keys.len(), 1, "{table}: {row:?}");
    assert!(!default.is_empty() && !meaning_cell.is_empty(), "{row:?}");
    let lines: Vec<&str> = code(example).collect();
    let is_of_key = |line: &&&str| line.starts_with(&format!("{key} = "));
    let has_key = key == "NAME" || lines.iter().any(|line| is_of_key(&line));
    assert!(has_key, "{table}.{key}: {example}");
    let with = rule(table, key, &lines);
    let understood = parse(&with).unwrap_or_else(|errors| panic!("{errors}\n{with}"));
    let Some(value) = default.strip_prefix('`') else {
        return;
    };
    let others: Vec<&str> = lines
        .iter()
        .copied()
        .filter(|line| !is_of_key(&line))
        .collect();
    let said = format!("{key} = {}", value.trim_end_matches('`'));
    let without = meaning(parse(&rule(table, key, &others)).unwrap());
    let said: Vec<&str> = others.iter().copied().chain([said.as_str()]).collect();
    let by_default = meaning(parse(&rule(table, key, &said)).unwrap());
    assert_eq!(by_default, without, "{table}.{key}: {default}");
    // One that only allows a rule without other triggers changes nothing in a rule that has some.
    if table == "on" && key == "invoke" {
        return;
    }
    // An example that shows the default shows nothing.
    assert_ne!(meaning(understood), without, "{table}.{key}: {example}");
}

#[test]
fn the_page_has_all_keys_with_defaults_and_examples_that_hold() {
    let rows = page::rows(PAGE);
    let mut seen = BTreeSet::new();
    for (path, keys) in tables(keys::FILE) {
        let (heading, rows) = rows
            .iter()
            .find(|(heading, _)| table_of(heading) == path)
            .unwrap_or_else(|| panic!("no table for [{path}]"));
        seen.insert(*heading);
        let holds_keys = |key: &&Key| {
            matches!(key.takes, Takes::Table(_) | Takes::Tables(_))
                || (path.is_empty() && matches!(key.takes, Takes::Named(_)))
        };
        let known: BTreeSet<&str> = keys
            .iter()
            .filter(|key| !holds_keys(key))
            .map(|key| key.name)
            .collect();
        assert_eq!(page::keys(rows), known, "[{path}]");
        for row in rows {
            let key = keys.iter().find(|key| key.name == row.keys[0]).unwrap();
            let is_said = row.cells[0] == "required";
            assert_eq!(is_said, key.is_required, "[{path}] {}", key.name);
            check_row(&path, row);
        }
    }
    let named = keys::FILE
        .iter()
        .filter(|key| matches!(key.takes, Takes::Named(_)));
    for table in named {
        let heading = rows
            .iter()
            .find(|(heading, _)| table_of(heading) == table.name);
        let (heading, rows) = heading.unwrap_or_else(|| panic!("no table for [{}]", table.name));
        seen.insert(*heading);
        rows.iter().for_each(|row| check_row(table.name, row));
    }
    let all: BTreeSet<&str> = rows.keys().copied().collect();
    assert_eq!(all, seen, "tables of keys that no parser knows");
}
