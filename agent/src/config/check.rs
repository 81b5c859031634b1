//! Values with bounds: each is read from its key, or is the default, and what lies outside is an
//! error that names key, place and bounds.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use toml::Spanned;

use crate::secret::{Secret, SecretFile};
use crate::text::{FileError, Source, duration_ms, size_bytes, size_text};

/// One table of the file, for errors about its keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a> {
    pub(super) source: &'a Source,
    pub(super) name: &'a str,
}

impl Table<'_> {
    /// An error about the value of a key.
    pub(super) fn error<T>(&self, key: &str, value: &Spanned<T>, why: impl Display) -> FileError {
        let message = format!("{}.{key}{why}", self.name);
        self.source.error_at(&value.span(), message)
    }

    /// A number between bounds.
    pub(super) fn number<T: Copy + PartialOrd + Display>(
        &self,
        key: &str,
        given: Option<&Spanned<T>>,
        bounds: RangeInclusive<T>,
        default: T,
    ) -> Result<T, FileError> {
        match given {
            None => Ok(default),
            Some(value) if bounds.contains(value.get_ref()) => Ok(*value.get_ref()),
            Some(value) => {
                let (low, high) = (bounds.start(), bounds.end());
                Err(self.error(key, value, format!(" lies between {low} and {high}")))
            }
        }
    }

    /// A number of bytes between bounds.
    pub(super) fn size(
        &self,
        key: &str,
        given: Option<&Spanned<Size>>,
        bounds: RangeInclusive<u64>,
        default: u64,
    ) -> Result<u64, FileError> {
        match given {
            None => Ok(default),
            Some(value) if bounds.contains(&value.get_ref().0) => Ok(value.get_ref().0),
            Some(value) => {
                let (low, high) = (size_text(*bounds.start()), size_text(*bounds.end()));
                Err(self.error(key, value, format!(" lies between {low} and {high}")))
            }
        }
    }

    /// A span of time between bounds; `outside` says what is wrong with another.
    pub(super) fn duration(
        &self,
        key: &str,
        given: Option<&Spanned<String>>,
        bounds_ms: RangeInclusive<u64>,
        default_ms: u64,
        outside: &str,
    ) -> Result<Duration, FileError> {
        let Some(value) = given else {
            return Ok(Duration::from_millis(default_ms));
        };
        match duration_ms(value.get_ref()) {
            Ok(ms) if bounds_ms.contains(&ms) => Ok(Duration::from_millis(ms)),
            Ok(_) => Err(self.error(key, value, format!(" {outside}"))),
            Err(why) => Err(self.error(key, value, format!(": {why}"))),
        }
    }

    /// A path, which begins at the configuration file unless it is absolute.
    pub(super) fn path(&self, path: &Spanned<PathBuf>) -> PathBuf {
        beside(self.source, path.get_ref())
    }

    /// A file with a secret in it, and the secret.
    pub(super) fn secret(
        &self,
        key: &str,
        path: &Spanned<PathBuf>,
    ) -> Result<(SecretFile, Secret), FileError> {
        let file = SecretFile::new(self.path(path));
        match file.read() {
            Ok(secret) => Ok((file, secret)),
            Err(error) => {
                let shown = file.path().display();
                Err(self.error(key, path, format!(": {shown} cannot be read: {error}")))
            }
        }
    }
}

/// A path as seen from the configuration file.
pub(super) fn beside(source: &Source, path: &std::path::Path) -> PathBuf {
    match source.path.parent() {
        Some(directory) => directory.join(path),
        None => path.to_owned(),
    }
}

/// A number of bytes, written as a number or as text with a unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size(pub(super) u64);

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
