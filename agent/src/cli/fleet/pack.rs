//! Rules to sign: read and proved as an install would, then taken with what they are compiled to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tidemill_bundle::{BundleRule, InlineModule, RuleStream};

use super::super::{Failure, rule_build};
use super::wrong;
use crate::install::module_bytes;
use crate::mill::BoundRule;
use crate::rule::{FunctionSource, Rule};
use tidemill_base::text::{FileError, Source};

/// Parameters that would be readable on every gateway.
const SECRETS: [&str; 5] = ["password", "secret", "token", "api_key", "private_key"];

/// Reads rules for a bundle.
pub(super) fn rules(paths: &[PathBuf]) -> Result<Vec<BundleRule>, Failure> {
    let (mut rules, mut errors) = (Vec::new(), Vec::new());
    let mut by_name: BTreeMap<String, &Path> = BTreeMap::new();
    for path in paths {
        let bound = match rule_build::install(path, |_| ()) {
            Ok(bound) => bound,
            Err(wrong) => {
                errors.extend(wrong);
                continue;
            }
        };
        match rule(path, &bound) {
            Ok(rule) => {
                if let Some(first) = by_name.insert(rule.name.clone(), path) {
                    let text = format!("name {:?} is taken by {}", rule.name, first.display());
                    errors.push(bound.rule().source.error(text));
                }
                rules.push(rule);
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        rules.sort_by_key(|rule: &BundleRule| rule.name.clone());
        Ok(rules)
    } else {
        Err(Failure::Files(errors))
    }
}

fn rule(path: &Path, bound: &BoundRule) -> Result<BundleRule, FileError> {
    let rule = bound.rule();
    let is_statement = path.extension().is_some_and(|it| it == "sql");
    let manifest = if is_statement {
        manifest_of(rule)
    } else {
        rule.source.text.clone()
    };
    refuse_secrets(&rule.source, &manifest)?;
    let module = match &rule.function {
        FunctionSource::Stock(_) => None,
        function => {
            let wasm = module_bytes(function).map_err(|why| rule.source.error(why))?;
            Some(InlineModule::new(wasm))
        }
    };
    let stream = |stream: &crate::rule::Stream| RuleStream {
        name: stream.name.clone(),
        mqtt: stream.mqtt.iter().map(ToString::to_string).collect(),
        timestamp: stream
            .timestamp
            .as_ref()
            .map(|timestamp| timestamp.pointer.clone()),
    };
    let is_sql = matches!(rule.function, FunctionSource::Sql(_));
    Ok(BundleRule {
        name: rule.name.to_string(),
        version: rule.version,
        manifest,
        module,
        streams: if is_sql {
            rule.streams.iter().map(stream).collect()
        } else {
            Vec::new()
        },
    })
}

/// The manifest that a file with one statement stands for.
fn manifest_of(rule: &Rule) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let filters = rule
        .triggers
        .mqtt
        .iter()
        .map(|filter| quoted(filter.as_str()));
    let filters = filters.collect::<Vec<_>>().join(", ");
    format!(
        "name = {}\n\n[on]\nmqtt = [{filters}]\n\n[function]\nsql = {}\n\n[ports.out]\nto = \"local\"\ntopic = \"out\"\n",
        quoted(&rule.name),
        quoted(&rule.source.text),
    )
}

fn refuse_secrets(source: &Source, manifest: &str) -> Result<(), FileError> {
    let table: toml::Table = manifest
        .parse()
        .map_err(|_| source.error("cannot be understood"))?;
    let params = table.get("params").and_then(toml::Value::as_table);
    let names = params.into_iter().flat_map(toml::Table::keys);
    let suspicious = names.into_iter().find(|name| {
        let name = name.to_ascii_lowercase().replace('-', "_");
        SECRETS.iter().any(|secret| name.contains(secret))
    });
    let Some(name) = suspicious else {
        return Ok(());
    };
    let at = source.text.find(name.as_str()).unwrap_or(0);
    let text = format!(
        "params.{name}: every gateway may read every bundle, so it is no place for a secret; keep it in a file \
         of the gateway, as password_file or token_file of a destination"
    );
    Err(source.error_at(&(at..at), text))
}

/// Refuses a bundle without rules where somebody forgot to name them.
pub(super) fn some(paths: &[PathBuf]) -> Result<(), Failure> {
    if paths.is_empty() {
        return Err(wrong("no rule is named; name files such as overheat.toml"));
    }
    Ok(())
}
