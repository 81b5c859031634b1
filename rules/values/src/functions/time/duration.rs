//! Durations as text: `1h30m`, `-1.5s`, `200ms`.

/// Milliseconds of a duration in text, rounded towards 0; `None` if it is no duration or too long.
pub(super) fn parse_ms(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return None;
    }
    let mut ns = 0_i128;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        let (unit, after) = unit(after)?;
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        ns = ns.checked_add(whole_or_none(whole)?.checked_mul(unit)?)?;
        // Nine decimals of an hour are finer than a millisecond.
        let fraction = fraction.get(..fraction.len().min(9))?;
        let scale = 10_i128.pow(fraction.len() as u32);
        ns = ns.checked_add(whole_or_none(fraction)? * unit / scale)?;
        rest = after;
    }
    i64::try_from(sign * (ns / 1_000_000)).ok()
}

fn digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn whole_or_none(digits: &str) -> Option<i128> {
    if digits.is_empty() {
        return Some(0);
    }
    digits.parse::<i64>().ok().map(i128::from)
}

/// A unit in nanoseconds, and what follows it. The longer names come first.
fn unit(text: &str) -> Option<(i128, &str)> {
    [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000), // the micro sign
        ("μs", 1_000), // the Greek letter
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ]
    .into_iter()
    .find_map(|(name, unit)| Some((unit, text.strip_prefix(name)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let check = |text, expected| assert_eq!(parse_ms(text), expected, "{text}");
        check("1h", Some(3_600_000));
        check("1h30m10s100ms", Some(5_410_100));
        check("-1.5s", Some(-1_500));
        check("+.25h", Some(900_000));
        check("1999us", Some(1));
        check("900µs200μs", Some(1));
        check("0s", Some(0));
        check("", None);
        check("-", None);
        check("5", None);
        check("s", None);
        check("1d", None);
        check("1h ", None);
        check("99999999999999999999h", None);
        check("9223372036854775807h", None);
    }
}
