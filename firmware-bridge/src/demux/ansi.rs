//! Text as a terminal would show it: without colours, and nothing where there is more than text in it.

use std::borrow::Cow;

const ESCAPE: char = '\x1b';

/// Returns the text of a line without sequences of the form `ESC [ … letter`, by which consoles colour lines,
/// clear them and move in them. `None` where it is no UTF-8, or has control characters other than a tab.
pub(super) fn plain(line: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(line).ok()?;
    let is_foul = |c: char| c.is_control() && c != '\t';
    if !text.contains(is_foul) {
        return Some(Cow::Borrowed(text));
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, sequence)) = rest.split_once(ESCAPE) {
        plain.push_str(before);
        rest = behind(sequence)?;
    }
    plain.push_str(rest);
    (!plain.contains(is_foul)).then_some(Cow::Owned(plain))
}

/// Returns the text behind a sequence whose ESC is gone already.
fn behind(sequence: &str) -> Option<&str> {
    let sequence = sequence.strip_prefix('[')?;
    let end = sequence.find(|c| !matches!(c, ' '..='?'))?;
    let (_, rest) = sequence.split_at(end);
    rest.strip_prefix(|c| matches!(c, '@'..='~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go_and_text_stays() {
        let check = |line: &[u8], expected: Option<&str>| {
            assert_eq!(plain(line).as_deref(), expected, "{line:?}");
        };
        check(b"plain", Some("plain"));
        check(b"\x1b[1;31mred\x1b[0m text\x1b[K", Some("red text"));
        check(b"\x1b[?25h\x1b[2Ja\tb", Some("a\tb"));
        check(b"\x1b[38;5;208mo", Some("o"));
        for foul in [
            &b"\x1b"[..],
            b"\x1b[",
            b"\x1b[3",
            b"\x1b(B",
            b"\x1b[3\x1b[0m",
            b"\x1b[3\xc3\xa4",
            b"\x07",
            b"\x1b[0m\x00",
            b"\xc2\x9b0m",
            b"\xff",
        ] {
            check(foul, None);
        }
    }
}
