//! `tidemill rule next`: when a schedule is due.

use chrono::{DateTime, SecondsFormat, TimeZone as _};

use super::Failure;
use crate::event::clock::Clock;
use crate::event::zone::Zone;
use crate::rule::schedule::Schedule;
use tidemill_base::console;

pub(super) const HELP: &str = r#"Examples:
  tidemill rule next "0 30 7 * * Mon-Fri" --zone Europe/Berlin
  tidemill rule next @hourly --from 2026-10-25T00:00:00+02:00 -n 3

A clock time that daylight saving leaves out is due at the first instant after the gap, one that it repeats is due the first time only; expressions whose hour or minute is * or a step follow elapsed time. A day and a weekday must both fit.

Exit codes: 0 done, 2 the expression is wrong or is never due"#;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The schedule, as under [on] schedule
    #[arg(value_name = "EXPR")]
    expression: String,
    /// The time zone that clock times are meant in
    #[arg(long, value_name = "TZ", default_value = "UTC")]
    zone: String,
    /// Look after this moment [default: now]
    #[arg(long, value_name = "RFC3339", value_parser = moment)]
    from: Option<i64>,
    /// Number of occurrences
    #[arg(short = 'n', value_name = "K", default_value_t = 5)]
    count: usize,
}

fn moment(text: &str) -> Result<i64, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|moment| moment.timestamp_millis())
        .map_err(|_| "write it as 2026-10-25T00:00:00+02:00 or 2026-10-24T22:00:00Z".to_owned())
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let wrong = |why: String| Failure::Wrong(vec![why]);
    let schedule = Schedule::new(&options.expression, Some(&options.zone))
        .map_err(|error| wrong(error.to_string()))?;
    let zone = Zone::named(&options.zone)
        .ok_or_else(|| wrong(format!("{:?} is no time zone", options.zone)))?;
    let from = options
        .from
        .unwrap_or_else(|| Clock::new(i64::MIN).now().wall_ms);
    let slots = std::iter::successors(schedule.next_after(from), |at| schedule.next_after(*at));
    let mut out = console::stdout();
    let mut found = 0;
    for slot in slots.take(options.count) {
        let local = zone
            .timestamp_millis_opt(slot)
            .single()
            .map(|at| {
                at.fixed_offset()
                    .to_rfc3339_opts(SecondsFormat::AutoSi, true)
            })
            .ok_or_else(|| wrong(format!("{slot} ms is no moment that can be written")))?;
        writeln!(out, "{local}")?;
        found += 1;
    }
    if found == 0 && options.count > 0 {
        let text = &options.expression;
        return Err(wrong(format!(
            "{text:?} is not due any more after that moment"
        )));
    }
    Ok(())
}
