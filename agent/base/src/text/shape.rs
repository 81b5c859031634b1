//! The keys that a file in TOML may have, and a check of a file against them that finds everything at
//! once: keys that nobody knows, values of another kind, keys that are missing. Each error says what to
//! write, and a value that is wrong is taken out, so that the check of what remains goes on.

mod hint;
mod value;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::{Errors, Source};

/// A table as it was read, with the places of its content.
pub type Read<'a> = Spanned<DeTable<'a>>;

/// A key of a table.
#[derive(Debug)]
pub struct Key {
    /// Name of the key.
    pub name: &'static str,
    /// The kind of its value.
    pub takes: Takes,
    /// A valid value in TOML; it replaces one that is wrong.
    pub example: &'static str,
    /// `true` if nothing works without it.
    pub is_required: bool,
}

/// The kind of a value.
#[derive(Debug)]
pub enum Takes {
    /// A text.
    Text,
    /// One of several texts.
    OneOf(&'static [&'static str]),
    /// A span of time, written as a text.
    Duration,
    /// A list of texts.
    Texts,
    /// `true` or `false`.
    Flag,
    /// A whole number, 0 or more.
    Number,
    /// A number of bytes, or a text with a unit.
    Size,
    /// A number, `true`, `false` or a text, of which more is known elsewhere.
    Any,
    /// A table with these keys.
    Table(&'static [Key]),
    /// Tables with these keys, each with a name of its owner's choice.
    Tables(&'static [Key]),
    /// Values of one kind, each with a name of its owner's choice.
    Named(&'static Takes),
}

impl Key {
    /// A key that may be left out.
    pub const fn new(name: &'static str, takes: Takes, example: &'static str) -> Self {
        Self {
            name,
            takes,
            example,
            is_required: false,
        }
    }

    /// A key that nothing works without.
    pub const fn required(name: &'static str, takes: Takes, example: &'static str) -> Self {
        Self {
            name,
            takes,
            example,
            is_required: true,
        }
    }
}

/// Reads the text as TOML. What is left out of a text that is no TOML is missing in the table.
pub fn read<'a>(source: &'a Source, errors: &Errors) -> Read<'a> {
    let (table, wrong) = DeTable::parse_recoverable(&source.text);
    for error in wrong {
        let at = error.span().map_or(0, |span| span.start);
        let message = hint::syntax(&source.text, at, error.message());
        let is_table = hint::line(&source.text, at).trim_start().starts_with('[');
        errors.push_broken(source.error_at(&(at..at), message), is_table);
    }
    errors.syntax_is_checked();
    table
}

/// Checks a table against its keys and deserializes it. `None` if too little of it could be read.
pub fn shaped<T: DeserializeOwned>(
    source: &Source,
    mut table: Read<'_>,
    keys: &'static [Key],
    errors: &Errors,
) -> Option<T> {
    let is_toml = errors.is_empty();
    let check = Check {
        source,
        root: keys,
        errors,
        is_toml,
    };
    let span = table.span();
    check.table(&[], span, table.get_mut(), keys);
    let value = T::deserialize(toml::Deserializer::from(table));
    value
        .map_err(|error| {
            if errors.is_empty() {
                let at = error.span().map_or(0, |span| span.start);
                errors.push(source.error_at(&(at..at), error.message()));
            }
        })
        .ok()
}

struct Check<'a> {
    source: &'a Source,
    root: &'static [Key],
    errors: &'a Errors,
    /// `true` if all of the text was understood; else a key that is missing may only not have been read.
    is_toml: bool,
}

impl Check<'_> {
    fn table(
        &self,
        path: &[&str],
        span: std::ops::Range<usize>,
        table: &mut DeTable<'_>,
        keys: &'static [Key],
    ) {
        let (mut meant, mut renamed) = (Vec::new(), Vec::new());
        keep(table, |name, value| {
            let name_span = name.span();
            let name = name.get_ref().as_ref();
            let Some(key) = keys.iter().find(|key| key.name == name) else {
                let hint = hint::unknown(self.root, path, keys, name, value.get_ref());
                meant.extend(hint.meant.iter().map(|key| key.name));
                if let Some(key) = hint.meant.filter(|_| hint.is_same_kind) {
                    renamed.push((name_span.clone(), key, value.clone()));
                }
                let message = format!("unknown key `{name}`{}", hint.text);
                self.errors.push(self.source.error_at(&name_span, message));
                return false;
            };
            let is_good = self.value(path, key.name, &key.takes, key.example, value);
            if !is_good {
                meant.push(key.name);
            }
            is_good
        });
        // Errors that follow from a slip of the pen are no errors of their own.
        for (name_span, key, mut value) in renamed {
            if !table.contains_key(key.name) && self.fits(path, key, &mut value) {
                table.insert(Spanned::new(name_span, key.name.into()), value);
            }
        }
        for key in keys.iter().filter(|key| key.is_required) {
            if table.contains_key(key.name) {
                continue;
            }
            if self.is_toml && !meant.contains(&key.name) {
                let message = hint::missing(path, key);
                self.errors.push(self.source.error_at(&span, message));
            }
            let stand_in = value::stand_in(key);
            let name = Spanned::new(span.clone(), key.name.into());
            table.insert(name, Spanned::new(span.clone(), stand_in));
        }
    }

    /// `true` if a value is one that the key takes which was meant. Tables are looked into.
    fn fits(&self, path: &[&str], key: &'static Key, value: &mut Spanned<DeValue<'_>>) -> bool {
        let holds_keys = matches!(
            key.takes,
            Takes::Table(_) | Takes::Tables(_) | Takes::Named(_)
        );
        if holds_keys {
            return self.value(path, key.name, &key.takes, key.example, value);
        }
        value::wrong(key.name, &key.takes, key.example, value.get_ref()).is_none()
    }

    /// Checks a value; `false` if it is of no use.
    fn value(
        &self,
        path: &[&str],
        name: &str,
        takes: &'static Takes,
        example: &'static str,
        value: &mut Spanned<DeValue<'_>>,
    ) -> bool {
        let span = value.span();
        let inner = [path, &[name]].concat();
        match (takes, value.get_mut()) {
            (Takes::Table(keys), DeValue::Table(table)) => {
                self.table(&inner, span, table, keys);
                true
            }
            (Takes::Tables(keys), DeValue::Table(tables)) => {
                keep(tables, |name, value| {
                    let span = value.span();
                    let path = [&inner[..], &[name.get_ref().as_ref()]].concat();
                    if let DeValue::Table(table) = value.get_mut() {
                        self.table(&path, span, table, keys);
                        return true;
                    }
                    let message = hint::no_table(&path);
                    self.errors.push(self.source.error_at(&span, message));
                    false
                });
                true
            }
            (Takes::Named(takes), DeValue::Table(values)) => {
                keep(values, |name, value| {
                    let name = name.get_ref().as_ref();
                    self.value(&inner, name, takes, example, value)
                });
                true
            }
            (_, given) => match value::wrong(name, takes, example, given) {
                None => true,
                Some(why) => {
                    let message = format!("{}: {why}", dotted(path, name));
                    self.errors.push(self.source.error_at(&span, message));
                    value::mend(takes, given)
                }
            },
        }
    }
}

