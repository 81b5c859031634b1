//! The demultiplexer of one port: bytes become lines, and each line becomes a fragment of SMP, an acknowledged
//! line, an NMEA sentence, a plain line or noise. One UART carries all of them at once.

mod ansi;
mod nmea;

use std::borrow::Cow;
use tidemill_lines::{Boot, unseal};

pub(crate) use nmea::Sentence;

/// The first two bytes of an SMP packet on a console, and of its further lines.
const SMP_MARKS: [[u8; 2]; 2] = [[0x06, 0x09], [0x04, 0x14]];

/// A star and eight hex digits at the end of an acknowledged line.
const SEAL_BYTES: usize = 9;

/// Ends of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LineEnd {
    /// LF, with or without a CR before it.
    #[default]
    Lf,
    /// CR or LF, for devices that never send the latter.
    Cr,
}

/// A piece of the stream between two ends of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raw<'a> {
    /// A line without its end; never empty.
    Line(&'a [u8]),
    /// A line that was longer than allowed, of which nothing was kept.
    TooLong,
}

/// Cuts a stream of bytes into lines. Memory is bounded by the longest line that is allowed.
#[derive(Debug)]
pub struct Splitter {
    end: LineEnd,
    line_bytes: usize,
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    /// `true` if `partial` was handed out as a line.
    is_given: bool,
    /// `true` while the rest of a line that is too long goes by.
    skips: bool,
}

impl Splitter {
    /// A splitter that drops lines of more than `line_bytes`.
    pub fn new(end: LineEnd, line_bytes: usize) -> Self {
        Self {
            end,
            line_bytes,
            partial: Vec::new(),
            is_given: false,
            skips: false,
        }
    }

    /// Takes bytes off the front of `bytes` up to the end of a line, and returns that line. `None` once all bytes
    /// are used up.
    pub fn next<'s, 'b: 's>(&'s mut self, bytes: &mut &'b [u8]) -> Option<Raw<'s>> {
        if std::mem::take(&mut self.is_given) {
            self.partial.clear();
        }
        loop {
            let ends = |byte: &u8| *byte == b'\n' || (self.end == LineEnd::Cr && *byte == b'\r');
            let Some(at) = bytes.iter().position(ends) else {
                self.keep(bytes);
                *bytes = &[];
                return None;
            };
            let (line, rest) = bytes.split_at(at);
            *bytes = rest.get(1..).unwrap_or_default();
            if self.skips || self.partial.len() + line.len() > self.longest_with_cr() {
                self.skips = false;
                self.partial = Vec::new();
                return Some(Raw::TooLong);
            }
            if self.partial.is_empty() {
                if let Some(line) = self.trimmed(line) {
                    return Some(line);
                }
                continue;
            }
            self.partial.extend_from_slice(line);
            if without_cr(&self.partial).is_empty() {
                self.partial.clear();
                continue;
            }
            self.is_given = true;
            return self.trimmed(&self.partial);
        }
    }

    /// Gives the beginning of a line up, because its end can never come; `true` if there was one.
    pub fn cut(&mut self) -> bool {
        let had = self.skips || (!self.is_given && !self.partial.is_empty());
        (self.partial, self.is_given, self.skips) = (Vec::new(), false, false);
        had
    }

    fn trimmed<'a>(&self, line: &'a [u8]) -> Option<Raw<'a>> {
        let line = without_cr(line);
        if line.len() > self.line_bytes {
            return Some(Raw::TooLong);
        }
        (!line.is_empty()).then_some(Raw::Line(line))
    }

    fn longest_with_cr(&self) -> usize {
        self.line_bytes + 2
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.skips {
            return;
        }
        if self.partial.len() + bytes.len() > self.longest_with_cr() {
            self.skips = true;
            self.partial = Vec::new();
            return;
        }
        self.partial.extend_from_slice(bytes);
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| *byte != b'\r');
    end.and_then(|end| line.get(..=end)).unwrap_or_default()
}

