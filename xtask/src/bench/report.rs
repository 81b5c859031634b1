//! Figures of runs: medians, a table to read, one line of JSON to keep.

use std::fmt::Write;

/// The figures of one run, or the medians of several, in the order in which they are shown.
pub(super) type Figures = Vec<(&'static str, f64)>;

/// One line of the report.
#[derive(Debug)]
pub(super) struct Row {
    /// Workload and what distinguishes this line from others of the same.
    pub(super) name: String,
    pub(super) figures: Figures,
}

/// Figures in which one bad run must show: these are the highest of all runs instead of the median.
const WORST: [&str; 4] = ["lost", "duplicates", "strange", "max_ms"];

/// Room for the names of rows, at least.
const NAME_CHARS: usize = 26;

/// Each figure's median over `runs`, which have the same figures.
pub(super) fn medians(runs: &[Figures]) -> Figures {
    let Some(first) = runs.first() else {
        return Vec::new();
    };
    let median = |name| {
        let of_run = |run: &Figures| run.iter().find(|figure| figure.0 == name).map(|f| f.1);
        let mut values: Vec<f64> = runs.iter().filter_map(of_run).collect();
        #[allow(clippy::disallowed_methods, reason = "it is a total order")]
        values.sort_by(f64::total_cmp);
        let at = if WORST.contains(&name) {
            values.len() - 1
        } else {
            values.len() / 2
        };
        values.get(at).copied().unwrap_or(f64::NAN)
    };
    first
        .iter()
        .map(|&(name, _)| (name, median(name)))
        .collect()
}

/// The middle of these values; of an even number the mean of the two.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    #[allow(clippy::disallowed_methods, reason = "it is a total order")]
    sorted.sort_by(f64::total_cmp);
    let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => (at(middle.wrapping_sub(1)) + at(middle)) / 2.0,
        _ => at(middle),
    }
}

/// The rows as tables: a new one wherever the figures change.
pub(super) fn table(rows: &[Row]) -> String {
    let same = |a: &Row, b: &Row| names(a).eq(names(b));
    let mut text = String::new();
    for group in rows.chunk_by(same) {
        let heads: Vec<&str> = group.iter().take(1).flat_map(names).collect();
        let width = group.iter().map(|row| row.name.len()).max();
        let width = width.unwrap_or_default().max(NAME_CHARS);
        let head = line(heads.iter().map(|name| (*name).to_owned()), &heads);
        let _ = writeln!(text, "\n{:width$}{head}", "");
        for row in group {
            let values = row.figures.iter().map(|figure| number(figure.1));
            let _ = writeln!(text, "{:width$}{}", row.name, line(values, &heads));
        }
    }
    text
}

fn names(row: &Row) -> impl Iterator<Item = &'static str> {
    row.figures.iter().map(|figure| figure.0)
}

fn line(cells: impl Iterator<Item = String>, heads: &[&str]) -> String {
    let width = |head: &&str| head.len().max(8) + 2;
    let mut text = String::new();
    for (cell, width) in cells.zip(heads.iter().map(width)) {
        let _ = write!(text, "{cell:>width$}");
    }
    text
}

/// Whole where it is whole or large, else with as many decimals as say something.
fn number(value: f64) -> String {
    match value {
        _ if value.is_nan() => "-".to_owned(),
        _ if value.fract() == 0.0 || value >= 1_000.0 => format!("{value:.0}"),
        _ if value >= 100.0 => format!("{value:.1}"),
        _ if value < 10.0 => format!("{value:.3}"),
        _ => format!("{value:.2}"),
    }
}

/// The rows as one line of JSON; a figure that could not be taken is null.
pub(super) fn json(rows: &[Row], runs: usize) -> String {
    let row = |row: &Row| {
        let figure = |&(name, value): &(&str, f64)| {
            if value.is_finite() {
                format!(",\"{name}\":{}", (value * 1e4).round() / 1e4)
            } else {
                format!(",\"{name}\":null")
            }
        };
        let figures: String = row.figures.iter().map(figure).collect();
        format!("{{\"case\":\"{}\"{figures}}}", row.name)
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    format!("{{\"runs\":{runs},\"cases\":[{}]}}", rows.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_do_not_hide_a_loss() {
        let run = |cpu, lost| vec![("cpu_s_per_million", cpu), ("lost", lost)];
        let figures = medians(&[run(3.0, 0.0), run(9.0, 7.0), run(4.0, 0.0)]);
        assert_eq!(figures, [("cpu_s_per_million", 4.0), ("lost", 7.0)]);
    }

    #[test]
    fn rows_with_other_figures_begin_another_table() {
        let row = |name: &str, figure, value| Row {
            name: name.to_owned(),
            figures: vec![(figure, value)],
        };
        let rows = [
            row("w1", "lost", 0.0),
            row("w2", "lost", 2.5),
            row("idle", "rss_mb", f64::NAN),
        ];
        let table = table(&rows);
        let lines: Vec<_> = table
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        assert_eq!(lines.len(), 5, "{table}");
        assert!(
            lines[2].ends_with("2.500") && lines[4].ends_with('-'),
            "{table}"
        );
        assert_eq!(
            json(&rows, 3),
            r#"{"runs":3,"cases":[{"case":"w1","lost":0},{"case":"w2","lost":2.5},{"case":"idle","rss_mb":null}]}"#
        );
    }
}
