//! `compress` and `decompress`. What comes out is bounded, however much a few bytes promise.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::Answer;
use crate::functions::arguments::text;
use crate::{Budget, Context, FnError, VALUE_BYTES_MAX, Value};

/// Fuel of a byte that is compressed, whatever it is.
const IN_FUEL: u64 = 60;
/// Fuel of a byte that comes out of what was compressed.
const OUT_FUEL: u64 = 10;
/// Bytes that either way takes for itself.
const STATE_BYTES: usize = 320 << 10;

pub(super) fn compress(context: &mut Context<'_>, args: &[Value]) -> Answer {
    let input = input(args)?;
    context.budget.spend(input.len() as u64 * IN_FUEL)?;
    context.budget.hold(STATE_BYTES + input.len() * 2)?;
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

pub(super) fn decompress(context: &mut Context<'_>, args: &[Value]) -> Answer {
    let input = input(args)?;
    let method = text(args, 1);
    let budget = &mut *context.budget;
    let out = match &*method {
        "zlib" => read(ZlibDecoder::new(input), budget),
        "gzip" => read(MultiGzDecoder::new(input), budget),
        "flate" => read(DeflateDecoder::new(input), budget),
        _ => return Err(unknown(args)),
    };
    let out = out?.ok_or_else(|| FnError::argument(args, 0, "what that method compressed"))?;
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

/// Bytes that are decompressed before more is paid for.
const PIECE_BYTES: usize = 4 << 10;

fn read(mut decoder: impl Read, budget: &mut Budget) -> Result<Option<Vec<u8>>, FnError> {
    let mut out = Vec::new();
    // One byte more than may be, to see whether there is more.
    while out.len() <= VALUE_BYTES_MAX {
        budget.spend(PIECE_BYTES as u64 * OUT_FUEL)?;
        budget.hold(PIECE_BYTES * 2)?;
        let piece = decoder.by_ref().take(PIECE_BYTES as u64);
        match { piece }.read_to_end(&mut out) {
            Ok(0) => break,
            Ok(_) => {}
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(out))
}
