//! Score of a rule's alarms against the labelled windows.
//!
//! Each alarm is looked at by itself. In a window the first one is the detection and those after it count for
//! nothing; outside of all windows each one is a false alarm; in the first rows, which belong to nobody, none counts.

use super::series::{Reading, Window};
use super::time;
use anyhow::{Context, Result};
use std::fmt::Write;

/// The rows at the beginning that are not scored: 15 % of a series, but of 5,000 rows at most, as NAB has it.
pub(super) const PROBATION_ROWS: usize = 750;

/// Alarms, sorted by what they count as.
#[derive(Debug, PartialEq)]
pub(super) struct Score {
    /// For each window its first alarm.
    pub(super) detections: Vec<Option<i64>>,
    /// Alarms in a window after its first one.
    pub(super) repeated: Vec<i64>,
    pub(super) false_alarms: Vec<i64>,
    /// Alarms before anything counts.
    pub(super) in_probation: usize,
    rows: usize,
    /// Number of windows that would be hit if alarms fell into them as often as outside of them.
    by_chance: f64,
}

impl Score {
    /// Sorts `alarms`, which stand in the order of their times.
    pub(super) fn of(alarms: &[i64], readings: &[Reading], windows: &[Window]) -> Result<Self> {
        let (begin, end) = match (readings.get(PROBATION_ROWS), readings.last()) {
            (Some(first), Some(last)) => (first.at, last.at),
            _ => anyhow::bail!(
                "the series is shorter than the {PROBATION_ROWS} rows that are not scored"
            ),
        };
        let mut score = Self {
            detections: vec![None; windows.len()],
            repeated: Vec::new(),
            false_alarms: Vec::new(),
            in_probation: 0,
            rows: readings.len() - PROBATION_ROWS,
            by_chance: 0.0,
        };
        for &alarm in alarms {
            let mut labelled = windows.iter().zip(&mut score.detections);
            match labelled.find(|(window, _)| window.contains(alarm)) {
                _ if alarm < begin => score.in_probation += 1,
                None => score.false_alarms.push(alarm),
                Some((_, first @ None)) => *first = Some(alarm),
                Some(_) => score.repeated.push(alarm),
            }
        }
        let inside: i64 = windows
            .iter()
            .map(|window| window.until - window.from)
            .sum();
        let rate = score.false_alarms.len() as f64 / (end - begin - inside) as f64;
        let missed = |window: &Window| (-rate * (window.until - window.from) as f64).exp();
        score.by_chance = windows.iter().map(|window| 1.0 - missed(window)).sum();
        Ok(score)
    }

    pub(super) fn hits(&self) -> usize {
        self.detections.iter().flatten().count()
    }

    fn per_thousand(&self) -> f64 {
        self.false_alarms.len() as f64 * 1_000.0 / self.rows as f64
    }

    /// A line for each window, and two for the whole.
    pub(super) fn table(&self, windows: &[Window]) -> Result<String> {
        let mut text = String::from(
            "window  begins            first alarm       after it began  and the labelled point\n",
        );
        for ((window, detection), number) in windows.iter().zip(&self.detections).zip(1..) {
            let begins = time::minute(window.from);
            let Some(alarm) = *detection else {
                writeln!(text, "{number:<8}{begins}  none")?;
                continue;
            };
            let side = if alarm < window.point {
                "before"
            } else {
                "after"
            };
            writeln!(
                text,
                "{number:<8}{begins}  {}  {:<15} {} {side}",
                time::minute(alarm),
                time::span(alarm - window.from),
                time::span(alarm - window.point),
            )?;
        }
        writeln!(
            text,
            "windows hit   {} of {}; alarms at the rate of the false ones would hit {:.1} by chance",
            self.hits(),
            windows.len(),
            self.by_chance
        )?;
        writeln!(
            text,
            "false alarms  {} in {},{:03} rows, {:.2} per 1,000; {} more in a window after its first",
            self.false_alarms.len(),
            self.rows / 1_000,
            self.rows % 1_000,
            self.per_thousand(),
            self.repeated.len()
        )?;
        Ok(text)
    }

    /// The heading of `line`.
    pub(super) const HEADING: &str = "windows hit  by chance  false alarms  per 1,000 rows";

    /// All of it in a line.
    pub(super) fn line(&self) -> String {
        let hit = format!("{} of {}", self.hits(), self.detections.len());
        format!(
            "{hit:<11}  {:<9.1}  {:<12}  {:.2}",
            self.by_chance,
            self.false_alarms.len(),
            self.per_thousand()
        )
    }
}

/// The times of alarms in the output of `tidemill rule test`. Anything that is no message of the
/// port `out` is an error: a line that is not understood must not become a better score.
pub(super) fn alarms(printed: &str) -> Result<Vec<i64>> {
    let alarm = |line: &str| {
        let rest = line.strip_prefix("{\"at\":")?;
        let (at, rest) = rest.split_once(',')?;
        rest.starts_with("\"port\":\"out\",").then_some(())?;
        at.parse().ok()
    };
    printed
        .lines()
        .map(|line| alarm(line).with_context(|| format!("this is no alarm: {line}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings() -> Vec<Reading> {
        let reading = |at| Reading {
            time: at,
            at,
            temperature: 0.0,
        };
        (0..2_000).map(reading).collect()
    }

    fn window(from: i64, until: i64) -> Window {
        Window {
            point: (from + until) / 2,
            from,
            until,
        }
    }

    #[test]
    fn each_alarm_counts_as_one_thing() {
        let windows = [window(1_000, 1_100), window(1_500, 1_600)];
        let alarms = [3, 749, 750, 999, 1_000, 1_050, 1_100, 1_101, 1_999];
        let score = Score::of(&alarms, &readings(), &windows).unwrap();
        assert_eq!(score.in_probation, 2);
        assert_eq!(score.detections, [Some(1_000), None]);
        assert_eq!(score.repeated, [1_050, 1_100]);
        assert_eq!(score.false_alarms, [750, 999, 1_101, 1_999]);
        assert_eq!(score.hits(), 1);
        assert!(score.line().contains("1 of 2"), "{}", score.line());
        assert!(score.line().ends_with("3.20"), "{}", score.line());
        // 4 alarms in 1,049 rows, 100 rows a window.
        let expected = 2.0 * (1.0 - (-400.0_f64 / 1_049.0).exp());
        assert!((score.by_chance - expected).abs() < 1e-9);
    }

    #[test]
    fn only_alarms_are_taken_for_alarms() {
        let line = r#"{"at":17,"port":"out","key":"","payload":{"recent":3}}"#;
        assert_eq!(alarms(line).unwrap(), [17]);
        for other in [
            r#"{"at":17,"dead_letter":"out of fuel","topic":"t"}"#,
            r#"{"at":17,"port":"score","key":"","payload":3}"#,
            "",
            "at 17",
        ] {
            let printed = format!("{line}\n{other}\n");
            let error = alarms(&printed).unwrap_err().to_string();
            assert_eq!(error, format!("this is no alarm: {other}"));
        }
    }

    #[test]
    fn a_series_without_scored_rows_is_refused() {
        let short: Vec<_> = readings().into_iter().take(PROBATION_ROWS).collect();
        assert!(Score::of(&[], &short, &[]).is_err());
    }
}
