//! `LIKE`: `%` matches any text, `_` any one character, a backslash quotes the next one.

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
        (Value::Text(text), Value::Text(pattern)) => match matches(text, pattern) {
            Some(matches) => Ok(matches != negated),
            None => Err(OpError::TooLong),
        },
        (Value::Text(_), other) => Err(not_text("LIKE with the pattern", other)),
        (other, _) => Err(not_text("LIKE for", other)),
    }
}

/// Steps of one `LIKE`, in characters: text and pattern may both come from a device. Takes 0.6 s of
/// a server's core.
const STEPS_MAX: u32 = 1 << 28;

/// Walks both at once and remembers the last `%` alone: once a later one was reached, an earlier
/// one need not take more. So the time is at most the product of the lengths; `None` if it would
/// take too many steps.
fn matches(text: &str, pattern: &str) -> Option<bool> {
    let (mut text, mut pattern) = (text.chars(), pattern.chars());
    let mut last = None;
    for _ in 0..STEPS_MAX {
        let here = text.clone();
        let fits = match (pattern.next(), text.next()) {
            (None, None) => return Some(true),
            (Some('%'), _) => {
                last = Some((here.clone(), pattern.clone()));
                text = here;
                continue;
            }
            (Some(_), None) => return Some(false),
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
            return Some(false);
        };
        if from.next().is_none() {
            return Some(false);
        }
        (text, pattern) = (from.clone(), after.clone());
        last = Some((from, after));
    }
    None
}
