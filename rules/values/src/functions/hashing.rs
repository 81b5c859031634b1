//! Digests of text or bytes, in hexadecimal digits.

use md5::Md5;
use sha1::Sha1;
use sha2::digest::Digest;
use sha2::{Sha256, Sha384, Sha512};

use super::arguments::text;
use super::table::scalar;
use crate::{FnError, Function, Price, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    scalar(401, "md5", "value", "its MD5 digest", |_, args| {
        digest::<Md5>(args)
    })
    .price(Price::flat(1_500).weight(48).deep(80)),
    scalar(402, "sha1", "value", "its SHA-1 digest", |_, args| {
        digest::<Sha1>(args)
    })
    .price(Price::flat(1_500).weight(48).deep(80)),
    scalar(403, "sha256", "value", "its SHA-256 digest", |_, args| {
        digest::<Sha256>(args)
    })
    .price(Price::flat(2_500).weight(80).deep(100)),
    scalar(404, "sha384", "value", "its SHA-384 digest", |_, args| {
        digest::<Sha384>(args)
    })
    .price(Price::flat(2_500).weight(80).deep(100)),
    scalar(405, "sha512", "value", "its SHA-512 digest", |_, args| {
        digest::<Sha512>(args)
    })
    .price(Price::flat(2_500).weight(80).deep(100)),
    scalar(
        406,
        "crc32",
        "value",
        "its CRC-32, without zeros in front",
        |_, args| {
            let sum = with_bytes(args, crc32fast::hash);
            Ok(Value::text(format!("{sum:x}")))
        },
    )
    .price(Price::flat(300).weight(16).deep(60)),
];

fn digest<D: Digest>(args: &[Value]) -> Result<Value, FnError> {
    let digest = with_bytes(args, |bytes| D::digest(bytes));
    let digits = digest.iter().map(|byte| format!("{byte:02x}"));
    Ok(Value::text(digits.collect::<String>()))
}

fn with_bytes<T>(args: &[Value], of: impl FnOnce(&[u8]) -> T) -> T {
    match args.first() {
        Some(Value::Bytes(bytes)) => of(bytes),
        _ => of(text(args, 0).as_bytes()),
    }
}
