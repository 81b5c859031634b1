//! The guard of the agent's structure: a wing imports only from lower floors, files do not name each
//! other in a circle, and each library stands behind one wing. The floors are the table of
//! `docs/architecture.md`.

mod circles;
mod code;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use circles::circles;
use code::Sources;

const PAGE: &str = include_str!("../../../docs/architecture.md");

/// Libraries that stand behind one wing: who may name them.
const BEHIND: &[(&str, &[&str])] = &[
    ("wasmi", &["function"]),
    ("sled", &["storage"]),
    ("rumqttc", &[]),
    ("rumqttd", &["demo"]),
    ("hyper", &["destination"]),
    ("rustls", &[]),
    ("tidemill_sql", &["rule"]),
    ("wasmprinter", &["cli"]),
];

/// Wings that work on what they are handed: no file, no socket, no clock, no thread.
const PURE: &[&str] = &["event", "rule", "function", "commit", "mill"];

/// Ways out of a pure wing.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "Instant",
    "SystemTime",
    "tokio",
    "rustix",
];

/// Files of pure wings that may do more: the one place that reads clocks, of which the others are told.
const EXCEPT: &[(&str, &str)] = &[("event/clock.rs", "rustix"), ("event/clock.rs", "std::fs")];

/// Ways to a terminal past `console`, which escapes what came from outside.
const TERMINALS: &[&str] = &[
    "stdout()",
    "stderr()",
    "println!",
    "print!(",
    "dbg!(",
    "stdio::std",
];

fn agent() -> Sources {
    Sources::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

/// The floor of each wing, by the table of the page: rows begin with the floor's number, wings stand
/// between backticks in the second column.
fn floors() -> BTreeMap<String, usize> {
    let mut floors = BTreeMap::new();
    for row in PAGE.lines().filter_map(|line| line.strip_prefix("| ")) {
        let mut columns = row.split('|').map(str::trim);
        let Some(Ok(floor)) = columns.next().map(str::parse) else {
            continue;
        };
        let wings = columns.next().unwrap().split('`').skip(1).step_by(2);
        for wing in wings.filter(|wing| !wing.contains('/')) {
            assert_eq!(floors.insert(wing.to_owned(), floor), None, "{wing} twice");
        }
    }
    floors
}

/// Each import of a wing from one that is not below it, as file and wing.
fn upward(sources: &Sources, floors: &BTreeMap<String, usize>) -> Vec<(PathBuf, String)> {
    let floor_of = |wing: &String| {
        *floors
            .get(wing)
            .unwrap_or_else(|| panic!("{wing} stands on no floor in docs/architecture.md"))
    };
    let mut found = Vec::new();
    for (module, source) in &sources.0 {
        let Some(wing) = module.first() else { continue };
        for other in sources.named_by(module) {
            let Some(other) = other.first().filter(|other| *other != wing) else {
                continue;
            };
            if floor_of(other) >= floor_of(wing) {
                found.push((source.path.clone(), other.clone()));
            }
        }
    }
    found
}

/// Each way out of a pure wing, as file and line.
fn impure(sources: &Sources) -> Vec<String> {
    let mut found = Vec::new();
    for (module, source) in &sources.0 {
        if !module
            .first()
            .is_some_and(|wing| PURE.contains(&wing.as_str()))
        {
            continue;
        }
        let path = source.path.to_str().unwrap();
        for line in source.code.lines() {
            let ways = IMPURE.iter().filter(|way| names(line, way));
            for way in ways.filter(|way| !EXCEPT.contains(&(path, way))) {
                found.push(format!("{path}: {way}: {}", line.trim()));
            }
        }
    }
    found
}

/// `true` if a line names something as a whole word.
fn names(line: &str, what: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(what)
        .any(|(at, _)| !line[..at].ends_with(part) && !line[at + what.len()..].starts_with(part))
}

#[test]
fn wings_import_only_from_lower_floors() {
    assert_eq!(upward(&agent(), &floors()), Vec::<(PathBuf, String)>::new());
}

#[test]
fn no_files_name_each_other_in_a_circle() {
    assert_eq!(circles(&agent()), Vec::<Vec<code::Module>>::new());
}

#[test]
fn pure_wings_reach_no_file_socket_clock_or_thread() {
    assert_eq!(impure(&agent()), Vec::<String>::new());
}

/// The page's table of stations: its rows name a file and a function.
#[test]
fn each_station_of_an_event_is_where_the_page_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let rows = PAGE.lines().filter(|line| line.starts_with("| "));
    let mut stations = 0;
    for row in rows {
        let mut names = row.split('`').skip(1).step_by(2);
        let (Some(file), Some(function)) = (names.next(), names.next()) else {
            continue;
        };
        if !file.ends_with(".rs") {
            continue;
        }
        let text = std::fs::read_to_string(root.join(file)).expect(file);
        let is_there = text.contains(&format!("fn {function}("));
        assert!(is_there, "{function} is not in {file}");
        stations += 1;
    }
    assert_eq!(stations, 10);
}

