//! View of the demo while it runs, as text: a page for a terminal of any width, or one line. Pure.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::cloud::Arrived;
use crate::event::ledger::Ledger;
use tidemill_base::text::is_printable;

/// State of the demo at one moment, as it is shown.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    pub(super) elapsed: Duration,
    pub(super) local_port: u16,
    pub(super) upstream_port: u16,
    /// Events that reached the agent.
    pub(super) events: u64,
    /// Topics and payloads that the sensors published.
    pub(super) bytes: u64,
    pub(super) ledgers: Vec<(Arc<str>, Ledger)>,
    pub(super) arrived: Arrived,
    pub(super) events_a_second: f64,
    pub(super) arrived_a_second: f64,
}

/// Style of a piece of a line on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Plain,
    Bold,
    Dim,
    Green,
    Yellow,
}

impl Look {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Green => "32",
            Self::Yellow => "33",
        }
    }
}

/// One line of the page.
#[derive(Debug, Clone, Default)]
pub(super) struct Line(Vec<(Look, String)>);

impl Line {
    fn and(mut self, look: Look, text: impl Into<String>) -> Self {
        self.0.push((look, text.into()));
        self
    }

    /// The line with its colours, cut to `columns`.
    pub(super) fn to_ansi(&self, columns: usize) -> String {
        let (mut ansi, mut left) = (String::new(), columns);
        for (look, text) in &self.0 {
            let shown: String = text.chars().map(dotted).take(left).collect();
            left -= shown.chars().count();
            ansi.push_str(&format!("\x1b[{}m{shown}\x1b[0m", look.code()));
        }
        ansi
    }
}

/// Payloads come from outside: none of them commands the terminal, and each character is as wide as is
/// counted.
fn dotted(c: char) -> char {
    if is_printable(c) { c } else { '·' }
}

/// The page.
pub(super) fn live_lines(now: &Snapshot, columns: usize) -> Vec<Line> {
    let arrived = &now.arrived;
    let head = |name: &str| Line::default().and(Look::Bold, format!(" {name:<10}"));
    let seconds = now.elapsed.as_secs();
    let mut lines = vec![
        head("tidemill")
            .and(Look::Plain, "50 sensors → gateway agent → cloud")
            .and(
                Look::Dim,
                format!("   {:02}:{:02}", seconds / 60, seconds % 60),
            ),
        Line::default(),
        head("in")
            .and(Look::Plain, format!("{:>9} events  ", grouped(now.events)))
            .and(Look::Plain, format!("{:>5.0}/s ", now.events_a_second))
            .and(Look::Plain, format!("{:>9}", bytes(now.bytes))),
        Line::default(),
    ];
    lines.push(Line::default().and(Look::Bold, ledger_head()));
    lines.extend(
        now.ledgers
            .iter()
            .map(|(rule, ledger)| ledger_line(rule, ledger)),
    );
    if has_dead(now) {
        lines.push(Line::default().and(Look::Dim, format!(" {DEAD}")));
    }
    lines.extend([
        Line::default(),
        head("up")
            .and(
                Look::Plain,
                format!("{:>9} results ", grouped(arrived.messages)),
            )
            .and(Look::Plain, format!("{:>5.0}/s ", now.arrived_a_second))
            .and(Look::Plain, format!("{:>9} ", bytes(arrived.bytes)))
            .and(Look::Green, saved(now)),
        head("latency").and(Look::Plain, format!("  {}", latency(now))),
    ]);
    lines.extend(shown("last alerts", Look::Yellow, &arrived.alerts, columns));
    lines.extend(shown("last results", Look::Plain, &arrived.others, columns));
    lines.push(Line::default());
    let hints = join_in(now, columns).into_iter();
    lines.extend(hints.map(|hint| Line::default().and(Look::Dim, hint)));
    lines
}

/// A heading and the messages below it, newest first.
fn shown<'a>(
    title: &str,
    look: Look,
    messages: &'a VecDeque<(String, String)>,
    columns: usize,
) -> impl Iterator<Item = Line> + use<'a> {
    let topics = messages.iter().map(|(topic, _)| topic.chars().count());
    let wide = topics.max().unwrap_or(0).min(columns / 2);
    let messages = messages.iter().map(move |(topic, payload)| {
        Line::default()
            .and(look, format!(" {topic:<wide$}  "))
            .and(Look::Dim, payload)
    });
    [
        Line::default(),
        Line::default().and(Look::Bold, format!(" {title}")),
    ]
    .into_iter()
    .chain(messages)
}

/// The meaning of a column that shows when something went wrong.
const DEAD: &str = "dead: not digested; kept as a dead letter, with why";

/// The narrowest terminal that all of the page fits into.
const COLUMNS: usize = 60;

/// `true` if any rule has a dead letter.
pub(super) fn has_dead(now: &Snapshot) -> bool {
    now.ledgers.iter().any(|(_, ledger)| ledger.dead > 0)
}

