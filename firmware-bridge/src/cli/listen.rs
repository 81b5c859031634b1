//! `tidemill-bridge ports --listen`: a second at each baud, and how much of what came is text.

use super::Failure;
use crate::config::{Finder, LineSettings};
use crate::demux::{Kind, LineEnd, Raw, Splitter, classify};
use crate::devices::Roots;
use crate::serial::Serial;
use std::path::Path;
use std::time::Duration;
use tidemill_base::console;
use tidemill_base::text::shown;
use tokio::time::{Instant, timeout_at};

/// The bauds that devices have, the usual ones first.
const BAUDS: [u32; 11] = [
    115_200, 9_600, 57_600, 38_400, 19_200, 230_400, 460_800, 921_600, 4_800, 2_400, 1_200,
];

/// Time for each.
const LISTEN: Duration = Duration::from_secs(1);

/// Lines and bytes heard at a baud.
#[derive(Debug, Default)]
struct Heard {
    bytes: usize,
    good: usize,
    noise: usize,
    example: Option<String>,
}

pub(super) fn listen(tty: &Path) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(try_all(tty))
}

async fn try_all(tty: &Path) -> Result<(), Failure> {
    let finder = Finder::Path(tty.to_owned());
    let mut settings = LineSettings::default();
    let opened = Serial::open(&Roots::default(), &finder, &settings);
    let (mut serial, _) = opened.map_err(|line| Failure::Failed(line.why.unwrap_or_default()))?;
    let mut out = console::stdout();
    let mut best: Option<(usize, u32)> = None;
    for baud in BAUDS {
        settings.baud = baud;
        if let Err(why) = serial.configure(&settings) {
            writeln!(out, "{baud:>7} baud: {why}")?;
            continue;
        }
        let _ = serial.port.discard_input_buffer();
        let heard = hear(&serial).await?;
        let example = heard
            .example
            .as_deref()
            .map_or(String::new(), |line| format!(", such as {}", shown(line)));
        writeln!(
            out,
            "{baud:>7} baud: {} bytes, {} lines of text, {} of noise{example}",
            heard.bytes, heard.good, heard.noise
        )?;
        let is_clean = heard.good > 0 && heard.noise <= heard.good / 4;
        if is_clean && best.is_none_or(|(good, _)| heard.good > good) {
            best = Some((heard.good, baud));
        }
    }
    match best {
        Some((_, baud)) => Ok(writeln!(out, "write baud = {baud}")?),
        None => Err(Failure::Failed(
            "no line of text was heard at any baud: does the device send by itself?".to_owned(),
        )),
    }
}

async fn hear(serial: &Serial) -> std::io::Result<Heard> {
    let mut heard = Heard::default();
    let mut splitter = Splitter::new(LineEnd::Cr, 4_096);
    let mut buffer = [0; 1_024];
    let end = Instant::now() + LISTEN;
    let mut is_first = true;
    while let Ok(read) = timeout_at(end, serial.port.read(&mut buffer)).await {
        let count = read?;
        if count == 0 {
            break;
        }
        heard.bytes += count;
        let mut rest = buffer.get(..count).unwrap_or_default();
        while let Some(raw) = splitter.next(&mut rest) {
            // The first one may be half a line.
            if std::mem::take(&mut is_first) {
                continue;
            }
            let Raw::Line(line) = raw else {
                heard.noise += 1;
                continue;
            };
            match classify(line, None) {
                Kind::Noise => heard.noise += 1,
                _ => {
                    heard.good += 1;
                    heard.example = Some(String::from_utf8_lossy(line).into_owned());
                }
            }
        }
    }
    Ok(heard)
}
