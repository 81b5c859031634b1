//! Completion of rules and configurations that a page shows in part, so that the part can be
//! checked.

use std::path::Path;

/// A window that counts, whose kind and lengths are the rule's.
const WINDOW: &str = r#"(module
  (@custom "tidemill.manifest" "{\"abi\":1,\"window\":{\"kind\":\"hopping\",\"slots\":1}}")
  (func (export "on_event") (result i32) (i32.const 0))
  (func (export "on_window") (result i32) (i32.const 0)))"#;

/// The rule that a block shows a part of. One that begins with its name is whole.
pub(super) fn rule(text: &str, folder: &Path) -> String {
    if text.starts_with("name = ") {
        return text.to_owned();
    }
    let has = |table: &str| text.lines().any(|line| line.starts_with(table));
    let mut rule = "name = \"rule\"\n".to_owned();
    if !has("[on]") {
        rule.push_str("[on]\nmqtt = [\"sensors/+/env\"]\n");
    }
    if !has("[function]") && has("[streams.") {
        rule.push_str("[function]\nsql = \"SELECT t FROM input\"\n");
    } else if !has("[function]") {
        std::fs::write(folder.join("window.wasm"), wat::parse_str(WINDOW).unwrap()).unwrap();
        rule.push_str("[function]\nwasm = \"window.wasm\"\n");
    }
    if !has("[ports.") {
        rule.push_str("[ports.out]\nto = \"local\"\ntopic = \"out\"\n");
    }
    rule + text
}

/// The configuration that a block shows a part of; anything else as it is. Its folders are those of the
/// page, and the files of secrets that it names are made.
pub(super) fn config(text: &str, folder: &Path) -> String {
    let has = |table: &str| text.lines().any(|line| line.starts_with(table));
    if !has("[gateway]") && !has("[broker]") && !has("[destinations.") {
        return text.to_owned();
    }
    let mut config = text.to_owned();
    if !has("[gateway]") {
        config.push_str("\n[gateway]\nid = \"gw-1\"\n");
    }
    if !has("[broker]") {
        config.push_str("\n[broker]\nurl = \"mqtt://127.0.0.1:1883\"\n");
    }
    if !has("rules_dir") {
        let folders = "[gateway]\nrules_dir = \"rules\"\ndata_dir = \"data\"\n";
        config = config.replacen("[gateway]\n", folders, 1);
    }
    // A certificate that a plant has is left out; what else is secret only has to be there.
    let mut kept = String::new();
    for line in config.lines().filter(|line| !line.starts_with("ca_file")) {
        if let Some((key, value)) = line.split_once(" = ")
            && key.ends_with("_file")
        {
            let file = folder.join(value.trim_matches('"'));
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            tidemill_tests::write_secret(&file, "secret");
        }
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}