fn ledger_head() -> String {
    format!(
        " {:<10}{:>9}{:>9}{:>9}{:>9}{:>5}{:>8}",
        "rule", "received", "filtered", "absorbed", "emitting", "dead", "results"
    )
}

fn ledger_line(rule: &str, ledger: &Ledger) -> Line {
    let look = if ledger.dead > 0 {
        Look::Yellow
    } else {
        Look::Plain
    };
    let count = |number: u64| format!("{:>9}", short(number));
    Line::default()
        .and(Look::Plain, format!(" {rule:<10}"))
        .and(Look::Plain, count(ledger.received))
        .and(Look::Plain, count(ledger.filtered))
        .and(Look::Plain, count(ledger.absorbed))
        .and(Look::Plain, count(ledger.emitting))
        .and(look, format!("{:>5}", short(ledger.dead)))
        .and(Look::Plain, format!("{:>8}", short(ledger.emissions)))
}

/// A number in at most seven characters; of a large one its first digits.
fn short(number: u64) -> String {
    match number {
        ..1_000 => number.to_string(),
        1_000..1_000_000 => grouped(number),
        _ => format!("{}M", grouped(number / 1_000_000)),
    }
}

/// The table of all rules in plain text.
pub(super) fn ledger_table(ledgers: &[(Arc<str>, Ledger)]) -> String {
    let mut table = ledger_head();
    for (rule, ledger) in ledgers {
        table.push('\n');
        ledger_line(rule, ledger)
            .0
            .iter()
            .for_each(|(_, text)| table.push_str(text));
    }
    table
}

/// Commands to take part from another terminal.
fn join_in(now: &Snapshot, columns: usize) -> Vec<String> {
    let (local, upstream) = (now.local_port, now.upstream_port);
    let publish = format!(" be a sensor        mosquitto_pub -p {local}");
    let what = "-t sensors/me/env -m '{\"temperature\":61}'";
    let be_a_sensor = match format!("{publish} {what}") {
        fits if fits.chars().count() <= columns => vec![fits],
        _ => vec![format!("{publish} \\"), format!("   {what}")],
    };
    let mut lines = vec![format!(
        " hear the sensors   mosquitto_sub -p {local} -t '#' -v"
    )];
    lines.extend(be_a_sensor);
    lines.push(format!(
        " hear the results   mosquitto_sub -p {upstream} -t '#' -v"
    ));
    lines.push(" Ctrl-C ends with a summary".to_owned());
    lines
}

/// The lines above the plain ones.
pub(super) fn plain_head(now: &Snapshot) -> String {
    let title = "tidemill demo: 50 sensors -> gateway agent -> cloud";
    format!("{title}\n{}\n\n", join_in(now, COLUMNS).join("\n"))
}

/// The view where nothing can be redrawn: counts of messages, and a line for each rule.
pub(super) fn plain_lines(now: &Snapshot) -> String {
    let mut text = format!(
        "{:>4} s  in {} ({:.0}/s)  up {} ({:.0}/s)  {}\n        {}\n",
        now.elapsed.as_secs(),
        grouped(now.events),
        now.events_a_second,
        grouped(now.arrived.messages),
        now.arrived_a_second,
        saved(now),
        latency(now),
    );
    for (rule, ledger) in &now.ledgers {
        let [results, dead] = [ledger.emissions, ledger.dead].map(grouped);
        text.push_str(&format!("        {rule} {results} results ({dead} dead)\n"));
    }
    text
}

/// Explanation of dead letters, shown once, below the first lines with one.
pub(super) fn plain_dead() -> String {
    format!("        {DEAD}\n")
}

/// The share of bytes that the way up was spared.
pub(super) fn saved(now: &Snapshot) -> String {
    let (up, all) = (now.arrived.bytes as f64, now.bytes.max(1) as f64);
    format!("{:.1} % saved", (100.0 * (1.0 - up / all)).max(0.0))
}

/// The latency in one line.
pub(super) fn latency(now: &Snapshot) -> String {
    let latency = now.arrived.latency;
    if latency.count == 0 {
        return "no latency yet".to_owned();
    }
    let [p50, p99, max] = [latency.p50, latency.p99, latency.max].map(millis);
    format!("p50 {p50} ms, p99 {p99} ms, max {max} ms")
}

fn millis(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1_000.0)
}

/// A number with its thousands set apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An amount of bytes in the unit that fits.
pub(super) fn bytes(amount: u64) -> String {
    match amount {
        ..1_000 => format!("{amount} B"),
        1_000..1_000_000 => format!("{:.1} kB", amount as f64 / 1e3),
        _ => format!("{:.1} MB", amount as f64 / 1e6),
    }
}

/// Rate of a count, over the last few looks at it.
#[derive(Debug, Default)]
pub(super) struct Rate(VecDeque<(Duration, u64)>);

