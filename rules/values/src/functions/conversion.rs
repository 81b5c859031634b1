//! From one kind of value to another.

mod compression;

use super::arguments::{bounded, only_text, room, text, whole};
use super::table::scalar;
use crate::cast::{base64, from_base64, int_of};
use crate::{
    Context, FieldType, FnError, Function, Price, Value, cast, from_json, json_fuel, json_weight,
    to_json,
};

type Answer = Result<Value, FnError>;

pub(super) const FUNCTIONS: &[Function] = &[
    scalar(
        301,
        "cast",
        "value, type",
        "the value as `bigint`, `float`, `string`, `boolean`, `datetime` or `bytea`; an error if it has no counterpart there",
        |_, args| {
            let kind = FieldType::named(&text(args, 1))
                .ok_or_else(|| FnError::argument(args, 1, "the name of a type"))?;
            args.first()
                .map_or(Ok(Value::Null), |value| Ok(cast(value, kind)?))
        },
    ),
    scalar(
        302,
        "to_json",
        "value",
        "the value as JSON text",
        |_, args| bounded(args.first().map(to_json).unwrap_or_default().into()),
    )
    .price(Price::flat(60).weight(32).deep(60)),
    scalar(
        303,
        "parse_json",
        "text",
        "the value that a JSON text stands for; an error if it is none",
        |context, args| {
            let text = only_text(args, 0)?.as_bytes();
            context.budget.spend(json_fuel(text))?;
            context.budget.hold(json_weight(text))?;
            from_json(text).map_err(|error| FnError::Failed(error.to_string()))
        },
    )
    .price(Price::flat(80)),
    scalar(
        304,
        "chr",
        "value",
        "the code of a character as a number; a number without its fraction",
        chr,
    )
    .price(Price::flat(60)),
    scalar(
        305,
        "encode",
        "value, encoding",
        "a text or bytes in `base64` or in `hex`, two small digits a byte",
        |_, args| {
            let bytes = match args.first() {
                Some(Value::Bytes(bytes)) => bytes,
                _ => only_text(args, 0)?.as_bytes(),
            };
            match encoding(args)? {
                Encoding::Base64 => bounded(base64(bytes).into()),
                Encoding::Hex => {
                    room(bytes.len().saturating_mul(2))?;
                    bounded(hex(bytes).into())
                }
            }
        },
    )
    .price(Price::flat(80).weight(64)),
    scalar(
        306,
        "decode",
        "text, encoding",
        "the bytes that a text in `base64` or in `hex` stands for, with or without `0x`",
        |_, args| {
            let text = only_text(args, 0)?;
            let (bytes, wanted) = match encoding(args)? {
                Encoding::Base64 => (from_base64(text), "text in base64"),
                Encoding::Hex => (from_hex(text), "hexadecimal digits, two a byte"),
            };
            bytes
                .map(Value::bytes)
                .ok_or_else(|| FnError::argument(args, 0, wanted))
        },
    )
    .price(Price::flat(80).weight(64)),
    scalar(
        307,
        "compress",
        "value, method",
        "a text or bytes, compressed by `zlib`, `gzip` or `flate`",
        compression::compress,
    )
    .price(Price::flat(20_000)),
    scalar(
        308,
        "decompress",
        "value, method",
        "the bytes that were compressed",
        compression::decompress,
    )
    .price(Price::flat(20_000)),
    scalar(
        309,
        "hex2dec",
        "text",
        "the whole number that hexadecimal digits stand for, with or without `0x`",
        hex2dec,
    )
    .price(Price::flat(200).weight(32)),
    scalar(
        310,
        "dec2hex",
        "x",
        "a whole number in hexadecimal digits, with `0x`",
        |_, args| {
            let number = whole(args, 0)?;
            let sign = if number < 0 { "-" } else { "" };
            Ok(Value::text(format!("{sign}0x{:x}", number.unsigned_abs())))
        },
    )
    .price(Price::flat(200).weight(32)),
];

/// Bytes as text.
enum Encoding {
    Base64,
    Hex,
}

fn encoding(args: &[Value]) -> Result<Encoding, FnError> {
    let name = text(args, 1);
    if name.eq_ignore_ascii_case("base64") {
        Ok(Encoding::Base64)
    } else if name.eq_ignore_ascii_case("hex") {
        Ok(Encoding::Hex)
    } else {
        Err(FnError::argument(args, 1, "'base64' or 'hex'"))
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
    let digits = |byte: &u8| [digit(byte >> 4), digit(byte & 0xf)];
    bytes.iter().flat_map(digits).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let digits = digits.unwrap_or(text).as_bytes();
    let value = |digit: &u8| char::from(*digit).to_digit(16);
    let (pairs, []) = digits.as_chunks() else {
        return None;
    };
    let byte = |[high, low]: &[u8; 2]| u8::try_from(value(high)? << 4 | value(low)?).ok();
    pairs.iter().map(byte).collect()
}

fn chr(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let code = match args.first() {
        Some(Value::Int(number)) => Some(*number),
        Some(Value::Float(number)) => int_of(*number),
        Some(Value::Text(text)) => {
            let mut letters = text.chars();
            match (letters.next(), letters.next()) {
                (Some(letter), None) => Some(u32::from(letter).into()),
                _ => None,
            }
        }
        _ => None,
    };
    code.map(Value::Int)
        .ok_or_else(|| FnError::argument(args, 0, "one character or a number"))
}

fn hex2dec(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let text = only_text(args, 0)?;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    let digits = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
        .unwrap_or(digits);
    let sound = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    sound
        .then(|| i64::from_str_radix(&format!("{sign}{digits}"), 16).ok())
        .flatten()
        .map(Value::Int)
        .ok_or_else(|| FnError::argument(args, 0, "hexadecimal digits"))
}
