//! Text from outside as a terminal and a log can be given it: nothing in it moves a cursor, begins a
//! line, turns the direction of writing or hides.

use std::fmt::{self, Write};

/// A text from outside in which everything that is more than a visible character is escaped, line ends
/// as well: it stays on its line. What is escaped already stays as it is.
#[derive(Debug, Clone, Copy)]
pub struct Printable<T>(T);

/// Makes a text from outside one that can be shown within a line.
pub fn printable<T: fmt::Display>(text: T) -> Printable<T> {
    Printable(text)
}

impl<T: fmt::Display> fmt::Display for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping::new(f), "{}", self.0)
    }
}

/// `true` for a character that a terminal only shows: no control character (C0, DEL, C1), none that
/// turns the direction of writing, none that ends a line or a paragraph, none without a width of its own
/// that could hide something (Unicode's default-ignorable code points, and what annotates between lines).
pub fn is_printable(c: char) -> bool {
    let hides = matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}'
    );
    !c.is_control() && !hides
}

/// `true` for a text that can be shown as it is.
pub fn is_all_printable(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~')) || text.chars().all(is_printable)
}

/// Passes text on with everything escaped that is not printable, as Rust writes it: `\n`, `\u{1b}`.
#[derive(Debug)]
pub struct Escaping<W>(W);

impl<W: Write> Escaping<W> {
    /// Escapes what is written to `out`.
    pub fn new(out: W) -> Self {
        Self(out)
    }
}

impl<W: Write> Write for Escaping<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        each(text, &mut self.0, |out, c| {
            write!(out, "{}", c.escape_default())
        })
    }
}

/// Passes lines on with their ends, and everything else in them escaped that is not printable.
pub fn escape_lines(text: &str) -> String {
    escaped(text, |out, c| match c {
        '\n' => out.write_char(c),
        other => write!(out, "{}", other.escape_default()),
    })
}

/// JSON with the same meaning and without unprintable characters, except for line ends between its
/// members. Within JSON such characters occur in strings only, where an escape means the same.
pub fn escape_json(json: &str) -> String {
    escaped(json, |out, c| match c {
        '\n' => out.write_char(c),
        other => {
            let mut units = [0; 2];
            let mut units = other.encode_utf16(&mut units).iter();
            units.try_for_each(|unit| write!(out, "\\u{unit:04x}"))
        }
    })
}

fn escaped(text: &str, escape: impl Fn(&mut String, char) -> fmt::Result) -> String {
    let mut out = String::with_capacity(text.len());
    // Writing to a String does not fail.
    let _ = each(text, &mut out, escape);
    out
}

/// Writes what is printable as it is, in as few pieces as there are, and each other character by `escape`.
fn each<W: Write>(
    text: &str,
    out: &mut W,
    escape: impl Fn(&mut W, char) -> fmt::Result,
) -> fmt::Result {
    let mut rest = text;
    while let Some(at) = rest.find(|c| !is_printable(c)) {
        let (plain, from) = rest.split_at(at);
        out.write_str(plain)?;
        let mut chars = from.chars();
        if let Some(c) = chars.next() {
            escape(out, c)?;
        }
        rest = chars.as_str();
    }
    out.write_str(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that a terminal would obey, or not show.
    const FOUL: &str = "\x07\x1b]0;t\x07\r\n\t\x7f\u{85}\u{9b}2J\u{202e}\u{2066}\u{2028}\u{2029}\u{200b}\u{feff}\u{e0041}";

    #[test]
    fn all_that_is_more_than_visible_is_escaped_and_stays_on_its_line() {
        let shown = printable(FOUL).to_string();
        assert_eq!(
            shown,
            "\\u{7}\\u{1b}]0;t\\u{7}\\r\\n\\t\\u{7f}\\u{85}\\u{9b}2J\\u{202e}\\u{2066}\\u{2028}\\u{2029}\\u{200b}\\u{feff}\\u{e0041}"
        );
        assert_eq!(printable(&shown).to_string(), shown, "once is enough");
        let plain = "s/äöü 日本 😀 \\ \"x\" {y}";
        assert_eq!(printable(plain).to_string(), plain);
        assert_eq!(escape_lines("a\u{1b}\nb\r\n"), "a\\u{1b}\nb\\r\n");
    }

    #[test]
    fn escaped_json_means_the_same() {
        let json = serde_json::to_string(FOUL).unwrap();
        let escaped = escape_json(&json);
        assert!(is_all_printable(&escaped), "{escaped}");
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), FOUL);
        assert_eq!(escape_json("{\n  \"ä\": 1\n}"), "{\n  \"ä\": 1\n}");
    }

    #[test]
    fn no_control_character_and_no_direction_is_printable() {
        let all = '\0'..=char::MAX;
        let unseen = all.filter(|c| !is_printable(*c)).count();
        assert!(unseen > 65 + 12 && unseen < 4_400, "{unseen}");
        for c in [
            '\0', '\x1b', '\x7f', '\u{80}', '\u{9f}', '\u{200f}', '\u{2069}',
        ] {
            assert!(!is_printable(c), "{c:?}");
        }
        for c in [' ', '~', '\u{a0}', 'ß', '́', '�', '🛠'] {
            assert!(is_printable(c), "{c:?}");
        }
    }
}