/// Takes out of a table whatever is not good.
fn keep<'a>(
    table: &mut DeTable<'a>,
    mut is_good: impl FnMut(&Spanned<DeString<'a>>, &mut Spanned<DeValue<'a>>) -> bool,
) {
    let all = std::mem::replace(table, DeTable::new());
    for (name, mut value) in all {
        if is_good(&name, &mut value) {
            table.insert(name, value);
        }
    }
}

/// A key with the tables it is in.
pub fn dotted(path: &[&str], name: &str) -> String {
    [path, &[name]].concat().join(".")
}

/// The keys that differ between two texts of one file, with the tables they are in.
///
/// # Errors
/// When one of them is no TOML, in words.
pub fn changed_keys(before: &Source, after: &Source) -> Result<Vec<String>, String> {
    let table = |source: &Source| {
        let errors = Errors::default();
        read(source, &errors);
        match errors.into_list() {
            None => toml::from_str::<toml::Table>(&source.text).map_err(|error| error.to_string()),
            Some(errors) => Err(errors.to_string()),
        }
    };
    let mut changed = Vec::new();
    let (before, after) = (table(before)?, table(after)?);
    compare(&mut Vec::new(), &before, &after, &mut changed);
    Ok(changed)
}

fn compare(
    path: &mut Vec<String>,
    before: &toml::Table,
    after: &toml::Table,
    changed: &mut Vec<String>,
) {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let nothing = toml::Table::new();
    let inner = |value: Option<&toml::Value>| match value {
        None => Some(toml::Table::new()),
        Some(value) => value.as_table().cloned(),
    };
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        if old == new {
            continue;
        }
        path.push(name.clone());
        match (inner(old), inner(new)) {
            (Some(old), Some(new)) if old != nothing || new != nothing => {
                compare(path, &old, &new, changed);
            }
            _ => changed.push(path.join(".")),
        }
        path.pop();
    }
}

/// All tables of a file with their keys, for tests; `x` stands for a name of the owner's choice.
pub fn tables(root: &'static [Key]) -> Vec<(String, &'static [Key])> {
    let mut tables = vec![(String::new(), root)];
    let mut at = 0;
    while let Some((path, keys)) = tables.get(at).cloned() {
        let dot = if path.is_empty() { "" } else { "." };
        for key in keys {
            match key.takes {
                Takes::Table(keys) => tables.push((format!("{path}{dot}{}", key.name), keys)),
                Takes::Tables(keys) => tables.push((format!("{path}{dot}{}.x", key.name), keys)),
                _ => {}
            }
        }
        at += 1;
    }
    tables
}

/// The tables whose listed keys are not those that the parser of a file takes, for tests.
pub fn unlike_parser<T: DeserializeOwned>(root: &'static [Key]) -> Vec<String> {
    let unlike = |(table, keys): &(String, &[Key])| {
        let text = match table.as_str() {
            "" => "nobodys_key = 1\n".to_owned(),
            table => format!("[{table}]\nnobodys_key = 1\n"),
        };
        let refused = toml::from_str::<T>(&text).err();
        let message = refused.map(|error| error.message().to_owned());
        let known = message
            .as_deref()
            .and_then(|text| text.split_once("expected "));
        let (_, known) = known.unwrap_or_default();
        let mut parsed: Vec<_> = known.split('`').skip(1).step_by(2).collect();
        let mut listed: Vec<_> = keys.iter().map(|key| key.name).collect();
        parsed.sort_unstable();
        listed.sort_unstable();
        parsed != listed
    };
    let tables = tables(root).into_iter().filter(unlike);
    tables.map(|(table, _)| format!("[{table}]")).collect()
}
