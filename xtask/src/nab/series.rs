//! The series and its labels as they lie in `examples/nab/data`, and the events that the agent is given.

use super::time;
use anyhow::{Context, Result, anyhow, bail};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// One reading.
#[derive(Debug)]
pub(super) struct Reading {
    /// When it was taken, in milliseconds since 1970.
    pub(super) time: i64,
    /// When it arrives. The source's clock steps back by 55 minutes once; an arrival cannot.
    pub(super) at: i64,
    pub(super) temperature: f64,
}

/// A stretch in which the source's authors want an alarm.
#[derive(Debug)]
pub(super) struct Window {
    /// The moment that was labelled.
    pub(super) point: i64,
    pub(super) from: i64,
    /// The last moment that belongs to it.
    pub(super) until: i64,
}

impl Window {
    pub(super) fn contains(&self, at: i64) -> bool {
        (self.from..=self.until).contains(&at)
    }
}

/// Reads `timestamp,value`.
pub(super) fn readings(path: &Path) -> Result<Vec<Reading>> {
    let mut highest = i64::MIN;
    table(path, "timestamp,value", |line| {
        let (moment, value) = line
            .split_once(',')
            .ok_or_else(|| anyhow!("needs a comma"))?;
        let time = time::parse(moment)?;
        highest = highest.max(time);
        let temperature = value
            .parse()
            .map_err(|_| anyhow!("{value:?} is no number"))?;
        Ok(Reading {
            time,
            at: highest,
            temperature,
        })
    })
}

/// Reads `point,from,until`.
pub(super) fn windows(path: &Path) -> Result<Vec<Window>> {
    table(path, "point,from,until", |line| {
        let times = line.split(',').map(time::parse);
        match times.collect::<Result<Vec<_>>>()?.as_slice() {
            &[point, from, until] if from <= point && point <= until => {
                Ok(Window { point, from, until })
            }
            _ => bail!(
                "needs three times: the point, and around it where its window begins and ends"
            ),
        }
    })
}

fn table<T>(path: &Path, header: &str, mut row: impl FnMut(&str) -> Result<T>) -> Result<Vec<T>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut lines = text.lines().zip(1..);
    match lines.next() {
        Some((first, _)) if first == header => {}
        _ => bail!("{}:1: begins with {header:?}", path.display()),
    }
    lines
        .map(|(line, number)| row(line).with_context(|| format!("{}:{number}", path.display())))
        .collect()
}

/// The lines for `tidemill rule test --events`.
pub(super) fn events(readings: &[Reading]) -> Result<String> {
    let mut lines = String::new();
    for Reading {
        time,
        at,
        temperature,
    } in readings
    {
        writeln!(
            lines,
            r#"{{"at":{at},"topic":"machines/m1/temperature","payload":{{"time":{time},"temperature":{temperature}}}}}"#
        )?;
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("tidemill-nab-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn an_arrival_never_goes_back() {
        let path = file(
            "back",
            "timestamp,value\n2014-01-07 02:00:00,7.5\n2014-01-07 01:05:00,8\n2014-01-07 02:05:00,9\n",
        );
        let readings = readings(&path).unwrap();
        fs::remove_file(path).unwrap();
        let late: Vec<i64> = readings.iter().map(|r| (r.at - r.time) / 60_000).collect();
        assert_eq!(late, [0, 55, 0]);
        let events = events(&readings).unwrap();
        assert_eq!(
            events.lines().next(),
            Some(
                r#"{"at":1389060000000,"topic":"machines/m1/temperature","payload":{"time":1389060000000,"temperature":7.5}}"#
            )
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let path = file("wrong", "timestamp,value\n2014-01-07 02:00:00,warm\n");
        let error = format!("{:#}", readings(&path).unwrap_err());
        assert!(error.contains(":2: \"warm\" is no number"), "{error}");
        let error = format!("{:#}", windows(&path).unwrap_err());
        assert!(
            error.contains(":1: begins with \"point,from,until\""),
            "{error}"
        );
        fs::write(
            &path,
            "point,from,until\n2014-01-01 00:00:00,2014-01-02 00:00:00,2014-01-03 00:00:00\n",
        )
        .unwrap();
        let error = format!("{:#}", windows(&path).unwrap_err());
        assert!(error.contains(":2: needs three times"), "{error}");
        fs::remove_file(path).unwrap();
    }
}
