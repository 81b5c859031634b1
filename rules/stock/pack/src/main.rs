//! `tidemill-pack IN.wasm OUT.wasm`: the command around [`tidemill_pack::pack`].

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [input, output] = arguments.as_slice() else {
        eprintln!("usage: tidemill-pack IN.wasm OUT.wasm");
        return ExitCode::from(2);
    };
    let name = input.display();
    let packed = match std::fs::read(input).map(|wasm| tidemill_pack::pack(&wasm)) {
        Ok(Ok(packed)) => packed,
        Ok(Err(err)) => {
            let cause = std::error::Error::source(&err).map(ToString::to_string);
            eprintln!("{name}: {err}: {}", cause.unwrap_or_default());
            return ExitCode::FAILURE;
        }
        Err(err) => {
            eprintln!("{name}: {err}");
            return ExitCode::FAILURE;
        }
    };
    match std::fs::write(output, packed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("{}: {err}", output.display());
            ExitCode::FAILURE
        }
    }
}
