//! `LIKE`: `%` stands for any text, `_` for any one character, a backslash takes the next one as it is.

use super::OpError;
use crate::Value;

/// `value LIKE pattern`, or with `negated` `NOT LIKE`; case counts. With nothing on a side both are
/// false.
///
/// # Errors
///
/// If a side is not text.
pub fn like(value: &Value, pattern: &Value, negated: bool) -> Result<bool, OpError> {
    let not_text = |op, value: &Value| OpError::Type {
        op,
        value: value.shown(),
    };
    match (value, pattern) {
        (Value::Null, _) | (_, Value::Null) => Ok(false),
        (Value::Text(text), Value::Text(pattern)) => Ok(matches(text, pattern) != negated),
        (Value::Text(_), other) => Err(not_text("LIKE with the pattern", other)),
        (other, _) => Err(not_text("LIKE for", other)),
    }
}

/// Walks both at once and remembers the last `%` alone: if a later one was reached, an earlier one need
/// not take more. So the time is at most the product of the lengths.
fn matches(text: &str, pattern: &str) -> bool {
    let (mut text, mut pattern) = (text.chars(), pattern.chars());
    let mut last = None;
    loop {
        let here = text.clone();
        let fits = match (pattern.next(), text.next()) {
            (None, None) => return true,
            (Some('%'), _) => {
                last = Some((here.clone(), pattern.clone()));
                text = here;
                continue;
            }
            (Some(_), None) => return false,
            (Some('_'), Some(_)) => true,
            (Some('\\'), Some(found)) => pattern.next().unwrap_or('\\') == found,
            (Some(wanted), Some(found)) => wanted == found,
            (None, Some(_)) => false,
        };
        if fits {
            continue;
        }
        // The last `%` takes one character more.
        let Some((mut from, after)) = last else {
            return false;
        };
        if from.next().is_none() {
            return false;
        }
        (text, pattern) = (from.clone(), after.clone());
        last = Some((from, after));
    }
}
