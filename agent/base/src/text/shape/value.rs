//! Values of another kind than a key takes: what to write instead, made of what was written.

use toml::Spanned;
use toml::de::{DeArray, DeValue};

use super::{Key, Takes};
use crate::text::{nearest, size_bytes};

/// Bytes of a value that an error repeats.
const SHOWN_MAX: usize = 80;

/// Says why a value is none that the key takes, and what to write.
pub(super) fn wrong(
    name: &str,
    takes: &Takes,
    example: &str,
    given: &DeValue<'_>,
) -> Option<String> {
    let is_good = match (takes, given) {
        (Takes::Text | Takes::Duration, DeValue::String(_))
        | (Takes::Flag, DeValue::Boolean(_))
        | (Takes::Any, _) => true,
        (Takes::OneOf(known), DeValue::String(text)) => known.contains(&text.as_ref()),
        (Takes::Texts, DeValue::Array(items)) => items.iter().all(|item| item.get_ref().is_str()),
        (Takes::Number | Takes::Size, DeValue::Integer(number)) => {
            i64::from_str_radix(number.as_str(), number.radix()).is_ok_and(|number| number >= 0)
        }
        (Takes::Size, DeValue::String(text)) => match size_bytes(text) {
            Ok(_) => true,
            Err(why) => return Some(why),
        },
        _ => false,
    };
    (!is_good).then(|| {
        let wanted = wanted(takes);
        match (takes, instead(takes, given)) {
            (Takes::Table(_) | Takes::Tables(_) | Takes::Named(_), _) => wanted,
            (_, Some(value)) => format!("{wanted}; write {name} = {value}"),
            (_, None) => format!("{wanted}; write {name} = {example}"),
        }
    })
}

fn wanted(takes: &Takes) -> String {
    let wanted = match takes {
        Takes::Text => "it is a text, in quotes",
        Takes::OneOf(known) => return format!("it is one of {}", quoted(known)),
        Takes::Duration => "it is a duration, a text with a unit",
        Takes::Texts => "it is a list of texts",
        Takes::Flag => "it is true or false, without quotes",
        Takes::Number => "it is a whole number from 0 on, without quotes",
        Takes::Size => "it is a number of bytes, or a text with a unit",
        Takes::Any => "it is a number, true, false or a text",
        Takes::Table(_) => "it is a table; write its keys below a line with its name in [ ]",
        Takes::Tables(_) => "it holds tables; write a line [NAME.YOURS] and keys below it",
        Takes::Named(_) => "it is a table; write names = values below a line with its name in [ ]",
    };
    wanted.to_owned()
}

fn quoted<T: AsRef<str>>(texts: &[T]) -> String {
    let quoted: Vec<String> = texts
        .iter()
        .map(|text| format!("{:?}", text.as_ref()))
        .collect();
    quoted.join(", ")
}

/// The value that was probably meant by the one that was written.
fn instead(takes: &Takes, given: &DeValue<'_>) -> Option<String> {
    if let DeValue::Array(items) = given {
        return of_list(takes, items);
    }
    let text = plain(given).filter(|text| text.len() <= SHOWN_MAX)?;
    let lower = text.trim().to_lowercase();
    let number = lower.parse::<u64>().ok();
    match takes {
        Takes::Text => Some(format!("{text:?}")),
        Takes::OneOf(known) => {
            let exact = known.iter().find(|one| **one == lower).copied();
            let one = exact.or_else(|| nearest(&lower, known.iter().copied()))?;
            Some(format!("{one:?}"))
        }
        Takes::Duration => number.map(|seconds| format!("\"{seconds}s\"")),
        Takes::Texts => Some(format!("[{text:?}]")),
        Takes::Flag => match lower.as_str() {
            "true" | "yes" | "on" | "1" => Some("true".to_owned()),
            "false" | "no" | "off" | "0" => Some("false".to_owned()),
            _ => None,
        },
        Takes::Number => number.map(|number| number.to_string()),
        _ => None,
    }
}

fn of_list(takes: &Takes, items: &DeArray<'_>) -> Option<String> {
    let items: Option<Vec<String>> = items.iter().map(|item| plain(item.get_ref())).collect();
    let items = items.filter(|items| items.iter().map(String::len).sum::<usize>() <= SHOWN_MAX)?;
    match (takes, &*items) {
        (Takes::Texts, items) if !items.is_empty() => Some(format!("[{}]", quoted(items))),
        (Takes::Text | Takes::Duration | Takes::OneOf(_), [only]) => Some(format!("{only:?}")),
        (Takes::Flag | Takes::Number, [only]) => Some(only.clone()),
        _ => None,
    }
}

fn plain(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(yes) => Some(yes.to_string()),
        DeValue::Datetime(moment) => Some(moment.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// Replaces a value of the wrong kind by the one that was meant, so that its absence is not
/// reported. Returns `true` if it could.
pub(super) fn mend(takes: &Takes, given: &mut DeValue<'_>) -> bool {
    let Some(text) = plain(given) else {
        return false;
    };
    *given = match takes {
        Takes::Texts => {
            let only = Spanned::new(0..0, DeValue::String(text.into()));
            DeValue::Array(std::iter::once(only).collect())
        }
        Takes::Duration if text.parse::<u64>().is_ok() => {
            DeValue::String(format!("{text}s").into())
        }
        Takes::Text => DeValue::String(text.into()),
        _ => return false,
    };
    true
}

/// A good value for a key that lacks one, so that the check of the others goes on.
pub(super) fn stand_in<'a>(key: &Key) -> DeValue<'a> {
    if let Takes::Table(keys) = key.takes {
        let required = keys.iter().filter(|key| key.is_required);
        let entries = required.map(|key| {
            let value = Spanned::new(0..0, stand_in(key));
            (Spanned::new(0..0, key.name.into()), value)
        });
        return DeValue::Table(entries.collect());
    }
    match DeValue::parse(key.example) {
        Ok(value) => value.into_inner(),
        Err(_) => DeValue::String(key.example.into()),
    }
}
