//! `tidemill-bridge monitor`: looks on through the socket of the running bridge.

use super::Failure;
use crate::config::Config;
use crate::run::{Greeting, Question, Seen};
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use tidemill_base::console;

pub(super) fn monitor(path: &Path, port: Option<String>, json: bool) -> Result<(), Failure> {
    let config = Config::read(path)?;
    let socket = config.control.display();
    let mut stream = UnixStream::connect(&config.control).map_err(|error| {
        Failure::Failed(format!(
            "{socket}: {error}: does the bridge run, and may this user ask it?"
        ))
    })?;
    let question =
        serde_json::to_string(&Question { monitor: port }).map_err(std::io::Error::from)?;
    stream.write_all(format!("{question}\n").as_bytes())?;
    let mut lines = BufReader::new(stream).lines();
    let greeting = lines.next().transpose()?.unwrap_or_default();
    let greeting: Greeting = serde_json::from_str(&greeting).map_err(std::io::Error::from)?;
    if let Some(why) = greeting.error {
        return Err(Failure::Failed(why));
    }
    let mut out = console::stdout();
    for line in lines {
        let line = line?;
        if json {
            out.json(line)?;
            continue;
        }
        let seen: Seen = serde_json::from_str(&line).map_err(std::io::Error::from)?;
        if seen.missed > 0 {
            writeln!(out, "… {} lines were missed", seen.missed)?;
        }
        let arrow = if seen.direction == "in" { "<" } else { ">" };
        writeln!(
            out,
            "{} {} {arrow} {:9} {}",
            time_of_day(seen.at),
            seen.port,
            seen.kind,
            seen.text
        )?;
    }
    Err(Failure::Failed("the bridge has ended".to_owned()))
}

/// The time of day, UTC, to the millisecond.
fn time_of_day(ms: u64) -> String {
    let (seconds, ms) = (ms / 1_000, ms % 1_000);
    let (hours, minutes) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{ms:03}", seconds % 60)
}
