//! Environment variables that override keys of the file. Each is appended as a line below the text,
//! so that errors in it have a place, which is shown as the name of the variable.

use std::collections::BTreeMap;
use std::ffi::OsString;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ENVIRONMENT_PREFIX;
use tidemill_base::text::shape::Read;
use tidemill_base::text::{Errors, FileError, Source};

/// Bytes of the value of such a variable.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// The variables of an environment that override a key, as names of keys and values. Others are nobody's
/// business here, whatever is in them.
///
/// # Errors
/// When one is not UTF-8, or too long, in words that do not show its value: some are passwords.
pub(super) fn of_environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, String> {
    let mut all = Vec::new();
    for (name, value) in variables {
        let bytes = name.as_encoded_bytes();
        if !bytes.starts_with(ENVIRONMENT_PREFIX.as_bytes()) {
            continue;
        }
        let name = name.to_str().ok_or_else(|| {
            let shown = name.to_string_lossy();
            format!("environment variable {shown}: its name is not UTF-8")
        })?;
        let path = name.strip_prefix(ENVIRONMENT_PREFIX).unwrap_or_default();
        if !path.contains("__") {
            continue;
        }
        let value = value
            .to_str()
            .ok_or_else(|| format!("{name}: its value is not UTF-8"))?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(format!(
                "{name}: its value is longer than {VALUE_BYTES_MAX} bytes"
            ));
        }
        all.push((path.to_lowercase(), value.to_owned()));
    }
    Ok(all)
}

/// Values that take the place of those of a file.
pub(super) struct Overrides {
    /// The file, and the variables below it.
    noted: Source,
    all: Vec<Override>,
}

struct Override {
    /// The key with its tables, such as `gateway__id`.
    path: String,
    value: String,
    /// Offset of its line in the noted text.
    at: usize,
}

impl Override {
    fn variable(&self) -> String {
        format!("{ENVIRONMENT_PREFIX}{}", self.path.to_uppercase())
    }

    /// A text without the value in it, which may be a password that went to the wrong variable.
    fn hidden(&self, text: &str) -> String {
        if self.value.is_empty() {
            return text.to_owned();
        }
        text.replace(&self.value, "…")
    }
}

impl Overrides {
    pub(super) fn new(source: &Source, given: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut noted = source.clone();
        // Each once, and in an order that hangs on nothing else.
        let given: BTreeMap<String, String> = given.into_iter().collect();
        let all = given.into_iter().map(|(path, value)| {
            noted.text.push('\n');
            let at = noted.text.len();
            noted.text.push_str("# ");
            Override { path, value, at }
        });
        let all = all.collect();
        Self { noted, all }
    }

    /// The file with a line for each variable.
    pub(super) fn noted(&self) -> &Source {
        &self.noted
    }

    /// Puts each value where its path of names leads.
    pub(super) fn put_into<'a>(&'a self, file: &mut Read<'a>, errors: &Errors) {
        for each in &self.all {
            if let Err(why) = put(file.get_mut(), each) {
                errors.push(self.noted.error_at(&(each.at..each.at), why));
            }
        }
    }

    /// The same errors, those of variables with their names and without their values.
    pub(super) fn named(&self, errors: Errors) -> Errors {
        let named = Errors::default();
        for error in errors.into_list().into_iter().flatten() {
            named.push(self.name(error));
        }
        named
    }

    /// The same error or warning, that of a variable with its name and without its value.
    pub(super) fn name(&self, error: FileError) -> FileError {
        let place = |each: &Override| self.noted.error_at(&(each.at..each.at), "").place;
        match self.all.iter().find(|each| place(each) == error.place) {
            None => error,
            Some(each) => FileError {
                path: error.path,
                place: None,
                message: format!("{}: {}", each.variable(), each.hidden(&error.message)),
                excerpt: None,
            },
        }
    }
}

fn put<'a>(file: &mut DeTable<'a>, each: &'a Override) -> Result<(), String> {
    let span = each.at..each.at;
    let (tables, key) = each.path.rsplit_once("__").ok_or("names no key")?;
    let mut place = file;
    for name in tables.split("__") {
        let none = || DeValue::Table(DeTable::new());
        let name_there = Spanned::new(span.clone(), name.into());
        let table = place
            .entry(name_there)
            .or_insert_with(|| Spanned::new(span.clone(), none()));
        let DeValue::Table(table) = table.get_mut() else {
            return Err(format!("{name} is no table"));
        };
        place = table;
    }
    let was_text = place.get(key).is_some_and(|value| value.get_ref().is_str());
    let is_number = each.value.parse::<i64>().is_ok();
    let is_truth = each.value.parse::<bool>().is_ok();
    let parsed = DeValue::parse(each.value.as_str()).ok();
    let value = match parsed {
        Some(value) if (is_number || is_truth) && !was_text => value.into_inner(),
        _ => DeValue::String(each.value.as_str().into()),
    };
    place.remove(key);
    place.insert(
        Spanned::new(span.clone(), key.into()),
        Spanned::new(span, value),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt as _;

    #[test]
    fn only_our_own_variables_are_read_and_no_value_is_shown() {
        let pair = |name: &[u8], value: &[u8]| {
            (
                OsString::from_vec(name.to_vec()),
                OsString::from_vec(value.to_vec()),
            )
        };
        let read = |pairs: &[(OsString, OsString)]| of_environment(pairs.iter().cloned());
        let foreign = [
            pair(b"LESS", b"\xff"),
            pair(b"\xff", b"x"),
            pair(b"TIDEMILL_LOG", b"\xff"),
        ];
        assert_eq!(read(&foreign), Ok(Vec::new()));
        let ours = [pair(b"TIDEMILL_GATEWAY__ID", b"gw-2")];
        let expected = ("gateway__id".to_owned(), "gw-2".to_owned());
        assert_eq!(read(&ours), Ok(vec![expected]));
        let wrong = [
            pair(b"TIDEMILL_BROKER__PASSWORD", b"hush\xff"),
            pair(b"TIDEMILL_BROKER__\xff", b"hush"),
            pair(b"TIDEMILL_BROKER__PASSWORD", &b"hush".repeat(1 << 18)),
        ];
        for pair in wrong {
            let error = read(&[pair]).unwrap_err();
            let is_named = error.contains("TIDEMILL_BROKER__") && !error.contains("hush");
            assert!(is_named, "{error}");
        }
    }
}
