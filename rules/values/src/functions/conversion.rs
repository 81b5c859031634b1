//! From one kind of value to another.

mod compression;

use super::arguments::{bounded, only_text, text, whole};
use super::table::scalar;
use crate::cast::{base64, from_base64, int_of};
use crate::{Context, FieldType, FnError, Function, Value, cast, from_json, to_json};

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
    ),
    scalar(
        303,
        "parse_json",
        "text",
        "the value that a JSON text stands for; an error if it is none",
        |_, args| {
            from_json(only_text(args, 0)?.as_bytes())
                .map_err(|error| FnError::Failed(error.to_string()))
        },
    ),
    scalar(
        304,
        "chr",
        "value",
        "the code of a character as a number; a number without its fraction",
        chr,
    ),
    scalar(
        305,
        "encode",
        "value, 'base64'",
        "a text or bytes in base64",
        |_, args| {
            only_base64(args)?;
            match args.first() {
                Some(Value::Bytes(bytes)) => bounded(base64(bytes).into()),
                _ => bounded(base64(only_text(args, 0)?.as_bytes()).into()),
            }
        },
    ),
    scalar(
        306,
        "decode",
        "text, 'base64'",
        "the bytes that a text in base64 stands for",
        |_, args| {
            only_base64(args)?;
            from_base64(only_text(args, 0)?)
                .map(Value::bytes)
                .ok_or_else(|| FnError::argument(args, 0, "text in base64"))
        },
    ),
    scalar(
        307,
        "compress",
        "value, method",
        "a text or bytes, compressed by `zlib`, `gzip` or `flate`",
        compression::compress,
    ),
    scalar(
        308,
        "decompress",
        "value, method",
        "the bytes that were compressed",
        compression::decompress,
    ),
    scalar(
        309,
        "hex2dec",
        "text",
        "the whole number that hexadecimal digits stand for, with or without `0x`",
        hex2dec,
    ),
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
    ),
];

fn only_base64(args: &[Value]) -> Result<(), FnError> {
    if text(args, 1).eq_ignore_ascii_case("base64") {
        return Ok(());
    }
    Err(FnError::argument(args, 1, "'base64'"))
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
