//! The `tidemill-bridge` command.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    tidemill_bridge::cli::main()
}
