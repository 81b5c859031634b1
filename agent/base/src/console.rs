//! Standard output and standard error, the only way to them. Whatever a command shows goes through here,
//! and so nothing that came from outside reaches a terminal as more than visible characters.

use std::fmt;
use std::io::{self, IsTerminal as _, StderrLock, StdoutLock, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::text::{escape_json, escape_lines, printable};

/// One of the two, locked.
#[derive(Debug)]
pub struct Console<W>(W);

/// Standard output.
pub type Stdout = Console<StdoutLock<'static>>;

/// Standard output, for results.
pub fn stdout() -> Stdout {
    Console(io::stdout().lock())
}

/// Standard error, for everything else.
pub fn stderr() -> Console<StderrLock<'static>> {
    Console(io::stderr().lock())
}

/// `true` if a person looks at results.
pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// `true` if a person looks at the log.
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// `true` if nobody reads standard output any more. As long as there are no results, no write would
/// show it.
pub fn nobody_reads() -> bool {
    let out = io::stdout();
    let mut looked_at = [PollFd::new(&out, PollFlags::empty())];
    let gone = PollFlags::ERR | PollFlags::HUP;
    poll(&mut looked_at, Some(&Timespec::default())).is_ok()
        && looked_at.iter().any(|out| out.revents().intersects(gone))
}

impl<W: Write> Console<W> {
    /// Writes one line: the target of [`writeln!`]. Line ends before the last one come from a value, and
    /// are escaped like all that is not printable.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_fmt(&mut self, line: fmt::Arguments<'_>) -> io::Result<()> {
        let line = line.to_string();
        let (line, end) = match line.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (line.as_str(), ""),
        };
        self.raw(format!("{}{end}", printable(line)).as_bytes())
    }

    /// Writes a text of several lines. Values in it were made [`printable`] when it was put together;
    /// here all but its line ends is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn text(&mut self, lines: &str) -> io::Result<()> {
        self.raw(escape_lines(lines).as_bytes())
    }

    /// Writes JSON and ends the line. It means what it meant, and has nothing in it that is not printable.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn json(&mut self, json: impl fmt::Display) -> io::Result<()> {
        self.raw(format!("{}\n", escape_json(&json.to_string())).as_bytes())
    }

    /// Writes bytes as they are: for what is our own, or asked for as bytes and not for a terminal.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.flush()
    }
}

/// Standard error as the target of log lines in JSON, each of them written at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonLines;

impl Write for JsonLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let json = String::from_utf8_lossy(line);
        stderr().raw(escape_json(&json).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Standard error as the target of log lines whose values are escaped already.
pub fn log_lines() -> impl Write {
    io::stderr()
}

/// The terminal behind standard output, for a picture.
pub fn terminal() -> StdoutLock<'static> {
    io::stdout().lock()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Console<Vec<u8>>) -> io::Result<()>) -> String {
        let mut console = Console(Vec::new());
        write(&mut console).unwrap();
        String::from_utf8(console.0).unwrap()
    }

    #[test]
    fn a_value_forges_no_line_and_no_command() {
        let foul = "a\nerror: b\x1b[2J\u{202e}";
        let line = written(|out| writeln!(out, "topic {foul}"));
        assert_eq!(line, "topic a\\nerror: b\\u{1b}[2J\\u{202e}\n");
        let text = written(|out| out.text(&format!("x\n{}\n", printable(foul))));
        assert_eq!(text, "x\na\\nerror: b\\u{1b}[2J\\u{202e}\n");
        let json = written(|out| out.json(serde_json::json!([foul])));
        assert_eq!(json, "[\"a\\nerror: b\\u001b[2J\\u202e\"]\n");
        assert_eq!(written(|out| out.raw(foul.as_bytes())), foul);
    }
}
