//! Output of the view: a terminal that is redrawn in place, or plain lines for everything else. The
//! content is `view`'s business.

use std::io::{self, StdoutLock, Write};
use std::time::Duration;

use rustix::termios::tcgetwinsize;

use tidemill_base::console;

use super::view::{Snapshot, has_dead, live_lines, plain_dead, plain_head, plain_lines};

/// Enters the terminal's second screen, and hides the cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// The way back.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// A terminal that does not tell its size.
const SIZE: (usize, usize) = (80, 24);

/// Standard output, as a terminal or as lines.
#[derive(Debug)]
pub(super) struct Screen {
    out: StdoutLock<'static>,
    live: bool,
    /// `true` while the terminal shows the second screen.
    entered: bool,
    /// `true` once dead letters were explained.
    told_dead: bool,
}

impl Screen {
    /// A view that is redrawn in place where `live`.
    pub(super) fn new(live: bool) -> Self {
        Self {
            out: console::terminal(),
            live,
            entered: false,
            told_dead: false,
        }
    }

    /// Begins the view.
    pub(super) fn begin(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        if !self.live {
            return self.write(&plain_head(snapshot));
        }
        self.entered = true;
        self.write(ENTER)?;
        self.draw(snapshot)
    }

    /// Interval between two drawings.
    pub(super) fn every(&self) -> Duration {
        Duration::from_millis(if self.live { 250 } else { 2_000 })
    }

    /// Draws once.
    pub(super) fn draw(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        if !self.live {
            let mut text = plain_lines(snapshot);
            if has_dead(snapshot) && !std::mem::replace(&mut self.told_dead, true) {
                text.push_str(&plain_dead());
            }
            return self.write(&text);
        }
        let (columns, rows) = self.size();
        let mut frame = String::from("\x1b[H");
        for (number, line) in live_lines(snapshot, columns).iter().take(rows).enumerate() {
            if number > 0 {
                frame.push_str("\r\n");
            }
            frame.push_str(&line.to_ansi(columns));
            frame.push_str("\x1b[K");
        }
        frame.push_str("\x1b[J");
        self.write(&frame)
    }

    /// Writes text below the view, which must have ended on a terminal.
    pub(super) fn write(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Ends the view; later output stays.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.entered) {
            self.write(LEAVE)?;
        }
        Ok(())
    }

    fn size(&self) -> (usize, usize) {
        match tcgetwinsize(&self.out) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (size.ws_col.into(), size.ws_row.into())
            }
            _ => SIZE,
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nothing can be done for a terminal that is gone.
        let _ = self.end();
    }
}
