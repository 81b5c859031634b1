//! Files in the folder of the rules that look like a part of one, and are none.

use std::path::{Path, PathBuf};

use crate::mill::BoundRule;
use crate::rule::FunctionSource;

/// Files that nothing uses, with the way out.
pub(super) fn unused(dir: &Path, rules: &[BoundRule]) -> Vec<String> {
    let modules = rules
        .iter()
        .filter_map(|bound| match &bound.rule().function {
            FunctionSource::Wasm(path) => Some(whole(path)),
            FunctionSource::Stock(_) | FunctionSource::Sql(_) | FunctionSource::Inline(_) => None,
        });
    let modules: Vec<PathBuf> = modules.collect();
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    let warnings = paths.iter().filter_map(|path| {
        let extension = path.extension()?.to_str()?;
        let why = match extension {
            "sql" => {
                "no rule uses it: write a file *.toml with sql = \"\"\"…\"\"\" under [function], and the statement \
                 in it; or put it elsewhere, where rule build, test and run take it as it is"
            }
            "wasm" if !modules.contains(&whole(path)) => {
                "no rule uses it: name it by wasm = \"…\" under [function] of a rule, or delete it"
            }
            "TOML" | "Toml" | "tml" => "it is not read: a rule is a file *.toml, in small letters",
            _ => return None,
        };
        Some(format!("{}: {why}", path.display()))
    });
    warnings.collect()
}

fn whole(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
