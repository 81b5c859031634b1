//! TOML to tables: errors of the parser as sentences with the key that is meant.

use serde::de::DeserializeOwned;
use tidemill_base::text::{FileError, Source, nearest};

/// Names that other programs have for a key.
const ALIASES: [(&str, &str); 30] = [
    ("speed", "baud"),
    ("baudrate", "baud"),
    ("baud_rate", "baud"),
    ("device", "path"),
    ("tty", "path"),
    ("serialport", "path"),
    ("databits", "bits"),
    ("data_bits", "bits"),
    ("stopbits", "stop_bits"),
    ("host", "url"),
    ("server", "url"),
    ("address", "url"),
    ("user", "username"),
    ("password", "password_file"),
    ("format", "decode"),
    ("data_format", "decode"),
    ("slave", "id"),
    ("slave_id", "id"),
    ("unit_id", "id"),
    ("interval", "every"),
    ("poll_interval", "every"),
    ("registers", "read"),
    ("address", "reg"),
    ("register", "reg"),
    ("name", "as"),
    ("field", "as"),
    ("data_type", "type"),
    ("byte_order", "order"),
    ("word_order", "order"),
    ("factor", "scale"),
];

/// Reads the text as a table of this form.
pub(super) fn parse<T: DeserializeOwned>(source: &Source) -> Result<T, FileError> {
    toml::from_str(&source.text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        let message = sentence(&source.text, span.start, error.message());
        source.error_at(&span, message)
    })
}

fn sentence(text: &str, at: usize, message: &str) -> String {
    if let Some((name, rest)) = quoted(message, "unknown field `") {
        return unknown(name, rest);
    }
    if let Some((name, _)) = quoted(message, "missing field `") {
        return match name {
            "bridge" | "broker" => format!("missing table [{name}]"),
            name => format!("missing key `{name}`"),
        };
    }
    match key_of(text, at) {
        Some(key) if message.starts_with("invalid") || message.starts_with("unknown variant") => {
            format!("{key}: {message}")
        }
        _ => format!("this is no TOML: {message}"),
    }
}

/// The first quoted name behind a prefix, and the rest of the message.
fn quoted<'a>(message: &'a str, prefix: &str) -> Option<(&'a str, &'a str)> {
    message.strip_prefix(prefix)?.split_once('`')
}

fn unknown(name: &str, rest: &str) -> String {
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    let lower = name.to_lowercase().replace('-', "_");
    let alias = ALIASES
        .iter()
        .find(|(other, right)| *other == lower && known.contains(right))
        .map(|(_, right)| *right);
    match alias.or_else(|| nearest(&lower, known.iter().copied())) {
        Some(near) => format!("unknown key `{name}`; did you mean `{near}`?"),
        None => format!("unknown key `{name}`; here stand {}", known.join(", ")),
    }
}

/// The key of the line that a place is in.
fn key_of(text: &str, at: usize) -> Option<&str> {
    let start = text.get(..at)?.rfind('\n').map_or(0, |end| end + 1);
    let line = text.get(start..)?.lines().next()?;
    let (key, _) = line.split_once('=')?;
    Some(key.trim()).filter(|key| !key.is_empty())
}
