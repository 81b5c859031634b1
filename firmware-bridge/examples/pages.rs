//! Manual pages of every command and completions of three shells, as packages bring them, in the folder that is named.

use clap_complete::Shell;
use std::io;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        return ExitCode::from(2);
    };
    match write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn write(folder: &Path) -> io::Result<()> {
    let man = folder.join("man");
    let completions = folder.join("completions");
    std::fs::create_dir_all(&man)?;
    std::fs::create_dir_all(&completions)?;
    clap_mangen::generate_to(tidemill_bridge::cli::command(), &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut command = tidemill_bridge::cli::command();
        clap_complete::generate_to(shell, &mut command, "tidemill-bridge", &completions)?;
    }
    Ok(())
}
