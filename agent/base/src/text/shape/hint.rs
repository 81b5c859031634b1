//! The way out for a key that nobody knows, for one that is missing, and for a text that is no TOML.

use toml::de::DeValue;

use super::{Key, Takes, dotted};
use crate::text::nearest;

/// The key that another was meant to be.
pub(super) struct Hint {
    /// The rest of the sentence about it.
    pub(super) text: String,
    /// The key of the same table that it was meant to be.
    pub(super) meant: Option<&'static Key>,
    /// `true` if that key takes the value.
    pub(super) is_same_kind: bool,
}

const SECRET: &str = ", the path of a file that holds the secret and nothing else";
const URL: &str = ", with scheme, host and port in it";
const FILTERS: &str = ", a list of filters";

/// Names that other programs have for a key, and a word about it.
const ALIASES: [(&str, &str, &str); 33] = [
    ("password", "password_file", SECRET),
    ("passwd", "password_file", SECRET),
    ("token", "token_file", SECRET),
    ("bearer", "token_file", SECRET),
    ("user", "username", ""),
    ("login", "username", ""),
    ("host", "url", URL),
    ("hostname", "url", URL),
    ("address", "url", URL),
    ("server", "url", URL),
    ("port", "url", URL),
    ("endpoint", "url", URL),
    ("ca", "ca_file", ""),
    ("cafile", "ca_file", ""),
    ("ca_cert", "ca_file", ""),
    ("cacert", "ca_file", ""),
    ("cert", "cert_file", ""),
    ("certificate", "cert_file", ""),
    ("key", "key_file", ""),
    ("client_id", "id", ", which is the MQTT client id as well"),
    ("name", "id", ""),
    ("data", "data_dir", ""),
    ("rules", "rules_dir", ""),
    ("topic", "mqtt", FILTERS),
    ("topics", "mqtt", FILTERS),
    ("filter", "mqtt", FILTERS),
    ("filters", "mqtt", FILTERS),
    ("subscribe", "mqtt", FILTERS),
    ("cron", "schedule", ", a list; seconds come first"),
    ("every", "schedule", " = [\"every 5m\"]"),
    ("timezone", "zone", ""),
    ("destination", "to", ""),
    ("query", "sql", ""),
];

/// Says which key one that nobody knows was meant to be.
pub(super) fn unknown(
    root: &'static [Key],
    path: &[&str],
    keys: &'static [Key],
    name: &str,
    value: &DeValue<'_>,
) -> Hint {
    let lower = name.to_lowercase().replace('-', "_");
    let known = |wanted: &str| keys.iter().find(|key| key.name == wanted);
    let mut aliases = ALIASES.iter().filter(|(other, _, _)| *other == lower);
    let alias = aliases.find_map(|(_, right, word)| Some((known(right)?, word)));
    if let Some((right, word)) = alias {
        return Hint {
            text: format!("; write `{}`{word}", right.name),
            meant: Some(right),
            is_same_kind: word.is_empty() || *word == FILTERS,
        };
    }
    let elsewhere = elsewhere(root, name, matches!(value, DeValue::Table(_)));
    let names = keys.iter().map(|key| key.name);
    let near = known(&lower).or_else(|| known(nearest(&lower, names)?));
    if elsewhere.is_empty()
        && let Some(near) = near
    {
        return Hint {
            text: format!("; did you mean `{}`?", near.name),
            meant: Some(near),
            is_same_kind: true,
        };
    }
    let text = if elsewhere.is_empty() {
        let names: Vec<String> = keys.iter().map(|key| format!("`{}`", key.name)).collect();
        let place = match path {
            [] => "the file".to_owned(),
            path => format!("[{}]", path.join(".")),
        };
        format!("; {place} has {}", names.join(", "))
    } else {
        format!("; it belongs {}", elsewhere.join(" or "))
    };
    Hint {
        text,
        meant: None,
        is_same_kind: false,
    }
}

/// Places of a file that may have a key of this name.
fn elsewhere(root: &'static [Key], name: &str, is_table: bool) -> Vec<String> {
    let mut places = Vec::new();
    let mut tables: Vec<(Vec<&str>, &'static [Key])> = vec![(Vec::new(), root)];
    while let Some((path, keys)) = tables.pop() {
        for key in keys {
            let below = match key.takes {
                Takes::Table(keys) => Some((vec![key.name], keys)),
                Takes::Tables(keys) => Some((vec![key.name, "NAME"], keys)),
                _ => None,
            };
            if key.name == name && (below.is_some() == is_table) {
                places.push(match &*path {
                    [] => "at the top of the file, before the first [table]".to_owned(),
                    path => format!("under [{}]", path.join(".")),
                });
            }
            if let Some((names, keys)) = below {
                tables.push(([&*path, &*names].concat(), keys));
            }
        }
    }
    places
}

/// Says what to write for a key that is missing.
pub(super) fn missing(path: &[&str], key: &Key) -> String {
    let (name, example) = (key.name, key.example);
    if let Takes::Table(keys) = &key.takes {
        let full = dotted(path, name);
        let required = keys.iter().filter(|key| key.is_required);
        let required: Vec<String> = required
            .map(|key| format!("{} = {}", key.name, key.example))
            .collect();
        let below = required.join(" and ");
        return format!("missing table `[{full}]`; write [{full}] and below it {below}");
    }
    let place = match path {
        [] => "at the top of the file".to_owned(),
        path => format!("under [{}]", path.join(".")),
    };
    format!("missing key `{name}`; write {name} = {example} {place}")
}

/// Says what to write for a value in the place of a table.
pub(super) fn no_table(path: &[&str]) -> String {
    let full = path.join(".");
    format!("{full}: it is a table; write [{full}] and its keys below")
}

/// The line of a text that has a place.
pub(super) fn line(text: &str, at: usize) -> &str {
    let before = text.get(..at).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = text.get(start..).unwrap_or_default();
    line.lines().next().unwrap_or_default()
}

/// Says why a text is no TOML, for those who do not know it.
pub(super) fn syntax(text: &str, at: usize, message: &str) -> String {
    let line = line(text, at);
    let key = line.split('=').next().unwrap_or_default().trim();
    let way_out = if message.contains("duplicate key") {
        "a name stands once; delete this one, or put both together"
    } else if line.contains(['“', '”', '‘', '’', '„']) {
        "write straight quotes, \"…\""
    } else if line.trim_start().starts_with('[') {
        "write the name of a table as [name] on a line of its own"
    } else if line.contains('=') && !key.is_empty() {
        return format!(
            "this is no TOML: {message}; write {key} = \"text\", {key} = 7, {key} = true or {key} = [\"a\", \"b\"]"
        );
    } else if line.contains(':') {
        "write key = value, not key: value"
    } else {
        "a line is [table], key = value or # a remark"
    };
    format!("this is no TOML: {message}; {way_out}")
}
