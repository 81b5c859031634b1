//! Finds the seed on a boot partition, and reads it.

use std::path::{Path, PathBuf};

use super::{SEED, SEED_BYTES_MAX, SEED_TXT};
use tidemill_base::files::read_input;
use tidemill_base::text::{FileError, Source};

/// A seed as it lies on the boot partition.
#[derive(Debug)]
pub(super) struct Found {
    /// The file.
    pub(super) path: PathBuf,
    /// Its text.
    pub(super) source: Source,
}

/// The names of seeds on a boot partition, in their order. Case does not count: a FAT has none.
pub(super) fn names(boot: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(boot)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if name == SEED || name == SEED_TXT {
            all.push(entry.path());
        }
    }
    all.sort();
    Ok(all)
}

/// Reads the seed; `None` where there is none.
///
/// # Errors
/// When it cannot be read, is longer than a seed may be, no UTF-8, or there are two.
pub(super) fn find(boot: &Path) -> Result<Option<Found>, Vec<FileError>> {
    let wrong = |path: &Path, message: String| {
        vec![FileError {
            path: path.to_owned(),
            place: None,
            message,
            excerpt: None,
        }]
    };
    let names = match names(boot) {
        Ok(names) => names,
        Err(error) => {
            return Err(wrong(
                boot,
                format!("the boot partition cannot be read: {error}"),
            ));
        }
    };
    let path = match names.as_slice() {
        [] => return Ok(None),
        [path] => path,
        [first, others @ ..] => {
            let others: Vec<String> = others
                .iter()
                .filter_map(|path| path.file_name())
                .map(|name| name.to_string_lossy().into_owned())
                .collect();
            let message = format!(
                "there is a second seed beside it, {}, and nobody knows which one counts; remove one of them",
                others.join(", ")
            );
            return Err(wrong(first, message));
        }
    };
    if let Err(error) = read_input(path, SEED_BYTES_MAX) {
        let message = match error.kind() {
            std::io::ErrorKind::FileTooLarge => format!(
                "a seed has at most {} KiB; put rules into the folder {} beside it, and leave out what is no setting",
                SEED_BYTES_MAX >> 10,
                super::RULES
            ),
            _ => format!("cannot be read: {error}"),
        };
        return Err(wrong(path, message));
    }
    let source = Source::read(path).map_err(|error| vec![error])?;
    Ok(Some(Found {
        path: path.clone(),
        source,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_found_by_each_of_its_names_and_two_are_refused() {
        let boot = tempfile::tempdir().unwrap();
        assert!(find(boot.path()).unwrap().is_none());
        for name in ["tidemill.toml", "TIDEMILL.TOML", "tidemill.toml.txt"] {
            let path = boot.path().join(name);
            std::fs::write(&path, "\u{feff}[gateway]\r\n").unwrap();
            let found = find(boot.path()).unwrap().unwrap();
            assert_eq!(found.path, path);
            assert_eq!(found.source.text, "[gateway]\r\n", "without its mark");
            std::fs::remove_file(&path).unwrap();
        }
        for name in ["tidemill.toml", "tidemill.toml.txt"] {
            std::fs::write(boot.path().join(name), "").unwrap();
        }
        let error = find(boot.path()).unwrap_err()[0].to_string();
        assert!(
            error.contains("a second seed beside it, tidemill.toml.txt"),
            "{error}"
        );
    }
}
