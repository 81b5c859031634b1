//! The `tidemill` program beside the running test, and one-off calls of it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Result of a call of the program.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Text on standard output.
    pub out: String,
    /// Text on standard error.
    pub err: String,
}

/// Names the emulator, with its arguments, that runs the tests' target: `cargo xtask test --target` sets it.
const RUNNER: &str = "TIDEMILL_TEST_RUNNER";

/// The running test's own program once more, for a test that has to look at a process from outside.
///
/// # Panics
/// When the system does not say where it is.
pub fn itself() -> Command {
    let test = std::env::current_exe().unwrap();
    let runner = std::env::var(RUNNER).unwrap_or_default();
    let mut words = runner.split_whitespace();
    let Some(emulator) = words.next() else {
        return Command::new(test);
    };
    let mut command = Command::new(emulator);
    command.args(words).arg(test);
    command
}

/// `true` if the tests run in an emulator, whose system calls are not the program's.
pub fn is_emulated() -> bool {
    std::env::var_os(RUNNER).is_some()
}

/// Names another `tidemill` than the one beside the tests, such as one of a board in an emulator.
const PROGRAM: &str = "TIDEMILL_TEST_PROGRAM";

/// The program that was built beside this test, or the one that `TIDEMILL_TEST_PROGRAM` names.
///
/// # Panics
/// When there is none, with the command that builds it.
pub fn tidemill() -> PathBuf {
    if let Some(program) = std::env::var_os(PROGRAM) {
        return program.into();
    }
    let test = std::env::current_exe().unwrap();
    // target/debug/deps/end_to_end-0123 stands beside target/debug/tidemill.
    let profile = test.parent().and_then(Path::parent).unwrap();
    // A program of this crate stands beside it as well.
    let beside = test.with_file_name("tidemill");
    if beside.is_file() {
        return beside;
    }
    let program = profile.join("tidemill");
    assert!(
        program.is_file(),
        "{} is not built: `cargo build -p tidemill` builds it, so does `cargo test --workspace`",
        program.display()
    );
    program
}

/// A program of `examples/`, where `cargo xtask examples` built it; `None` when it did not.
pub fn example(name: &str) -> Option<PathBuf> {
    let tidemill = tidemill();
    let target = tidemill.ancestors().nth(2)?;
    let folder = target.join("nested").join(format!("examples-{name}"));
    let program = folder.join("debug").join(name);
    program.is_file().then_some(program)
}

/// Calls the program in a directory and waits for its end.
///
/// # Panics
/// When it cannot be started.
pub fn run(directory: &Path, arguments: &[&str]) -> Ran {
    run_with_input(directory, arguments, "")
}

/// As [`run`], with something to read on standard input.
///
/// # Panics
/// When it cannot be started.
pub fn run_with_input(directory: &Path, arguments: &[&str], input: &str) -> Ran {
    let mut child = Command::new(tidemill())
        .args(arguments)
        .current_dir(directory)
        .env_remove("TIDEMILL_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that reads nothing may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
