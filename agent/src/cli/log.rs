//! The log, and the last words of a process: to standard error, as text or as one JSON object a line.
//! Values of all lines are made printable here, so no line of code has to think of it.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::{self, Write as _};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing_subscriber::Layer as _;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{FormatFields, Writer};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::Failure;
use tidemill_base::console::{self, JsonLines};
use tidemill_base::text::{Escaping, printable};

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `true` once everything on standard error is a line of JSON.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Sets the log up: to standard error, at the level that `TIDEMILL_LOG` asks for. Libraries log
/// only errors, unless everything is asked for.
pub(super) fn start(format: LogFormat) -> Result<(), Failure> {
    IS_JSON.store(format == LogFormat::Json, Ordering::Relaxed);
    let level = match std::env::var("TIDEMILL_LOG") {
        Ok(text) => text.parse::<LevelFilter>().map_err(|_| {
            let known = "write off, error, warn, info, debug or trace";
            Failure::Wrong(vec![format!("TIDEMILL_LOG: {text:?} is no level; {known}")])
        })?,
        Err(_) => LevelFilter::INFO,
    };
    let others = if level == LevelFilter::TRACE {
        level
    } else {
        level.min(LevelFilter::WARN)
    };
    let filter = Targets::new()
        .with_default(others)
        .with_target("tidemill", level);
    let colours = console::stderr_is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt::layer();
    let log = tracing_subscriber::registry();
    match format {
        LogFormat::Text => log
            .with(
                lines
                    .with_writer(console::log_lines)
                    .with_ansi(colours)
                    .fmt_fields(PrintableFields)
                    .with_target(false)
                    .with_filter(filter),
            )
            .init(),
        LogFormat::Json => log
            .with(
                lines
                    .with_writer(|| JsonLines)
                    .with_ansi(false)
                    .json()
                    .flatten_event(true)
                    .with_filter(filter),
            )
            .init(),
    }
    Ok(())
}

/// Message and fields of a log line, each made printable.
struct PrintableFields;

impl<'writer> FormatFields<'writer> for PrintableFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut line = FieldsOfLine {
            out: writer,
            is_begun: false,
            outcome: Ok(()),
        };
        fields.record(&mut line);
        line.outcome
    }
}

struct FieldsOfLine<'writer> {
    out: Writer<'writer>,
    is_begun: bool,
    outcome: fmt::Result,
}

impl FieldsOfLine<'_> {
    fn write(&mut self, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
        if std::mem::replace(&mut self.is_begun, true) {
            self.out.write_char(' ')?;
        }
        match (field.name(), self.out.has_ansi_escapes()) {
            ("message", _) => {}
            (name, true) => write!(self.out, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?,
            (name, false) => write!(self.out, "{name}=")?,
        }
        write!(Escaping::new(&mut self.out), "{value:?}")
    }
}

impl Visit for FieldsOfLine<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.outcome.is_ok() {
            self.outcome = self.write(field, value);
        }
    }
}

/// Prints the error that ended a command, after all log lines and at any level.
pub(super) fn say_error(error: impl fmt::Display) {
    let mut out = console::stderr();
    // Nobody can be told that standard error is gone.
    let _ = if IS_JSON.load(Ordering::Relaxed) {
        let now = chrono::Utc::now();
        let now = now.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        out.json(
            json!({ "timestamp": now, "level": "ERROR", "message": error.to_string(), "target": "tidemill" }),
        )
    } else {
        writeln!(out, "error: {error}")
    };
}

/// Prints the error that ended a command, with lines of the file below it where people read.
pub(super) fn say_file_error(error: &tidemill_base::text::FileError) {
    if IS_JSON.load(Ordering::Relaxed) {
        return say_error(error);
    }
    let _ = console::stderr().text(&format!("error: {error}\n"));
}

/// Has panics told as errors are: in one line, in the format of the log. A panic's text may name
/// anything that came from outside.
pub(super) fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        say_error(panic_text(panic));
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured && !IS_JSON.load(Ordering::Relaxed) {
            let _ = console::stderr().text(&format!("{trace}\n"));
        }
    }));
}

fn panic_text(panic: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("without a name").to_owned();
    let place = panic.location().map(ToString::to_string);
    let what = panic.payload_as_str().unwrap_or("it did not say why");
    format!(
        "thread {} panicked at {}: {}; please report this",
        printable(name),
        place.unwrap_or_default(),
        printable(what)
    )
}
