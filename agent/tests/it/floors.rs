//! A file imports only from its own floor or lower ones. The floors are those of
//! `docs/architecture.md`; a module that is not listed there fails the test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const FLOORS: &[&[&str]] = &[
    &[
        "backoff",
        "clock",
        "console",
        "data_dir",
        "event",
        "files",
        "heartbeat",
        "payload",
        "sabotage",
        "secret",
        "text",
        "timestamp",
        "topic",
        "value",
        "zone",
    ],
    &[
        "config", "effects", "emission", "frame", "ledger", "limits", "record", "resolve",
        "schedule", "state", "tls",
    ],
    &["manifest", "rule", "stock"],
    &[
        "decode",
        "event_ids",
        "image",
        "input",
        "outbox",
        "receipts",
        "router",
        "watermark",
        "window",
    ],
    &["function"],
    &["mill"],
    &[
        "books", "install", "journal", "pond", "readback", "recorder", "recovery",
    ],
    &["destination", "source"],
    &["agent"],
    &["demo"],
    &["cli"],
];

/// Libraries and parts of the standard library that stand behind one module: who may name them.
const BEHIND: &[(&str, &[&str])] = &[
    ("wasmi", &["function"]),
    ("sled", &["pond"]),
    ("rumqttc", &["source", "destination"]),
    ("rumqttd", &["demo"]),
    ("hyper", &["destination"]),
    ("rustls", &["tls"]),
    ("tidemill_sql", &["rule"]),
    ("wasmprinter", &["cli"]),
];

/// Ways to a terminal past `console`, which escapes what came from outside.
const TERMINALS: &[&str] = &[
    "stdout()",
    "stderr()",
    "println!",
    "print!(",
    "dbg!(",
    "/dev/tty",
    "stdio::std",
];

fn floor_of(module: &str) -> usize {
    FLOORS
        .iter()
        .position(|floor| floor.contains(&module))
        .unwrap_or_else(|| panic!("module {module} stands on no floor; see docs/architecture.md"))
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Each file of the agent with the module it belongs to and its text, tests cut off.
fn sources() -> Vec<(PathBuf, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    files.retain(|path| {
        !matches!(
            path.file_name().and_then(|name| name.to_str()),
            Some("lib.rs" | "main.rs" | "tests.rs")
        ) && !path.components().any(|part| part.as_os_str() == "tests")
    });
    assert!(files.len() > 20, "found only {files:?}");
    files
        .into_iter()
        .map(|path| {
            let inside = path.strip_prefix(&root).unwrap().to_owned();
            let first = inside
                .components()
                .next()
                .unwrap()
                .as_os_str()
                .to_str()
                .unwrap();
            let module = first.trim_end_matches(".rs").to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
            (inside, module, text)
        })
        .collect()
}

/// The modules that a text names after `crate::`.
fn named(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| {
            rest.split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .next()
                .unwrap_or("")
        })
        .filter(|name| !name.is_empty())
}

#[test]
fn files_import_only_from_lower_floors() {
    let mut upward = BTreeMap::new();
    for (path, module, text) in sources() {
        for other in named(&text) {
            if floor_of(other) > floor_of(&module) {
                upward.insert((path.clone(), other.to_owned()), ());
            }
        }
    }
    assert!(upward.is_empty(), "upward imports: {:?}", upward.keys());
}

#[test]
fn each_library_stands_behind_one_module() {
    for (path, module, text) in sources() {
        for (library, owners) in BEHIND {
            let names = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .any(|line| line.contains(&format!("{library}::")));
            assert!(
                !names || owners.contains(&module.as_str()),
                "{} names {library}",
                path.display()
            );
        }
    }
}

/// Libraries of a feature are named in files only of which the module is declared with that feature: a build without it
/// then has no trace of them.
#[test]
fn libraries_of_a_feature_stand_in_modules_of_that_feature() {
    let all = sources();
    for (feature, libraries) in [
        ("demo", &["rumqttd"][..]),
        ("sql", &["tidemill_sql", "wasmprinter"]),
    ] {
        let names = |text: &str| {
            let mut lines = text.lines().map(str::trim_start);
            lines.any(|line| {
                !line.starts_with("//")
                    && libraries
                        .iter()
                        .any(|library| line.contains(&format!("{library}::")))
            })
        };
        let found: Vec<_> = all.iter().filter(|(_, _, text)| names(text)).collect();
        assert!(!found.is_empty(), "nothing of {feature}");
        for (path, _, _) in found {
            assert!(
                is_of_feature(path, feature),
                "{} names a library of {feature} in every build",
                path.display()
            );
        }
    }
}

/// Whether the module of this file, or one above it, is declared with the feature.
fn is_of_feature(path: &Path, feature: &str) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let module = path.with_extension("");
    module.ancestors().any(|module| {
        let Some(name) = module.file_name().and_then(|name| name.to_str()) else {
            return false;
        };
        let parent = match module.parent() {
            Some(above) if above.file_name().is_some() => above.with_extension("rs"),
            _ => PathBuf::from("lib.rs"),
        };
        let text = std::fs::read_to_string(root.join(parent)).unwrap_or_default();
        let gate = format!("#[cfg(feature = \"{feature}\")]");
        let lines: Vec<_> = text.lines().collect();
        let declared = format!("mod {name};");
        lines
            .windows(2)
            .any(|pair| pair[0] == gate && pair[1].ends_with(&declared))
    })
}

#[test]
fn nothing_is_shown_but_by_the_console() {
    for (path, module, text) in sources() {
        if module == "console" {
            continue;
        }
        let mut lines = text.lines().map(|line| line.replace("console::std", ""));
        let past = lines.find(|line| {
            !line.trim_start().starts_with("//") && TERMINALS.iter().any(|way| line.contains(way))
        });
        assert_eq!(past, None, "{} writes by itself", path.display());
    }
}
