//! Numbers of bytes as people write them.

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// A number of bytes, written as a number or as text with a unit.
#[derive(Debug, Clone, Copy)]
pub struct Size(pub u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sizes;
        impl Visitor<'_> for Sizes {
            type Value = Size;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a size such as \"64MiB\" or a number of bytes")
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes)
                    .map(Size)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(bytes), &self))
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                size_bytes(text).map(Size).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Sizes)
    }
}

/// Reads a number of bytes as people write it: `8MiB`, `64KiB`, `1GiB`, `100kB`, `4096`.
///
/// # Errors
/// A sentence that says what would be right.
pub fn size_bytes(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("{text:?} is no size; write \"64KiB\", \"8MiB\", \"1GiB\" or a number of bytes");
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '_');
    let (digits, unit) = text.split_at(unit_at.unwrap_or(text.len()));
    let number: u64 = digits.replace('_', "").parse().map_err(|_| wrong())?;
    let unit = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(wrong)
}

/// A number of bytes as people are shown it, with one digit after the point: `15.6 MiB`.
pub fn size_shown(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| bytes >> shift > 0) {
        None => format!("{bytes} bytes"),
        Some((shift, unit)) => {
            // Never more than is there.
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
    }
}

/// A number of bytes as people write it.
pub fn size_text(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    units
        .into_iter()
        .find(|(shift, _)| bytes >> shift > 0 && bytes.trailing_zeros() >= *shift)
        .map_or_else(
            || bytes.to_string(),
            |(shift, unit)| format!("{}{unit}", bytes >> shift),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_as_people_write_them() {
        for (text, bytes, shown) in [
            ("8MiB", 8 << 20, "8MiB"),
            ("64 KiB", 65_536, "64KiB"),
            ("1_000", 1_000, "1000"),
            ("100kB", 100_000, "100000"),
            ("1024GiB", 1 << 40, "1TiB"),
            ("0", 0, "0"),
        ] {
            assert_eq!(size_bytes(text), Ok(bytes), "{text}");
            assert_eq!(size_text(bytes), shown);
        }
        for (bytes, shown) in [
            (0, "0 bytes"),
            (1_023, "1023 bytes"),
            (16_384_000, "15.6 MiB"),
        ] {
            assert_eq!(size_shown(bytes), shown);
        }
        for text in ["", "MiB", "-1", "1.5MiB", "8mib", "99999999TiB"] {
            assert!(size_bytes(text).unwrap_err().contains("write \"64KiB\""));
        }
    }
}
