//! `compress` and `decompress`. What comes out is bounded, however much a few bytes promise.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::Answer;
use crate::functions::arguments::text;
use crate::{Context, FnError, VALUE_BYTES_MAX, Value};

pub(super) fn compress(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let input = input(args)?;
    let level = Compression::default();
    let method = text(args, 1);
    let compressed = match &*method {
        "zlib" => write(
            ZlibEncoder::new(Vec::new(), level),
            input,
            ZlibEncoder::finish,
        ),
        // Without a name or a time in its header: the same input gives the same bytes.
        "gzip" => write(GzEncoder::new(Vec::new(), level), input, GzEncoder::finish),
        "flate" => write(
            DeflateEncoder::new(Vec::new(), level),
            input,
            DeflateEncoder::finish,
        ),
        _ => return Err(unknown(args)),
    };
    compressed
        .map(Value::bytes)
        .map_err(|error| FnError::Failed(error.to_string()))
}

pub(super) fn decompress(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let input = input(args)?;
    let method = text(args, 1);
    let out = match &*method {
        "zlib" => read(ZlibDecoder::new(input)),
        "gzip" => read(MultiGzDecoder::new(input)),
        "flate" => read(DeflateDecoder::new(input)),
        _ => return Err(unknown(args)),
    };
    let out = out.map_err(|_| FnError::argument(args, 0, "what that method compressed"))?;
    if out.len() > VALUE_BYTES_MAX {
        return Err(FnError::TooLarge);
    }
    Ok(Value::bytes(out))
}

fn input(args: &[Value]) -> Result<&[u8], FnError> {
    match args.first() {
        Some(Value::Bytes(bytes)) => Ok(bytes),
        Some(Value::Text(text)) => Ok(text.as_bytes()),
        _ => Err(FnError::argument(args, 0, "a string or bytes")),
    }
}

fn unknown(args: &[Value]) -> FnError {
    FnError::argument(args, 1, "'zlib', 'gzip' or 'flate'")
}

fn write<W: Write>(
    mut encoder: W,
    input: &[u8],
    finish: fn(W) -> std::io::Result<Vec<u8>>,
) -> std::io::Result<Vec<u8>> {
    encoder.write_all(input)?;
    finish(encoder)
}

fn read(decoder: impl Read) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    // One byte more than may be, to see whether there is more.
    decoder
        .take(VALUE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut out)?;
    Ok(out)
}
