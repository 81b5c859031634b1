//! `format`: numbers for people, with the separators that they are used to.

use super::Answer;
use crate::functions::arguments::{bounded, number, text, whole};
use crate::{Context, FnError, Value};

/// How many decimals may be asked for; a float has no more.
const DIGITS_MAX: i64 = 1_100;

/// Between the thousands, and before the decimals.
type Separators = (&'static str, &'static str);

const POINT: Separators = (",", ".");
const COMMA: Separators = (".", ",");
const SPACE: Separators = ("\u{a0}", ",");

/// By language, or language and country where that differs. India's groups of two are not among them.
const LOCALES: &[(&str, Separators)] = &[
    ("de_AT", SPACE),
    ("de_CH", ("’", ".")),
    ("en_ZA", SPACE),
    ("es_MX", POINT),
    ("es_US", POINT),
    ("fr_CH", ("\u{202f}", ",")),
    ("it_CH", ("’", ".")),
    ("pt_PT", SPACE),
    ("da", COMMA),
    ("de", COMMA),
    ("el", COMMA),
    ("en", POINT),
    ("es", COMMA),
    ("fr", ("\u{202f}", ",")),
    ("hr", COMMA),
    ("id", COMMA),
    ("it", COMMA),
    ("nl", COMMA),
    ("pt", COMMA),
    ("ro", COMMA),
    ("sl", COMMA),
    ("sr", COMMA),
    ("tr", COMMA),
    ("he", POINT),
    ("ja", POINT),
    ("ko", POINT),
    ("th", POINT),
    ("zh", POINT),
    ("bg", SPACE),
    ("cs", SPACE),
    ("et", SPACE),
    ("fi", SPACE),
    ("hu", SPACE),
    ("lt", SPACE),
    ("lv", SPACE),
    ("nb", SPACE),
    ("no", SPACE),
    ("pl", SPACE),
    ("ru", SPACE),
    ("sk", SPACE),
    ("sv", SPACE),
    ("uk", SPACE),
];

pub(super) fn format(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let digits = whole(args, 1)?;
    let digits = usize::try_from(digits.min(DIGITS_MAX))
        .map_err(|_| FnError::argument(args, 1, "a whole number from 0 on"))?;
    let plain = format!("{:.digits$}", number(args, 0)?);
    if args.len() < 3 {
        return bounded(plain.into());
    }
    let name = text(args, 2).replace('-', "_");
    let (thousands, point) = separators(&name)
        .ok_or_else(|| FnError::argument(args, 2, "a locale such as en_US or de_DE"))?;
    bounded(grouped(&plain, thousands, point).into())
}

/// A name has to have a country: the two letters of a language alone say too little.
fn separators(name: &str) -> Option<Separators> {
    let (language, country) = name.split_once('_')?;
    if country.len() != 2 {
        return None;
    }
    let find = |wanted: &str| LOCALES.iter().find(|(name, _)| *name == wanted);
    find(name)
        .or_else(|| find(language))
        .map(|(_, separators)| *separators)
}

fn grouped(plain: &str, thousands: &str, point: &str) -> String {
    let (sign, rest) = match plain.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", plain),
    };
    let (whole, decimals) = match rest.split_once('.') {
        Some((whole, decimals)) => (whole, Some(decimals)),
        None => (rest, None),
    };
    let mut out = sign.to_owned();
    for (place, digit) in whole.char_indices() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) && digit.is_ascii_digit() {
            out.push_str(thousands);
        }
        out.push(digit);
    }
    if let Some(decimals) = decimals {
        out.push_str(point);
        out.push_str(decimals);
    }
    out
}
