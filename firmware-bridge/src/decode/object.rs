//! A flat JSON object in the making, whose values keep the form that the device gave them.

use std::fmt::Write as _;

/// A JSON object.
#[derive(Debug, Default)]
pub(super) struct Object(String);

impl Object {
    /// Adds a value as what it looks like: a number as it is written, `true`, `false`, `null` where there is
    /// none or it is not a number (`nan`, `inf`), else a text.
    pub(super) fn value(&mut self, key: &str, text: &str) {
        let text = text.trim();
        let bare = text.strip_prefix(['+', '-']).unwrap_or(text);
        let is_none = text.is_empty()
            || ["nan", "inf", "ovf"]
                .iter()
                .any(|none| bare.eq_ignore_ascii_case(none));
        self.key(key);
        if is_none {
            self.0.push_str("null");
        } else if is_number(text) || text == "true" || text == "false" {
            self.0.push_str(text);
        } else {
            self.text_value(text);
        }
    }

    /// Adds a text.
    pub(super) fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        self.text_value(text);
    }

    /// Adds a list of texts.
    pub(super) fn texts<'a>(&mut self, key: &str, texts: impl Iterator<Item = &'a str>) {
        self.key(key);
        self.0.push('[');
        for (index, text) in texts.enumerate() {
            if index > 0 {
                self.0.push(',');
            }
            self.text_value(text);
        }
        self.0.push(']');
    }

    /// Adds a number.
    pub(super) fn number(&mut self, key: &str, number: f64) {
        self.key(key);
        // Writing to a String does not fail.
        let _ = write!(self.0, "{number}");
    }

    /// Returns the object.
    pub(super) fn end(mut self) -> String {
        if self.0.is_empty() {
            self.0.push('{');
        }
        self.0.push('}');
        self.0
    }

    fn key(&mut self, key: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.text_value(key);
        self.0.push(':');
    }

    fn text_value(&mut self, text: &str) {
        quoted(&mut self.0, text);
    }
}

/// Adds a text in quotes.
pub(super) fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                // Writing to a String does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// `true` for a number as JSON writes it.
pub(super) fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let is_led_by_zero = whole.len() > 1 && whole.starts_with('0');
    let exponent = exponent.map(|exponent| exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
    digits(whole) && !is_led_by_zero && fraction.is_none_or(digits) && exponent.is_none_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_the_form_that_the_device_gave_them() {
        let check = |text: &str, expected: &str| {
            let mut object = Object::default();
            object.value("v", text);
            let object = object.end();
            assert_eq!(object, format!("{{\"v\":{expected}}}"), "{text}");
            serde_json::from_str::<serde::de::IgnoredAny>(&object).unwrap();
        };
        for number in [
            "0",
            "-0",
            "21.50",
            "1e5",
            "-1.5E-7",
            "123456789012345678901",
        ] {
            check(number, number);
        }
        for text in [
            "007", "1.", ".5", "+5", "0x1F", "1,5", "-", "--1", "1e", "on", "True",
        ] {
            check(text, &format!("\"{text}\""));
        }
        for none in ["", "nan", "NaN", "-inf", "+INF", "ovf"] {
            check(none, "null");
        }
        check("true", "true");
        check("a\"b\\c\td", r#""a\"b\\c\td""#);
    }

    #[test]
    fn an_object_without_keys_is_one() {
        assert_eq!(Object::default().end(), "{}");
    }
}