impl Rate {
    /// Takes in the count at a moment; returns how much it rose a second over the last two seconds.
    pub(super) fn enter(&mut self, at: Duration, count: u64) -> f64 {
        let span = Duration::from_secs(2);
        while self.0.len() > 1 && self.0.front().is_some_and(|(then, _)| at - *then > span) {
            self.0.pop_front();
        }
        self.0.push_back((at, count));
        let (then, before) = self.0.front().copied().unwrap_or((at, count));
        let seconds = (at - then).as_secs_f64();
        if seconds > 0.0 {
            count.saturating_sub(before) as f64 / seconds
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        let mut arrived = Arrived {
            messages: 12,
            bytes: 900,
            ..Arrived::default()
        };
        let payload = format!(
            "{{\"evil\":\"\x1b[2J\n\u{9b}\u{202e}\u{200b}\",\"long\":\"{}\"}}",
            "x".repeat(200)
        );
        arrived
            .alerts
            .push_front(("alerts/d007".to_owned(), payload));
        Snapshot {
            elapsed: Duration::from_secs(75),
            events: 1_234_567,
            bytes: 10_000,
            ledgers: vec![(
                "overheat".into(),
                Ledger {
                    received: 5,
                    dead: 2,
                    ..Ledger::default()
                },
            )],
            arrived,
            ..Snapshot::default()
        }
    }

    /// The text that a terminal would show: without escape sequences.
    fn bare(ansi: &str) -> String {
        let mut text = String::new();
        let mut rest = ansi;
        while let Some((before, after)) = rest.split_once("\x1b[") {
            text.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        text + rest
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for columns in [1, 10, 40, 80, 200] {
            for line in live_lines(&snapshot(), columns) {
                assert!(bare(&line.to_ansi(columns)).chars().count() <= columns);
            }
        }
    }

    /// A busy demo after a long time.
    fn long() -> Snapshot {
        let many = Ledger {
            received: 123_456_789,
            filtered: 123_456_789,
            absorbed: 999_999,
            emitting: 999_999,
            dead: 999,
            emissions: 999_999,
            ..Ledger::default()
        };
        Snapshot {
            local_port: 65_535,
            upstream_port: 65_535,
            events_a_second: 9_999.0,
            arrived_a_second: 999.0,
            bytes: 999_000_000,
            ledgers: vec![("overheat".into(), many)],
            ..snapshot()
        }
    }

    #[test]
    fn all_of_it_fits_sixty_columns() {
        let text = |line: &Line| {
            line.0
                .iter()
                .map(|(_, text)| text.as_str())
                .collect::<String>()
        };
        let lines = live_lines(&long(), COLUMNS);
        let mut lines: Vec<String> = lines.iter().map(text).collect();
        // Lines with messages are cut to any width.
        lines.retain(|line| !line.contains("evil"));
        lines.extend(plain_lines(&long()).lines().map(str::to_owned));
        lines.extend(plain_head(&long()).lines().map(str::to_owned));
        lines.push(plain_dead().trim_end().to_owned());
        for line in lines {
            assert!(line.trim_end().chars().count() <= COLUMNS, "{line:?}");
        }
    }

    #[test]
    fn a_dead_letter_is_explained_where_one_shows() {
        let says = |now: &Snapshot| {
            let lines = live_lines(now, COLUMNS);
            lines
                .iter()
                .any(|line| line.to_ansi(COLUMNS).contains(DEAD))
        };
        assert!(says(&snapshot()));
        let mut none = snapshot();
        none.ledgers.clear();
        assert!(!says(&none));
    }

    #[test]
    fn a_payload_cannot_command_the_terminal() {
        let lines = live_lines(&snapshot(), 80);
        let text: String = lines.iter().map(|line| bare(&line.to_ansi(80))).collect();
        assert!(text.contains("\"evil\":\"·[2J····\""), "{text}");
    }

    #[test]
    fn plain_lines_have_no_escape_sequences_and_all_the_numbers() {
        let line = plain_lines(&snapshot());
        assert!(!line.contains('\x1b'));
        for part in [
            "75 s",
            "in 1,234,567",
            "overheat 0 results (2 dead)",
            "up 12",
            "91.0 %",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }

    #[test]
    fn numbers_read_well() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
        for (amount, text) in [(999, "999 B"), (1_500, "1.5 kB"), (2_000_000, "2.0 MB")] {
            assert_eq!(bytes(amount), text);
        }
    }

    #[test]
    fn a_rate_looks_two_seconds_back() {
        let mut rate = Rate::default();
        assert_eq!(rate.enter(Duration::ZERO, 0), 0.0);
        assert_eq!(rate.enter(Duration::from_secs(1), 100), 100.0);
        assert_eq!(rate.enter(Duration::from_secs(2), 100), 50.0);
        assert_eq!(rate.enter(Duration::from_secs(4), 100), 0.0);
    }
}
