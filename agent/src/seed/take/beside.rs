//! Secrets and files of a seed, put into the tree: those that stand in it, and those that lie beside it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::super::TAKEN_OVER;
use super::super::tree::{FILES, RULES, SECRETS};
use super::Taking;
use tidemill_base::files::{CERTIFICATES_BYTES_MAX, read_input};
use tidemill_base::secret::Secret;
use tidemill_base::text::{Errors, FileError};

/// Bytes of a file beside the seed.
const RULE_BYTES_MAX: u64 = 16 << 20;

/// Ends of names of files that belong to rules.
const RULE_ENDS: [&str; 3] = ["toml", "sql", "wasm"];

impl Taking<'_> {
    /// Takes the secret of a key into a file of its own, whose name takes its place. `None` where there is none,
    /// or it is wrong.
    pub(super) fn secret(
        &mut self,
        path: &str,
        key: &str,
        table: &mut DeTable<'_>,
        errors: &Errors,
    ) -> Option<(String, Secret)> {
        let value = table.get_mut(key)?;
        let span = value.span();
        let wrong = |why: &str| {
            errors.push(self.source.error_at(&span, format!("{path}.{key}{why}")));
        };
        let DeValue::String(text) = value.get_ref() else {
            wrong(" is a text, in quotes");
            return None;
        };
        let secret: Secret = (&**text).into();
        let name = format!("{SECRETS}/{}", file_name(&format!("{path}.{key}")));
        let secret = match secret.expose() {
            "" => {
                wrong(" is empty; write it between the quotes, or leave the line out");
                return None;
            }
            TAKEN_OVER => match self.kept(&name) {
                Some(kept) => kept,
                None => {
                    wrong(" was never taken over by this gateway; write the secret itself");
                    return None;
                }
            },
            _ => {
                if let Err(error) = self.tree.put(&name, secret.expose().as_bytes()) {
                    wrong(&format!(": it cannot be written to a file: {error}"));
                    return None;
                }
                self.hidden.add(&secret);
                self.names.push(name.clone());
                self.parts.push(format!("secret {path}.{key}"));
                self.secrets.push(span);
                secret
            }
        };
        *value.get_mut() = DeValue::String(name.clone().into());
        Some((name, secret))
    }

    /// A secret that this gateway has already, put into the tree for the check; on another machine a stand-in.
    fn kept(&self, name: &str) -> Option<Secret> {
        let Some(etc) = &self.kept.etc else {
            self.tree.put(name, TAKEN_OVER.as_bytes()).ok()?;
            return Some(TAKEN_OVER.into());
        };
        let bytes = read_input(&etc.join(name), CERTIFICATES_BYTES_MAX).ok()?;
        self.tree.put(name, &bytes).ok()?;
        Some(String::from_utf8(bytes).ok()?.into())
    }

    /// Takes a file beside the seed into the tree; returns its name there.
    pub(super) fn file(&mut self, value: &DeValue<'_>, is_secret: bool) -> Result<String, String> {
        let DeValue::String(text) = value else {
            return Err("it is a text, in quotes".to_owned());
        };
        let name: &str = text.as_ref();
        if Path::new(name).file_name() != Some(OsStr::new(name)) {
            return Err(format!(
                "{name:?} is no plain name; copy the file beside the seed, and write its name alone"
            ));
        }
        let path = self.boot.join(name);
        let bytes =
            read_input(&path, CERTIFICATES_BYTES_MAX).map_err(|error| match error.kind() {
                ErrorKind::NotFound => format!(
                    "{name} does not lie beside the seed; copy it there, or correct its name"
                ),
                _ => format!("{name} cannot be read: {error}"),
            })?;
        let folder = if is_secret { SECRETS } else { FILES };
        let in_tree = format!("{folder}/{}", file_name(name));
        if !is_secret {
            self.put(&in_tree, &bytes)?;
            self.parts.push(format!("file {name}"));
            return Ok(in_tree);
        }
        let text = String::from_utf8(bytes).map_err(|_| format!("{name} is no text in UTF-8"))?;
        let secret: Secret = text.trim_start_matches('\u{feff}').into();
        if secret.expose().trim() == TAKEN_OVER {
            let kept = self.kept(&in_tree);
            return kept.map(|_| in_tree).ok_or_else(|| {
                format!(
                    "{name} was never taken over by this gateway; copy it beside the seed again"
                )
            });
        }
        self.put(&in_tree, secret.expose().as_bytes())?;
        for line in secret.expose().lines() {
            self.hidden.add(&line.into());
        }
        self.secret_files.push(path);
        self.parts.push(format!("secret file {name}"));
        Ok(in_tree)
    }

    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let put = self.tree.put(name, bytes);
        put.map_err(|error| format!("it cannot be copied: {error}"))?;
        self.names.push(name.to_owned());
        Ok(())
    }

    /// Puts rules into the tree: those that the gateway has, and over them those beside the seed, whose names are
    /// returned.
    pub(super) fn rules(&mut self) -> Result<BTreeSet<String>, FileError> {
        let failed = |path: &Path, error: std::io::Error| FileError {
            path: path.to_owned(),
            place: None,
            message: format!("cannot be read: {error}"),
            excerpt: None,
        };
        self.tree
            .put(&format!("{RULES}/.keep"), b"")
            .map_err(|error| failed(self.boot, error))?;
        let there = self.kept.etc.as_ref().map(|etc| etc.join(RULES));
        for path in there.iter().flat_map(|folder| files_of_rules(folder)) {
            let name = format!("{RULES}/{}", name_of(&path));
            self.tree
                .borrow(&name, &path)
                .map_err(|error| failed(&path, error))?;
        }
        let mut of_seed = BTreeSet::new();
        for path in files_of_rules(&self.boot.join(super::super::RULES)) {
            let name = name_of(&path);
            let bytes = read_input(&path, RULE_BYTES_MAX).map_err(|error| failed(&path, error))?;
            self.put(&format!("{RULES}/{name}"), &bytes)
                .map_err(|why| failed(&path, std::io::Error::other(why)))?;
            self.parts.push(format!("rule file {name}"));
            of_seed.insert(name);
        }
        Ok(of_seed)
    }
}

/// A name that may be that of a file wherever it came from.
fn file_name(text: &str) -> String {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = text
        .chars()
        .map(|c| if good(c) { c } else { '_' })
        .collect();
    match name.as_str() {
        "" | "." | ".." => "_".to_owned(),
        _ => name,
    }
}

/// Name of a file without its folder.
pub(super) fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The files in a folder that belong to rules, in the order of their names; none where there is no folder.
fn files_of_rules(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_of_rule = |path: &PathBuf| {
        let end = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        path.is_file() && RULE_ENDS.contains(&end)
    };
    let mut all: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(is_of_rule)
        .collect();
    all.sort();
    all
}
