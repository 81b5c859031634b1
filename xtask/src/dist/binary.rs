//! Requirements that a binary has of the system it runs on, as readelf tells it.

use super::targets::Target;
use crate::shell::capture;
use anyhow::{Result, bail};
use std::path::Path;
use std::process::Command;

/// Fails if a static binary wants a loader, or one with glibc a newer one than its target says.
pub(super) fn check(binary: &Path, target: &Target) -> Result<()> {
    let Some(allowed) = target.glibc else {
        let headers = readelf(binary, "--program-headers")?;
        if headers.contains("INTERP") {
            bail!("the binary should be static and asks for a loader");
        }
        return Ok(());
    };
    let versions = readelf(binary, "--version-info")?;
    match newest_glibc(&versions) {
        Some(newest) if newest > number(allowed) => {
            bail!(
                "needs glibc {}.{}, and {allowed} is what boards have",
                newest.0,
                newest.1
            )
        }
        Some(_) => Ok(()),
        None => bail!("asks for no version of glibc, though it should be linked with it"),
    }
}

fn readelf(binary: &Path, what: &str) -> Result<String> {
    capture(Command::new("readelf").arg("--wide").arg(what).arg(binary))
}

fn newest_glibc(versions: &str) -> Option<(u32, u32)> {
    let words = versions.split_whitespace();
    let asked = words.filter_map(|word| word.strip_prefix("GLIBC_"));
    asked.map(number).max()
}

/// Major and minor of `2.31`; a patch level does not count, and what is no number is 0.
fn number(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_is_by_number_and_not_by_text() {
        let text =
            "0x0010:   Name: GLIBC_2.4  Flags: none\n Name: GLIBC_2.29 x\n Name: GLIBC_2.3.4";
        assert_eq!(newest_glibc(text), Some((2, 29)));
        assert!(number("2.34") > number("2.31"));
        assert!(number("2.9") < number("2.31"));
        assert_eq!(newest_glibc("nothing"), None);
    }
}
