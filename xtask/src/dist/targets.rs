//! Targets that the agent is built for. `Cross.toml`, `deny.toml` and docs/development.md name the
//! same.

use crate::args::Misuse;

/// A target and how its binary finds a C library.
#[derive(Debug)]
pub(crate) struct Target {
    /// The name that rustc uses.
    pub(crate) name: &'static str,
    /// The oldest glibc that it runs with; `None` if it is static.
    pub(crate) glibc: Option<&'static str>,
    /// The program of qemu-user that runs it, with its arguments.
    pub(crate) runner: &'static str,
}

impl Target {
    /// `true` if the binary brings its C library along.
    pub(crate) fn is_static(&self) -> bool {
        self.glibc.is_none()
    }
}

impl Target {
    /// The target of this name, or misuse with all that there are.
    pub(crate) fn named(name: &str) -> Result<&'static Self, Misuse> {
        let found = TARGETS.iter().find(|target| target.name == name);
        found.ok_or_else(|| {
            let all: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            let all = all.join(", ");
            Misuse(format!("{name} is no target of ours; there are {all}"))
        })
    }
}

/// The glibc of Raspberry Pi OS bullseye.
const BULLSEYE: Option<&str> = Some("2.31");

pub(crate) const TARGETS: [Target; 7] = [
    Target {
        name: "aarch64-unknown-linux-gnu",
        glibc: BULLSEYE,
        runner: "qemu-aarch64-static",
    },
    Target {
        name: "armv7-unknown-linux-gnueabihf",
        glibc: BULLSEYE,
        runner: "qemu-arm-static",
    },
    Target {
        name: "aarch64-unknown-linux-musl",
        glibc: None,
        runner: "qemu-aarch64-static",
    },
    Target {
        name: "armv7-unknown-linux-musleabihf",
        glibc: None,
        runner: "qemu-arm-static",
    },
    Target {
        name: "arm-unknown-linux-musleabihf",
        glibc: None,
        runner: "qemu-arm-static -cpu arm1176",
    },
    Target {
        name: "x86_64-unknown-linux-gnu",
        glibc: BULLSEYE,
        runner: "",
    },
    Target {
        name: "x86_64-unknown-linux-musl",
        glibc: None,
        runner: "",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    fn file(name: &str) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        fs::read_to_string(root.join(name)).unwrap()
    }

    fn ours() -> BTreeSet<String> {
        TARGETS
            .iter()
            .map(|target| target.name.to_owned())
            .collect()
    }

    /// The words of a text that look like targets.
    fn named(text: &str) -> BTreeSet<String> {
        let word = |c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c));
        let words = text
            .split(word)
            .filter(|word| word.contains("-unknown-linux-"));
        words.map(str::to_owned).collect()
    }

    #[test]
    fn every_place_names_the_same_targets() {
        assert_eq!(named(&file("deny.toml")), ours());
        assert_eq!(named(&file("Cross.toml")), ours());
        let docs = file("docs/development.md");
        let (_, table) = docs.split_once("## For the boards").unwrap();
        let (table, _) = table.split_once("\n\n```").unwrap();
        assert_eq!(named(table), ours());
    }
}
