//! Values with bounds: each is read from its key, or is the default, and what lies outside is an
//! error that names key, place and bounds.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use tidemill_base::files::exposure;
use tidemill_base::secret::{Secret, SecretFile};
use tidemill_base::text::{Errors, Size, Source, duration_ms, size_text};

/// One table of the file, for errors about its keys. A value that is wrong is noted, and the default
/// taken, so that the check goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a> {
    pub(super) source: &'a Source,
    pub(super) name: &'a str,
    pub(super) errors: &'a Errors,
}

impl Table<'_> {
    /// Takes note of an error about the value of a key.
    pub(super) fn error<T>(&self, key: &str, value: &Spanned<T>, why: impl Display) {
        let message = format!("{}.{key}{why}", self.name);
        self.errors
            .push(self.source.error_at(&value.span(), message));
    }

    /// Takes note of a value that works, and should be another.
    pub(super) fn warn<T>(&self, key: &str, value: &Spanned<T>, why: impl Display) {
        let message = format!("{}.{key}{why}", self.name);
        self.errors
            .warn(self.source.error_at(&value.span(), message));
    }

    /// Warns of a file with a secret that others than its owner can get at.
    pub(super) fn warn_if_exposed(&self, key: &str, path: &Spanned<PathBuf>) {
        if let Some(why) = exposure(&self.path(path)) {
            self.warn(key, path, format!(": {why}"));
        }
    }

    /// A number between bounds.
    pub(super) fn number<T: Copy + TryFrom<u64> + PartialOrd + Display>(
        &self,
        key: &str,
        given: Option<&Spanned<u64>>,
        bounds: RangeInclusive<T>,
        default: T,
    ) -> T {
        let Some(value) = given else { return default };
        match T::try_from(*value.get_ref()) {
            Ok(number) if bounds.contains(&number) => number,
            _ => {
                let (low, high) = (bounds.start(), bounds.end());
                self.error(key, value, format!(" lies between {low} and {high}"));
                default
            }
        }
    }

    /// A number of bytes between bounds.
    pub(super) fn size<T: Copy + TryFrom<u64>>(
        &self,
        key: &str,
        given: Option<&Spanned<Size>>,
        bounds: RangeInclusive<u64>,
        default: T,
    ) -> T {
        let Some(value) = given else { return default };
        let bytes = value.get_ref().0;
        match T::try_from(bytes) {
            Ok(number) if bounds.contains(&bytes) => number,
            _ => {
                let (low, high) = (size_text(*bounds.start()), size_text(*bounds.end()));
                self.error(key, value, format!(" lies between {low} and {high}"));
                default
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
    ) -> Duration {
        let default = Duration::from_millis(default_ms);
        let Some(value) = given else { return default };
        match duration_ms(value.get_ref()) {
            Ok(ms) if bounds_ms.contains(&ms) => return Duration::from_millis(ms),
            Ok(_) => self.error(key, value, format!(" {outside}")),
            Err(why) => self.error(key, value, format!(": {why}")),
        }
        default
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
    ) -> Option<(SecretFile, Secret)> {
        let file = SecretFile::new(self.path(path));
        match file.read() {
            Ok(secret) => {
                self.warn_if_exposed(key, path);
                Some((file, secret))
            }
            Err(error) => {
                let shown = file.path().display();
                self.error(key, path, format!(": {shown} cannot be read: {error}"));
                None
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
