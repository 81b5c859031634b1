//! The series, the windows and the alarms as one SVG. Coordinates are rounded to whole steps that differ nowhere,
//! so that the file is the same on every machine.

use super::score::{PROBATION_ROWS, Score};
use super::series::{Reading, Window};
use super::time;
use anyhow::{Context, Result};
use std::fmt::Write;

const WIDTH: i64 = 1_200;
const HEIGHT: i64 = 420;
/// Edges of the curve's area, in pixels.
const LEFT: i64 = 58;
const RIGHT: i64 = WIDTH - 16;
const TOP: i64 = 84;
const BOTTOM: i64 = HEIGHT - 52;
/// Temperatures at the bottom and at the top of the axis, and from one line to the next.
const LOWEST: i64 = 0;
const HIGHEST: i64 = 120;
const LINES: i64 = 20;
const DAY_MS: i64 = 86_400_000;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Colours and shapes; those of alarms differ in shape and place as well.
const STYLE: &str = "\
text{font:13px 'Helvetica Neue',Arial,sans-serif;fill:#333}
.title{font-size:15px;font-weight:600;fill:#111}
.grid{stroke:#e4e4e4}
.axis{stroke:#666}
.curve{fill:none;stroke:#3b6ea8;stroke-width:1;stroke-linejoin:round}
.early{fill:#f0f0f0}
.window{fill:#fbe3a8}
.point{stroke:#9a6b00;stroke-dasharray:4 3}
.hit{fill:#11783c;stroke:#11783c}
.again{fill:#fff;stroke:#11783c}
.false{fill:none;stroke:#c4262e;stroke-width:2}
.line{stroke-width:1;stroke-opacity:.45}
";

/// Draws all of it.
pub(super) fn svg(
    title: &str,
    readings: &[Reading],
    windows: &[Window],
    score: &Score,
) -> Result<String> {
    let first = readings.first().context("there are no readings")?.at;
    let last = readings.last().context("there are no readings")?.at;
    let scale = Scale { first, last };
    let mut svg = String::new();
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">"#
    )?;
    writeln!(svg, "<title>{title}</title>\n<style>{STYLE}</style>")?;
    writeln!(
        svg,
        r##"<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>"##
    )?;
    shades(&mut svg, &scale, readings, windows)?;
    axes(&mut svg, &scale)?;
    writeln!(
        svg,
        r#"<path class="curve" d="{}"/>"#,
        curve(&scale, readings)
    )?;
    for (window, number) in windows.iter().zip(1..) {
        let (x, left) = (scale.x(window.point), scale.x(window.from) + 4);
        writeln!(
            svg,
            r#"<path class="point" d="M{x} {TOP}V{BOTTOM}"/><text x="{left}" y="{}">{number}</text>"#,
            BOTTOM - 6
        )?;
    }
    marks(&mut svg, &scale, score)?;
    legend(&mut svg, title)?;
    svg.push_str("</svg>\n");
    Ok(svg)
}

/// From moments and temperatures to places.
struct Scale {
    first: i64,
    last: i64,
}

impl Scale {
    fn x(&self, at: i64) -> i64 {
        LEFT + (at - self.first) * (RIGHT - LEFT) / (self.last - self.first).max(1)
    }

    fn y(temperature: f64) -> f64 {
        let share = (temperature - LOWEST as f64) / (HIGHEST - LOWEST) as f64;
        BOTTOM as f64 - share * (BOTTOM - TOP) as f64
    }
}

fn shades(svg: &mut String, scale: &Scale, readings: &[Reading], windows: &[Window]) -> Result<()> {
    let mut shade = |class: &str, from: i64, until: i64| {
        let (x, height) = (scale.x(from), BOTTOM - TOP);
        let width = scale.x(until) - x;
        writeln!(
            svg,
            r#"<rect class="{class}" x="{x}" y="{TOP}" width="{width}" height="{height}"/>"#
        )
    };
    if let Some(scored) = readings.get(PROBATION_ROWS) {
        shade("early", scale.first, scored.at)?;
    }
    for window in windows {
        shade("window", window.from, window.until)?;
    }
    Ok(())
}

fn axes(svg: &mut String, scale: &Scale) -> Result<()> {
    let mut level = LOWEST;
    while level <= HIGHEST {
        let y = Scale::y(level as f64);
        let class = if level == LOWEST { "axis" } else { "grid" };
        writeln!(svg, r#"<path class="{class}" d="M{LEFT} {y:.1}H{RIGHT}"/>"#)?;
        writeln!(
            svg,
            r#"<text x="{}" y="{:.1}" text-anchor="end">{level}</text>"#,
            LEFT - 8,
            y + 4.0
        )?;
        level += LINES;
    }
    writeln!(
        svg,
        r#"<text transform="translate(16 {}) rotate(-90)" text-anchor="middle">temperature (no unit given)</text>"#,
        (TOP + BOTTOM) / 2
    )?;
    // 1970 began on a Thursday: Mondays are four days after a full week.
    let week = 7 * DAY_MS;
    let mut monday = (scale.first - 4 * DAY_MS).div_euclid(week) * week + 4 * DAY_MS;
    let mut named = None;
    while monday <= scale.last {
        if monday >= scale.first {
            let (x, (year, month, day)) = (scale.x(monday), time::date(monday));
            let month = usize::try_from(month - 1)
                .ok()
                .and_then(|month| MONTHS.get(month));
            let month = month.context("a year has twelve months")?;
            writeln!(
                svg,
                r#"<path class="axis" d="M{x} {BOTTOM}v5"/><text x="{x}" y="{}" text-anchor="middle">{day} {month}</text>"#,
                BOTTOM + 20
            )?;
            if named != Some(year) {
                named = Some(year);
                writeln!(
                    svg,
                    r#"<text x="{x}" y="{}" text-anchor="middle">{year}</text>"#,
                    BOTTOM + 37
                )?;
            }
        }
        monday += week;
    }
    writeln!(
        svg,
        r#"<text x="{RIGHT}" y="{}" text-anchor="end">Mondays at 0:00, UTC</text>"#,
        BOTTOM + 37
    )?;
    Ok(())
}

/// For each column of pixels the curve goes through the first, lowest, highest and last value: a peak of one reading stays.
fn curve(scale: &Scale, readings: &[Reading]) -> String {
    let mut path = String::new();
    for column in readings.chunk_by(|one, other| scale.x(one.at) == scale.x(other.at)) {
        let values = || column.iter().map(|reading| reading.temperature);
        let low = values().fold(f64::INFINITY, f64::min);
        let high = values().fold(f64::NEG_INFINITY, f64::max);
        let (Some(first), Some(last)) = (column.first(), column.last()) else {
            continue;
        };
        let x = scale.x(first.at);
        let command = if path.is_empty() { 'M' } else { 'L' };
        let (enter, leave) = (Scale::y(first.temperature), Scale::y(last.temperature));
        path.push_str(&format!("{command}{x} {enter:.1}"));
        for y in [Scale::y(low), Scale::y(high), leave] {
            path.push_str(&format!("V{y:.1}"));
        }
    }
    path
}

fn marks(svg: &mut String, scale: &Scale, score: &Score) -> Result<()> {
    let mut mark = |at: i64, shape: fn(i64, i64) -> String, class: &str| {
        let (x, y) = (scale.x(at), TOP - 14);
        writeln!(
            svg,
            r#"<path class="{class} line" d="M{x} {TOP}V{BOTTOM}"/>{}"#,
            shape(x, y)
        )
    };
    for &at in &score.false_alarms {
        mark(at, cross, "false")?;
    }
    for &at in &score.repeated {
        mark(at, again, "again")?;
    }
    for &at in score.detections.iter().flatten() {
        mark(at, triangle, "hit")?;
    }
    Ok(())
}

fn triangle(x: i64, y: i64) -> String {
    format!(r#"<path class="hit" d="M{} {}h12l-6 11z"/>"#, x - 6, y - 5)
}

fn again(x: i64, y: i64) -> String {
    format!(r#"<path class="again" d="M{} {}h10l-5 9z"/>"#, x - 5, y - 4)
}

fn cross(x: i64, y: i64) -> String {
    format!(
        r#"<path class="false" d="M{} {}l9 9m0-9l-9 9"/>"#,
        x - 4,
        y - 4
    )
}

fn legend(svg: &mut String, title: &str) -> Result<()> {
    writeln!(
        svg,
        r#"<text class="title" x="{LEFT}" y="24">{title}</text>"#
    )?;
    let y = 48;
    let box_of = |class: &str, x: i64| {
        format!(
            r#"<rect class="{class}" x="{x}" y="{}" width="16" height="12"/>"#,
            y - 11
        )
    };
    let entries: [(i64, String, &str); 6] = [
        (0, triangle(LEFT + 8, y - 5), "first alarm in a window"),
        (184, again(LEFT + 192, y - 5), "further alarm in it"),
        (340, cross(LEFT + 348, y - 5), "false alarm"),
        (450, box_of("window", LEFT + 450), "labelled window"),
        (
            590,
            format!(r#"<path class="point" d="M{} {}v14"/>"#, LEFT + 600, y - 12),
            "labelled point",
        ),
        (720, box_of("early", LEFT + 720), "not scored"),
    ];
    for (x, shape, words) in entries {
        writeln!(
            svg,
            r#"{shape}<text x="{}" y="{y}">{words}</text>"#,
            LEFT + x + 22
        )?;
    }
    Ok(())
}
