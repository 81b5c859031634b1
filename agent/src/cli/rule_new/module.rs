//! Common part of the starting points of all compiled languages: a manifest that names a module,
//! events, and the commands that make the module.

use super::{EVENTS, File, Start, try_it};

const RULE: &str = r#"# The module is made of the source beside this file, here, with
BUILD
# `tidemill rule build NAME.toml` says what came out; docs/abi.md of Tidemill what else a function can ask for.
# A gateway wants NAME.toml and NAME.wasm in its rules folder; it reads them at its start and on SIGHUP.
name = "NAME"
version = 1                       # rises with every change
description = "Tell when a machine runs hot"

[on]
mqtt = ["sensors/+/env"]          # filters on the local broker
key = "{topic.1}"                 # state is kept apart for each device

[function]
wasm = "NAME.wasm"

[params]
limit = 50                        # what the function asks for by this name

[ports.out]
to = "local"                      # or a destination of the gateway's configuration
topic = "alerts/NAME/{key}"
"#;

/// A starting point in a folder of its own, of the files that are the language's.
pub(super) fn start(name: &str, needs: String, build: Vec<String>, own: Vec<File>) -> Start {
    let rule = RULE
        .replace("BUILD", &comment("#   ", &build))
        .replace("NAME", name);
    let mut files = vec![
        File::new(format!("{name}.toml"), rule),
        File::new(format!("{name}.jsonl"), EVENTS),
    ];
    files.extend(own);
    let mut commands = build;
    commands.push(try_it(name));
    Start {
        folder: Some(name.to_owned()),
        files,
        needs: Some(needs),
        commands,
    }
}

/// Lines of a comment, without a line break behind the last.
fn comment(before: &str, lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| format!("{before}{line}")).collect();
    lines.join("\n")
}
