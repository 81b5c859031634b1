//! The Rust SDK as text: every starting point in Rust has a copy of it, laid out as in this repository,
//! so that the files are the very same.

use super::File;

/// Name of the folder that holds the copy.
pub(super) const FOLDER: &str = "tidemill";

macro_rules! carried {
    ($($path:literal)*) => {
        &[$(($path, include_str!(concat!("../../../../rules/", $path)))),*]
    };
}

/// The files below `rules/` that a function is built of.
const FILES: &[(&str, &str)] = carried! {
    "abi/Cargo.toml"
    "abi/src/code.rs"
    "abi/src/export.rs"
    "abi/src/import.rs"
    "abi/src/lib.rs"
    "abi/src/limit.rs"
    "abi/src/select.rs"
    "abi/src/value.rs"
    "sdk/Cargo.toml"
    "sdk/macros/Cargo.toml"
    "sdk/macros/src/expand.rs"
    "sdk/macros/src/inputs.rs"
    "sdk/macros/src/lib.rs"
    "sdk/macros/src/manifest.rs"
    "sdk/macros/src/spec.rs"
    "sdk/src/answer.rs"
    "sdk/src/event.rs"
    "sdk/src/ffi.rs"
    "sdk/src/input.rs"
    "sdk/src/json.rs"
    "sdk/src/lib.rs"
    "sdk/src/log.rs"
    "sdk/src/port.rs"
    "sdk/src/slot.rs"
    "sdk/src/state.rs"
    "sdk/src/timer.rs"
};

/// The workspace that `abi` asks for its version; in the repository that is the agent's.
const WORKSPACE: &str = r#"# The SDK of Tidemill VERSION and the crate it stands on, to be replaced as a whole by those of a later version.
[workspace]
resolver = "3"
members = ["abi"]
exclude = ["sdk"]

[workspace.package]
version = "VERSION"
edition = "2024"
rust-version = "RUST"
license = "Apache-2.0 OR MIT"
repository = "REPOSITORY"
publish = false

[workspace.lints]
"#;

/// The copy, in its folder.
pub(super) fn files() -> impl Iterator<Item = File> {
    let workspace = WORKSPACE
        .replace("VERSION", env!("CARGO_PKG_VERSION"))
        .replace("RUST", env!("CARGO_PKG_RUST_VERSION"))
        .replace("REPOSITORY", env!("CARGO_PKG_REPOSITORY"));
    let own = [
        File::new("Cargo.toml", workspace),
        File::new("LICENSE-APACHE", include_str!("../../../../LICENSE-APACHE")),
        File::new("LICENSE-MIT", include_str!("../../../../LICENSE-MIT")),
    ];
    let carried = FILES.iter().map(|(path, text)| File::new(*path, *text));
    own.into_iter().chain(carried).map(|file| File {
        path: format!("{FOLDER}/{}", file.path),
        part: true,
        ..file
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn collect(root: &Path, folder: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                collect(root, &path, found);
            } else {
                found.insert(path);
            }
        }
    }

    #[test]
    fn every_file_that_the_sdk_is_built_of_is_carried() {
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules");
        let mut expected = BTreeSet::new();
        for folder in ["abi", "sdk", "sdk/macros"] {
            collect(&rules, &format!("{folder}/src"), &mut expected);
            expected.insert(format!("{folder}/Cargo.toml"));
        }
        let carried = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(expected, carried);
    }
}
