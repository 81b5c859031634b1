//! The `tidemill` command.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    tidemill::cli::main()
}
