//! `format`: numbers for people, with the separators that they are used to.

use super::Answer;
use crate::functions::arguments::{bounded, number, text, whole};
use crate::{Context, FnError, Value};

/// Limit of the decimals asked for; a float has no more.
const DIGITS_MAX: i64 = 1_100;

/// Between the thousands, before the decimals, and how many digits the groups beyond the first have.
type Separators = (&'static str, &'static str, usize);

const POINT: Separators = (",", ".", 3);
const COMMA: Separators = (".", ",", 3);
const SPACE: Separators = ("\u{a0}", ",", 3);
const APOSTROPHE: Separators = ("’", ".", 3);
const INDIA: Separators = (",", ".", 2);

/// By language, or language and country where that differs; digits are those of Europe everywhere.
const LOCALES: &[(&str, Separators)] = &[
    ("ar_DZ", COMMA),
    ("ar_LB", COMMA),
    ("ar_LY", COMMA),
    ("ar_MA", COMMA),
    ("ar_TN", COMMA),
    ("de_AT", SPACE),
    ("de_CH", APOSTROPHE),
    ("en_IN", INDIA),
    ("en_ZA", SPACE),
    ("es_CR", SPACE),
    ("es_DO", POINT),
    ("es_GT", POINT),
    ("es_HN", POINT),
    ("es_MX", POINT),
    ("es_NI", POINT),
    ("es_PA", POINT),
    ("es_PE", POINT),
    ("es_PR", POINT),
    ("es_SV", POINT),
    ("es_US", POINT),
    ("fr_LU", COMMA),
    ("it_CH", APOSTROPHE),
    ("pt_PT", SPACE),
    ("ar", POINT),
    ("be", SPACE),
    ("bg", SPACE),
    ("ca", COMMA),
    ("cs", SPACE),
    ("da", COMMA),
    ("de", COMMA),
    ("el", COMMA),
    ("en", POINT),
    ("es", COMMA),
    ("et", SPACE),
    ("eu", COMMA),
    ("fi", SPACE),
    ("fo", COMMA),
    ("fr", SPACE),
    ("gl", COMMA),
    ("gu", INDIA),
    ("he", POINT),
    ("hi", INDIA),
    ("hr", COMMA),
    ("hu", SPACE),
    ("id", COMMA),
    ("is", COMMA),
    ("it", COMMA),
    ("ja", POINT),
    ("ko", POINT),
    ("lt", SPACE),
    ("lv", SPACE),
    ("mk", COMMA),
    ("mn", POINT),
    ("ms", POINT),
    ("nb", SPACE),
    ("nl", COMMA),
    ("no", SPACE),
    ("pl", SPACE),
    ("pt", COMMA),
    ("rm", APOSTROPHE),
    ("ro", COMMA),
    ("ru", SPACE),
    ("sk", SPACE),
    ("sl", COMMA),
    ("sq", SPACE),
    ("sr", COMMA),
    ("sv", SPACE),
    ("ta", INDIA),
    ("te", INDIA),
    ("th", POINT),
    ("tr", COMMA),
    ("uk", SPACE),
    ("ur", POINT),
    ("vi", COMMA),
    ("zh", POINT),
];

/// Fuel of a decimal.
const DIGIT_FUEL: u64 = 16;

pub(super) fn format(context: &mut Context<'_>, args: &[Value]) -> Answer {
    let digits = whole(args, 1)?;
    let digits = usize::try_from(digits.min(DIGITS_MAX))
        .map_err(|_| FnError::argument(args, 1, "a whole number from 0 on"))?;
    context.budget.spend(digits as u64 * DIGIT_FUEL)?;
    let plain = format!("{:.digits$}", number(args, 0)?);
    if args.len() < 3 {
        return bounded(plain.into());
    }
    let name = text(args, 2).replace('-', "_");
    let separators = separators(&name)
        .ok_or_else(|| FnError::argument(args, 2, "a locale such as en_US or de_DE"))?;
    bounded(grouped(&plain, separators).into())
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

fn grouped(plain: &str, (thousands, point, group): Separators) -> String {
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
        let behind = whole.len() - place;
        let parts = behind == 3 || (behind > 3 && (behind - 3).is_multiple_of(group));
        if place > 0 && parts && digit.is_ascii_digit() {
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
