//! A starting point in C: the example's source and the header with the ABI.

use super::module;
use super::{File, Start};

const SOURCE: &str = include_str!("../../../../examples/c-filter/filter.c");
const HEADER: &str = include_str!("../../../../rules/sdk/c/tidemill.h");

pub(super) fn start(name: &str) -> Start {
    let build = format!(
        "clang --target=wasm32-unknown-unknown -Oz -nostdlib -Wl,--no-entry,-z,stack-size=16384 {name}.c -o {name}.wasm"
    );
    let note =
        "/* There is no C library here: tidemill.h has what a function can ask for. */\n#include";
    let source = SOURCE
        .replace("c-filter", name)
        .replacen("#include", note, 1);
    module::start(
        name,
        "clang and lld (Debian: apt-get install clang lld)".to_owned(),
        vec![build],
        vec![
            File::new(format!("{name}.c"), source),
            File::new("tidemill.h", HEADER),
        ],
    )
}