#[test]
fn the_root_has_few_entries() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let entries = std::fs::read_dir(root).unwrap().count();
    assert!(
        entries <= 18,
        "agent/src has {entries} entries; see docs/architecture.md"
    );
}

#[test]
fn each_library_stands_behind_one_wing() {
    for (module, source) in &agent().0 {
        for (library, owners) in BEHIND {
            let named = source.code.contains(&format!("{library}::"));
            let owns = module
                .first()
                .is_some_and(|wing| owners.contains(&wing.as_str()));
            assert!(!named || owns, "{} names {library}", source.path.display());
        }
    }
}

/// Libraries of a feature are named in files only of which the module is declared with that feature: a
/// build without it then has no trace of them.
#[test]
fn libraries_of_a_feature_stand_in_modules_of_that_feature() {
    let agent = agent();
    for (feature, libraries) in [
        ("demo", &["rumqttd"][..]),
        ("sql", &["tidemill_sql", "wasmprinter"]),
    ] {
        let names = |code: &str| {
            let mut libraries = libraries.iter();
            libraries.any(|library| code.contains(&format!("{library}::")))
        };
        let found: Vec<_> = agent
            .0
            .iter()
            .filter(|(_, source)| names(&source.code))
            .collect();
        assert!(!found.is_empty(), "nothing of {feature}");
        for (module, source) in found {
            let path = source.path.display();
            let gated = is_of_feature(&agent, module, feature);
            assert!(gated, "{path} names a library of {feature} in every build");
        }
    }
}

/// `true` if a module, or one above it, is declared with the feature.
fn is_of_feature(sources: &Sources, module: &[String], feature: &str) -> bool {
    let gate = format!("#[cfg(feature = \"{feature}\")]");
    (0..module.len()).any(|above| {
        let declared = format!("mod {};", module[above]);
        let lines: Vec<_> = sources.0[&module[..above]].text.lines().collect();
        let mut pairs = lines.windows(2);
        pairs.any(|pair| pair[0] == gate && pair[1].ends_with(&declared))
    })
}

#[test]
fn nothing_is_shown_but_by_the_console() {
    for source in agent().0.values() {
        let mut lines = source
            .code
            .lines()
            .map(|line| line.replace("console::std", ""));
        let past = lines.find(|line| TERMINALS.iter().any(|way| line.contains(way)));
        assert_eq!(past, None, "{} writes by itself", source.path.display());
        assert!(
            !source.text.contains("/dev/tty"),
            "{} opens the terminal",
            source.path.display()
        );
    }
}

/// A crate of two wings with a file each.
fn planted(event: &str, mill: &str) -> Sources {
    let files = [
        ("event/mod.rs", event),
        ("mill/mod.rs", mill),
        ("mill/due.rs", ""),
    ];
    Sources::of(files.map(|(path, text)| (PathBuf::from(path), text.to_owned())))
}

#[test]
fn an_upward_import_is_found_behind_what_belongs_to_tests() {
    let seen = "#[cfg(test)]\nuse std::fmt;\n#[cfg(test)]\nmod tests {\n    use crate::mill::Mill;\n}\nuse crate::mill::Mill;\n";
    let found = upward(&planted(seen, ""), &floors());
    assert_eq!(found, [(PathBuf::from("event/mod.rs"), "mill".to_owned())]);
    let unseen = "// crate::mill\n#[cfg(test)]\nmod tests {\n    use crate::mill::Mill;\n}\nconst A: &str = \"crate::mill\";\n";
    assert!(upward(&planted(unseen, ""), &floors()).is_empty());
    let tree = "use crate::{self, mill::{Mill, due}};\n";
    assert_eq!(upward(&planted(tree, ""), &floors()).len(), 2);
}

#[test]
fn a_circle_is_found() {
    let files = [
        (
            "mill/mod.rs",
            "mod due;\nmod keys;\nmod room;\nuse due::Due;\n",
        ),
        ("mill/due.rs", "use super::room::Room;\nuse super::Mill;\n"),
        ("mill/keys.rs", "fn f() { super::due::g() }\n"),
        ("mill/room.rs", "use crate::mill::keys::{self, Keys};\n"),
    ];
    let sources = Sources::of(files.map(|(path, text)| (PathBuf::from(path), text.to_owned())));
    let found = circles(&sources);
    let names = found.iter().map(|circle| circle.len()).collect::<Vec<_>>();
    assert_eq!(names, [3]);
}

#[test]
fn a_clock_in_the_mill_is_found() {
    let found = impure(&planted("", "fn f() -> u64 { Instant::now().elapsed() }\n"));
    assert_eq!(found.len(), 1);
    assert_eq!(
        impure(&planted("", "/// `Instant`\nstruct AnInstant;\n")),
        Vec::<String>::new()
    );
}
