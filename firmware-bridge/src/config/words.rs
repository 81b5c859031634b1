//! Values of which a few are good: words and numbers.

use super::Check;
use std::fmt;
use tidemill_base::text::{duration_ms, nearest};
use toml::Spanned;

/// The value of a word; the default where nothing, or nothing known, is said.
pub(super) fn one_of<T: Copy + Default>(
    given: Option<&Spanned<String>>,
    key: &str,
    known: &[(&str, T)],
    check: &mut Check<'_>,
) -> T {
    let default = T::default();
    let Some(given) = given else { return default };
    let word = given.get_ref();
    if let Some((_, value)) = known.iter().find(|(name, _)| name == word) {
        return *value;
    }
    let names = known.iter().map(|(name, _)| *name);
    let near = nearest(&word.to_lowercase(), names.clone());
    let hint = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
    let names: Vec<String> = names.map(|name| format!("{name:?}")).collect();
    let why = format!("{key}: {word:?} is none of {}{hint}", names.join(", "));
    check.error(given.span(), why);
    default
}

/// A number within bounds.
pub(super) fn number<T: Copy + PartialOrd + fmt::Display>(
    given: Option<&Spanned<T>>,
    key: &str,
    default: T,
    range: std::ops::RangeInclusive<T>,
    check: &mut Check<'_>,
) -> T {
    let Some(given) = given else { return default };
    if !range.contains(given.get_ref()) {
        let (low, high) = (range.start(), range.end());
        check.error(given.span(), format!("{key} lies between {low} and {high}"));
    }
    *given.get_ref()
}

/// Milliseconds of a duration within bounds.
pub(super) fn duration(
    given: Option<&Spanned<String>>,
    key: &str,
    default: u64,
    range: std::ops::RangeInclusive<u64>,
    check: &mut Check<'_>,
) -> u64 {
    let Some(given) = given else { return default };
    let why = match duration_ms(given.get_ref()) {
        Ok(ms) if range.contains(&ms) => return ms,
        Ok(_) => format!(
            "{key} lies between {} and {}",
            in_words(*range.start()),
            in_words(*range.end())
        ),
        Err(why) => format!("{key}: {why}"),
    };
    check.error(given.span(), why);
    default
}

/// Milliseconds in the largest unit that they are whole in.
fn in_words(ms: u64) -> String {
    let units = [("h", 3_600_000), ("s", 1_000)];
    let whole = units
        .iter()
        .find(|(_, long)| ms > 0 && ms.is_multiple_of(*long));
    whole.map_or_else(
        || format!("{ms}ms"),
        |(name, long)| format!("{}{name}", ms / long),
    )
}
