//! The floor plan of the bridge: a module imports only from its own floor or lower ones, state machines name no file,
//! socket or clock, and each library stands behind one module.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is what it is for"
)]

use std::path::{Path, PathBuf};

/// Floors from the ground up.
const FLOORS: &[&[&str]] = &[
    &["time", "demux", "smp"],
    &["queue", "topics", "decode", "frames"],
    &["layer1", "message", "modbus"],
    &["config"],
    &["devices", "port"],
    &["serial", "bridge"],
    &["run"],
    &["cli"],
];

/// Modules that are functions of bytes and time.
const PURE: &[&str] = &[
    "time", "demux", "smp", "frames", "queue", "topics", "decode", "layer1", "message", "modbus",
    "port", "bridge",
];

/// Ways out of them.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "Instant",
    "SystemTime",
    "tokio::fs",
    "tokio::net",
    "tokio::process",
    "tokio::runtime",
    "tokio::select",
    "tokio::signal",
    "tokio::spawn",
    "tokio::sync",
    "tokio::task",
    "tokio::time",
    "rustix",
];

/// Libraries, and the modules that may name them.
const BEHIND: &[(&str, &[&str])] = &[
    ("serial2_tokio", &["serial"]),
    ("tidemill_tty", &["serial"]),
    ("tidemill_transport", &["run"]),
    ("tidemill_ntp", &["run"]),
    ("sd_notify", &["run"]),
    ("clap", &["cli"]),
    ("tracing_subscriber", &["cli"]),
    ("toml", &["config"]),
    ("base64", &["smp", "decode"]),
    ("ciborium", &["decode"]),
    ("cobs", &["frames"]),
    ("tokio_modbus", &["modbus"]),
];

struct File {
    path: PathBuf,
    module: String,
    code: String,
}

fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inside = path.strip_prefix(&root).unwrap().to_owned();
            if ["lib.rs", "main.rs"]
                .iter()
                .any(|name| inside == Path::new(name))
                || inside.ends_with("tests.rs")
            {
                continue;
            }
            let first = inside
                .components()
                .next()
                .unwrap()
                .as_os_str()
                .to_str()
                .unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let lines = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            found.push(File {
                module: first.trim_end_matches(".rs").to_owned(),
                code: lines.collect::<Vec<_>>().join("\n"),
                path: inside,
            });
        }
    }
    assert!(found.len() > 30, "found only {}", found.len());
    found
}

fn floor(module: &str) -> usize {
    let floor = FLOORS.iter().position(|floor| floor.contains(&module));
    floor.unwrap_or_else(|| panic!("module {module} stands on no floor"))
}

fn named(code: &str) -> impl Iterator<Item = &str> {
    let after = code.split("crate::").skip(1);
    let names = after.map(|rest| {
        rest.split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .next()
            .unwrap()
    });
    names.filter(|name| !name.is_empty())
}

#[test]
fn modules_import_only_from_lower_floors() {
    for file in files() {
        for other in named(&file.code) {
            let is_up = floor(other) > floor(&file.module);
            assert!(
                !is_up,
                "{} imports {other}, which stands higher",
                file.path.display()
            );
            let is_beside = other != file.module && floor(other) == floor(&file.module);
            assert!(
                !is_beside,
                "{} imports {other}, which stands beside it",
                file.path.display()
            );
        }
    }
}

#[test]
fn state_machines_open_nothing_and_read_no_clock() {
    for file in files().iter().filter(|file| PURE.contains(&&*file.module)) {
        let way = IMPURE.iter().find(|way| file.code.contains(**way));
        assert_eq!(way, None, "{}", file.path.display());
    }
}

#[test]
fn each_library_stands_behind_one_module() {
    for file in files() {
        for (library, owners) in BEHIND {
            let names = file.code.contains(&format!("{library}::"));
            assert!(
                !names || owners.contains(&&*file.module),
                "{} names {library}",
                file.path.display()
            );
        }
    }
}

#[test]
fn no_file_is_longer_than_four_hundred_lines() {
    for file in files() {
        let lines = file.code.lines().count();
        assert!(lines <= 400, "{} has {lines}", file.path.display());
    }
}