/// Kinds of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A line of an SMP packet.
    Smp(&'a [u8]),
    /// A line in the form of layer 1, good or damaged, or one of the bridge's own that came back.
    Sealed(&'a [u8]),
    /// An NMEA sentence whose checksum fits.
    Nmea(&'a str),
    /// Printable text, without its colours.
    Plain(Cow<'a, str>),
    /// Anything else.
    Noise,
}

/// Says what a line is. `boot` is that of the device, by which our own lines are known when they come back.
pub fn classify(line: &[u8], boot: Option<Boot>) -> Kind<'_> {
    if SMP_MARKS.iter().any(|mark| line.starts_with(mark)) {
        return Kind::Smp(line);
    }
    if is_sealed(line) && is_layer1(line, boot) {
        return Kind::Sealed(line);
    }
    if let Some(sentence) = std::str::from_utf8(line).ok().filter(|text| is_nmea(text)) {
        return Kind::Nmea(sentence);
    }
    match ansi::plain(line) {
        Some(text) if text.is_empty() => Kind::Noise,
        Some(text) => Kind::Plain(text),
        None => Kind::Noise,
    }
}

fn is_sealed(line: &[u8]) -> bool {
    let seal = line.len().checked_sub(SEAL_BYTES);
    let seal = seal.and_then(|at| line.get(at..)).unwrap_or_default();
    match seal.split_first() {
        Some((b'*', digits)) => digits.iter().all(u8::is_ascii_hexdigit),
        _ => false,
    }
}

/// Marks of the bridge may begin many a plain line, so only a checksum that fits makes an echo of one.
fn is_layer1(line: &[u8], boot: Option<Boot>) -> bool {
    match line.first() {
        Some(b'@' | b'#' | b'<') => true,
        Some(b'=' | b'-' | b'+' | b'>') => unseal(line, boot).is_some(),
        _ => false,
    }
}

fn is_nmea(text: &str) -> bool {
    Sentence::read(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]], end: LineEnd, line_bytes: usize) -> (Vec<Option<Vec<u8>>>, bool) {
        let mut splitter = Splitter::new(end, line_bytes);
        let mut found = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while let Some(raw) = splitter.next(&mut rest) {
                found.push(match raw {
                    Raw::Line(line) => Some(line.to_vec()),
                    Raw::TooLong => None,
                });
            }
        }
        let cut = splitter.cut();
        (found, cut)
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_come_in_pieces() {
        let stream = b"a\r\n\r\n\nbc\n\r\nd\r\r\n0123456\n01234567\r\nxyz0123456789\ne\nrest";
        let whole = lines(&[stream], LineEnd::Lf, 8);
        let text = |line: &str| Some(line.as_bytes().to_vec());
        let expected = vec![
            text("a"),
            text("bc"),
            text("d"),
            text("0123456"),
            text("01234567"),
            None,
            text("e"),
        ];
        assert_eq!(whole, (expected, true));
        for cut in 1..stream.len() {
            for second in cut..stream.len() {
                let pieces = [&stream[..cut], &stream[cut..second], &stream[second..]];
                assert_eq!(lines(&pieces, LineEnd::Lf, 8), whole, "{cut} {second}");
            }
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(lines(&bytes, LineEnd::Lf, 8), whole);
    }

    #[test]
    fn a_flood_without_an_end_takes_no_memory_and_counts_once() {
        let mut splitter = Splitter::new(LineEnd::Lf, 4_096);
        let flood = [b'x'; 4_096];
        for _ in 0..256 {
            assert_eq!(splitter.next(&mut &flood[..]), None);
        }
        assert!(splitter.partial.capacity() <= 8_192);
        assert_eq!(splitter.next(&mut &b"\n"[..]), Some(Raw::TooLong));
        let mut rest = &b"good\n"[..];
        assert_eq!(splitter.next(&mut rest), Some(Raw::Line(b"good")));
    }

    #[test]
    fn a_device_that_never_sends_lf_has_lines_too() {
        let (found, cut) = lines(&[b"a\rb\r", b"\nc\n"], LineEnd::Cr, 10);
        let found: Vec<_> = found.into_iter().flatten().collect();
        assert_eq!(found, [b"a", b"b", b"c"]);
        assert!(!cut);
    }

    #[test]
    fn each_line_is_taken_for_the_first_that_fits() {
        let plain = |text: &'static str| Kind::Plain(Cow::Borrowed(text));
        let check = |line: &'static [u8], expected: Kind<'static>| {
            assert_eq!(classify(line, None), expected, "{line:?}");
        };
        let smp = b"\x06\x09ABAKAAAGAABCAKFhZGJoaZsK";
        check(smp, Kind::Smp(smp));
        let hello = b"@th-1 boot=- first=1 lost=0 fw=1.4.2 hw=th-board-2 max=128*48FCBAEF";
        check(hello, Kind::Sealed(hello));
        let damaged = b"#2 {\"t\":21.6}*350D4FEB";
        check(damaged, Kind::Sealed(damaged));
        check(b"#2 {\"t\":21.6}*350D4FE", plain("#2 {\"t\":21.6}*350D4FE"));
        let fix = "$GPGLL,4916.45,N,12311.12,W,225444,A*31";
        check(fix.as_bytes(), Kind::Nmea(fix));
        check(b"$GPGLL,4916.45,N*00", plain("$GPGLL,4916.45,N*00"));
        check(b"t=1\th=2", plain("t=1\th=2"));
        check("21.5 °C".as_bytes(), plain("21.5 °C"));
        check(
            b"\x1b[0;32mI (31) boot: ok\x1b[0m",
            Kind::Plain(Cow::Owned("I (31) boot: ok".to_owned())),
        );
        check(b"\x1b[0m", Kind::Noise);
        check(b"a\0b", Kind::Noise);
        check(b"a\xffb", Kind::Noise);
        check(b"\x1b]0;title\x07", Kind::Noise);
    }

    #[test]
    fn our_own_lines_are_known_when_they_come_back_and_others_stay_plain() {
        let boot = Boot::read(b"5f3a91c2d07be844");
        let ours = b"=1*3C0C6205";
        assert_eq!(classify(ours, boot), Kind::Sealed(ours));
        assert!(matches!(classify(ours, None), Kind::Plain(_)));
        assert!(matches!(classify(b"-12.5*3C0C6205", boot), Kind::Plain(_)));
        let ours = b"@new boot=5f3a91c2d07be844*F52B3314";
        assert_eq!(classify(ours, None), Kind::Sealed(ours));
    }
}
