//! A starting point in Rust: the example's crate with a copy of the SDK beside it, which is on no
//! registry.

use super::module;
use super::{File, Start, sdk};

const SOURCE: &str = include_str!("../../../../examples/rust-filter/src/lib.rs");
const PACKAGE: &str = include_str!("../../../../examples/rust-filter/Cargo.toml");
const LOCK: &str = include_str!("../../../../examples/rust-filter/Cargo.lock");
const CONFIG: &str = include_str!("../../../../examples/rust-filter/.cargo/config.toml");

const TARGET: &str = "wasm32-unknown-unknown";

pub(super) fn start(name: &str) -> Start {
    // The library is always called alike: not every rule's name would do for a crate.
    let build = vec![
        format!("cargo build --release --target {TARGET} --target-dir target"),
        format!("cp target/{TARGET}/release/filter.wasm {name}.wasm"),
    ];
    let version = env!("CARGO_PKG_RUST_VERSION");
    let needs = format!(
        "Rust {version} or later with its target {TARGET} (rustup target add {TARGET}); the first build fetches a few crates"
    );
    let mut own = vec![
        File::new("src/lib.rs", source(name)),
        File::new("Cargo.toml", package(name)),
        File::new("Cargo.lock", LOCK.replace("rust-filter", &crate_name(name))),
        File::new(".cargo/config.toml", CONFIG),
        File::new(".gitignore", "/target/\n"),
    ];
    own.extend(sdk::files());
    module::start(name, needs, build, own)
}

fn source(name: &str) -> String {
    let (folder, note) = (
        sdk::FOLDER,
        "//!\n//! What else a function can be and ask for stands at the top of",
    );
    SOURCE
        .replacen(
            "#![no_std]",
            &format!("{note} `{folder}/sdk/src/lib.rs`.\n#![no_std]"),
            1,
        )
        .replacen(
            "outputs(out)",
            &format!("name = \"{name}\",\n    outputs(out)"),
            1,
        )
        .replace("fn rust_filter", "fn filter")
}

fn package(name: &str) -> String {
    let folder = sdk::FOLDER;
    PACKAGE
        .replace("\"rust-filter\"", &format!("\"{}\"", crate_name(name)))
        .replace("\"../../rules/sdk\"", &format!("\"{folder}/sdk\""))
        .replace("license = \"Apache-2.0 OR MIT\"\n", "")
        .replace(
            "# A workspace of its own, as a function outside of this repository would be.\n[workspace]\n",
            &format!("# The SDK's copy has a workspace of its own.\n[workspace]\nexclude = [\"{folder}\"]\n"),
        )
}

/// Crates are not called by a number or a word of the language, as rules may be.
fn crate_name(name: &str) -> String {
    format!("rule-{name}")
}
