//! `cargo xtask lint`: rules of the house that neither rustc nor clippy knows. Two bare integers of one
//! type beside each other can be swapped without a compile error, so ids and times are types; long
//! functions, long files and long trains of parameters are split. `list.txt` names what may stay.

mod findings;
mod list;
mod sources;

use crate::shell::{Workspace, say};
use anyhow::{Result, bail};
use list::List;

/// Crates whose code is read; those that only test are left out.
const CRATES: [&str; 12] = [
    "agent",
    "agent/base",
    "agent/bundle",
    "agent/journal",
    "agent/ntp",
    "agent/transport",
    "firmware-bridge",
    "firmware-bridge/lines",
    "firmware-bridge/tty",
    "rules/abi",
    "rules/sql",
    "rules/values",
];

/// The committed list of what may stay.
const LIST: &str = include_str!("lint/list.txt");

/// Reads all crates and fails on what breaks a rule and does not stand in the list.
pub(crate) fn lint(workspace: &Workspace) -> Result<()> {
    let mut found = Vec::new();
    for folder in CRATES {
        for source in sources::of_crate(&workspace.root, folder)? {
            found.extend(findings::of_source(&source));
        }
    }
    let verdict = List::read(LIST)?.judge(&found);
    for line in &verdict.notes {
        say(line);
    }
    if verdict.broken.is_empty() {
        return Ok(());
    }
    bail!(
        "{}\nSplit it, or give what is counted a type; what has to stay is named in xtask/src/lint/list.txt, \
         with its reason",
        verdict.broken.join("\n")
    )
}

/// Result of judging the findings by the list.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Findings that may not stay, and lines of the list that fit nothing.
    broken: Vec<String>,
    /// Counts that could be lowered.
    notes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use findings::Finding;
    use sources::Source;
    use std::path::Path;

    fn findings(path: &str, text: &str) -> Vec<Finding> {
        let sources = Source::parse(Path::new(path), text).unwrap();
        findings::of_source(&sources)
    }

    fn broken(list: &str, text: &str) -> Vec<String> {
        let found = findings("agent/src/mill/planted.rs", text);
        List::read(list).unwrap().judge(&found).broken
    }

    const TWO: &str =
        "impl Mill { fn push(&mut self, lsn: u64, seq: Option<u64>, packet: u16) {} }";

    #[test]
    fn two_bare_integers_of_one_type_are_found() {
        let said = broken("", TWO);
        assert_eq!(said.len(), 1);
        assert!(
            said[0].contains("agent/src/mill/planted.rs:1: Mill::push takes lsn and seq"),
            "{said:?}"
        );
    }

    #[test]
    fn integers_of_two_types_and_of_tests_are_not_found() {
        let none: [&str; 4] = [
            "fn push(lsn: Lsn, seq: u64, packet: u16) {}",
            "#[cfg(test)] mod tests { fn push(lsn: u64, seq: u64) {} }",
            "impl Disk for Model { fn write(&self, offset: u64, len: u64) {} }",
            "#[test] fn a(lsn: u64, seq: u64) {}",
        ];
        for text in none {
            assert_eq!(broken("", text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn words_of_a_guest_are_not_found() {
        let import = "fn st_get(caller: Call<'_>, kp: i32, kl: i32) {}";
        assert_eq!(findings("agent/src/function/imports.rs", import).len(), 0);
        assert_eq!(findings("agent/src/mill/call.rs", import).len(), 1);
    }

    #[test]
    fn two_fields_are_found_where_records_and_lanes_are() {
        let text = "struct Row { lsn: u64, seq: u64 }";
        assert_eq!(broken("", text).len(), 1);
        assert_eq!(findings("agent/src/cli/x.rs", text).len(), 0);
        assert_eq!(findings("agent/journal/src/x.rs", text).len(), 1);
    }

    #[test]
    fn a_train_needs_a_reason_in_its_doc() {
        let train = "fn f(a: A, b: B, c: C, d: D, e: E, f: F) {}";
        assert_eq!(broken("", train).len(), 1);
        let reasoned =
            format!("/// Adds.\n///\n/// Parameters: the file's columns, in its order.\n{train}");
        assert_eq!(broken("", &reasoned).len(), 0);
        let bare = format!("/// Parameters:\n{train}");
        assert_eq!(broken("", &bare).len(), 1);
    }

    #[test]
    fn lines_of_code_count_without_comments_and_tests() {
        let body = |lines: usize| {
            format!(
                "fn f() {{\n{}}}\n",
                "    g();\n\n    // why\n".repeat(lines)
            )
        };
        assert_eq!(broken("", &body(68)).len(), 0);
        assert_eq!(broken("", &body(69)).len(), 1);
        let file = |lines: usize| "const A: () = ();\n\n".repeat(lines);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", file(300));
        assert_eq!(broken("", &(file(400) + &tests)).len(), 0);
        assert_eq!(broken("", &(file(401) + &tests)).len(), 1);
    }

    #[test]
    fn a_line_of_the_list_lets_one_stay_and_has_to_fit() {
        let line = "keep integers agent/src/mill/planted.rs Mill::push: both are the same\n";
        assert_eq!(broken(line, TWO).len(), 0);
        assert_eq!(broken(line, "fn other() {}").len(), 1);
        assert!(List::read("keep integers a.rs f:\n").is_err());
        assert!(List::read("keep integers a.rs f: why\n".repeat(31).as_str()).is_err());
    }

    #[test]
    fn a_count_for_later_may_only_fall() {
        assert_eq!(broken("later integers agent/src/mill 1\n", TWO).len(), 0);
        assert_eq!(broken("later integers agent/src/mill 0\n", TWO).len(), 2);
        assert_eq!(broken("later integers agent/src/commit 1\n", TWO).len(), 1);
        let list = List::read("later integers agent/src/mill 2\n").unwrap();
        let verdict = list.judge(&findings("agent/src/mill/planted.rs", TWO));
        assert_eq!(verdict.broken.len(), 0);
        assert_eq!(verdict.notes.len(), 1);
    }
}
