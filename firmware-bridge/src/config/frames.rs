//! Packets instead of lines: their form, and that of what is in them.

use super::Check;
use super::file::{LengthTable, PortTable};
use super::words::{duration, number, one_of};
use crate::decode::Packed;
use crate::frames::{Framing, Length, Sum};
use std::ops::{Range, RangeInclusive};
use toml::Spanned;

/// Forms that only packets have.
pub(super) const PACKED_ONLY: [&str; 2] = ["base64", "cbor"];

const START_BYTES: RangeInclusive<usize> = 1..=8;

/// The length lies behind the start and near the front: the rest of the smallest `line_bytes` is for content.
const AT_MAX: u16 = 32;
const ADD_MAX: u16 = 1_024;
const SILENCE_MS: RangeInclusive<u64> = 1..=10_000;

/// Packets of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frames {
    /// The way to tell where one ends.
    pub framing: Framing,
    /// The form of what is in them.
    pub decode: Packed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Word {
    #[default]
    Cobs,
    Slip,
    Length,
    Gap,
}

const WORDS: [(&str, Word); 4] = [
    ("cobs", Word::Cobs),
    ("slip", Word::Slip),
    ("length", Word::Length),
    ("gap", Word::Gap),
];
const DECODES: [(&str, Packed); 3] = [
    ("json", Packed::Json),
    ("cbor", Packed::Cbor),
    ("base64", Packed::Base64),
];
const SUMS: [(&str, Sum); 5] = [
    ("none", Sum::None),
    ("crc16-modbus", Sum::Crc16Modbus),
    ("crc16-xmodem", Sum::Crc16Xmodem),
    ("sum8", Sum::Sum8),
    ("xor8", Sum::Xor8),
];

/// Refuses what only a port with frames has.
pub(super) fn refuse_keys_of_frames(table: &PortTable, check: &mut Check<'_>) {
    let of_frames = [
        ("silence", table.silence.as_ref().map(Spanned::span)),
        ("length", table.length.as_ref().map(Spanned::span)),
    ];
    refuse(of_frames, check, |key| {
        let word = if key == "silence" { "gap" } else { "length" };
        format!("{key}: only a port with frames = {word:?} has it")
    });
}

/// Reads the frames of a port that has some; `None` where they are wrong.
pub(super) fn frames(
    given: &Spanned<String>,
    table: &PortTable,
    check: &mut Check<'_>,
) -> Option<Frames> {
    refuse_keys_of_lines(table, check);
    let word = one_of(Some(given), "frames", &WORDS, check);
    let decode = one_of(table.decode.as_ref(), "decode", &DECODES, check);
    if let Some(silence) = table.silence.as_ref().filter(|_| word != Word::Gap) {
        check.error(silence.span(), "silence: only frames = \"gap\" has it");
    }
    if let Some(length) = table.length.as_ref().filter(|_| word != Word::Length) {
        check.error(length.span(), "length: only frames = \"length\" has it");
    }
    let framing = match word {
        Word::Cobs => Framing::Cobs,
        Word::Slip => Framing::Slip,
        Word::Length => match &table.length {
            Some(length) => Framing::Length(self::length(length.get_ref(), check)?),
            None => {
                let why = "frames: length needs length = { start = \"aa55\", at = 2, bytes = 1, add = 3 }";
                check.error(given.span(), why);
                return None;
            }
        },
        Word::Gap => match &table.silence {
            Some(given) => Framing::Gap(duration(Some(given), "silence", 1, SILENCE_MS, check)),
            None => {
                check.error(given.span(), "frames: gap needs silence = \"5ms\"");
                return None;
            }
        },
    };
    Some(Frames { framing, decode })
}

fn refuse<const N: usize>(
    keys: [(&'static str, Option<Range<usize>>); N],
    check: &mut Check<'_>,
    why: impl Fn(&str) -> String,
) {
    for (key, span) in keys {
        if let Some(span) = span {
            check.error(span, why(key));
        }
    }
}

/// Keys that say something of lines, or of the way down.
fn refuse_keys_of_lines(table: &PortTable, check: &mut Check<'_>) {
    let of_lines = [
        ("end", table.end.as_ref().map(Spanned::span)),
        ("log", table.log.as_ref().map(Spanned::span)),
        ("plain", table.plain.as_ref().map(Spanned::span)),
        ("columns", table.columns.as_ref().map(Spanned::span)),
        ("pattern", table.pattern.as_ref().map(Spanned::span)),
    ];
    refuse(of_lines, check, |key| {
        format!("{key}: a port with frames has no lines; take this key away")
    });
    if let Some(write) = table.write.as_ref().filter(|write| *write.get_ref()) {
        let why = "write: frames go one way, from the device; take this key away";
        check.error(write.span(), why);
    }
    if let Some(bits) = table.bits.as_ref().filter(|bits| *bits.get_ref() != 8) {
        check.error(bits.span(), "bits: frames are made of 8");
    }
}

fn length(table: &LengthTable, check: &mut Check<'_>) -> Option<Length> {
    let Some(start) = hex(table.start.get_ref()).filter(|start| START_BYTES.contains(&start.len()))
    else {
        let why = format!(
            "start: {:?} is no start; write the 1 to 8 bytes that each packet begins with in hex, such as \"aa55\"",
            table.start.get_ref()
        );
        check.error(table.start.span(), why);
        return None;
    };
    let least = u16::try_from(start.len()).unwrap_or(AT_MAX);
    let at = number(table.at.as_ref(), "at", least, least..=AT_MAX, check);
    let bytes = number(table.bytes.as_ref(), "bytes", 1, 1..=2, check);
    let add = number(table.add.as_ref(), "add", 0, 0..=ADD_MAX, check);
    Some(Length {
        start,
        at: at.into(),
        bytes: bytes.into(),
        add: add.into(),
        sum: one_of(table.sum.as_ref(), "sum", &SUMS, check),
    })
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    let bytes = digits.chunks_exact(2);
    Some(
        bytes
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
            .collect(),
    )
}
