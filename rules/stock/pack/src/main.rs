//! `tidemill-pack IN.wasm|IN.wat OUT.wasm`: the command around [`tidemill_pack::pack`]. It reads the text format too, so that a function written
//! by hand needs no further tool.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::process::ExitCode;

use anyhow::Context;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [input, output] = arguments.as_slice() else {
        eprintln!("usage: tidemill-pack IN.wasm|IN.wat OUT.wasm");
        return ExitCode::from(2);
    };
    match run(input, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("{}: {err:#}", input.display());
            ExitCode::FAILURE
        }
    }
}

fn run(input: &OsStr, output: &OsStr) -> anyhow::Result<()> {
    let source = fs::read(input)?;
    let wasm = wat::parse_bytes(&source)?;
    let packed = tidemill_pack::pack(&wasm)?;
    fs::write(output, packed).with_context(|| format!("cannot write {}", output.display()))
}
