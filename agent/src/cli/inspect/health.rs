//! Health and rules as text: a line for each part of the gateway, with faults marked and dated.

use std::fmt::Write as _;

use chrono::DateTime;
use serde_json::Value;

use super::{part, table, text as plain};
use tidemill_base::text::size_shown;

/// Columns of the table of rules.
const RULES: [&str; 8] = [
    "rule",
    "version",
    "state",
    "last event",
    "quarantined until",
    "state bytes",
    "keys",
    "last error",
];

/// The answer to the question for health, for people.
pub(super) fn text(answer: &Value, now_ms: i64) -> String {
    let mut all = if part(answer, "well") == true {
        "well\n".to_owned()
    } else {
        let troubles = part(answer, "troubles").as_array();
        let count = troubles.map_or(0, Vec::len);
        format!(
            "not well, {count} trouble{}\n",
            if count == 1 { "" } else { "s" }
        )
    };
    let empty = Vec::new();
    let lines = part(answer, "lines").as_array().unwrap_or(&empty);
    let name = |line: &Value| {
        let (what, name) = (plain(part(line, "what")), plain(part(line, "name")));
        format!("{what} {name}").trim_end().to_owned()
    };
    let width = lines.iter().map(|line| name(line).chars().count()).max();
    let width = width.unwrap_or(0);
    for line in lines {
        let is_well = part(line, "well") == true;
        let mark = if is_well { ' ' } else { '!' };
        let since = match part(line, "since").as_i64() {
            Some(since_ms) if !is_well => {
                format!(", since {}, {}", moment(since_ms), ago(now_ms - since_ms))
            }
            _ => String::new(),
        };
        let says = plain(part(line, "says"));
        let _ = writeln!(all, "{mark} {:<width$}  {says}{since}", name(line));
    }
    // An older agent has no lines.
    if lines.is_empty() {
        for trouble in part(answer, "troubles").as_array().into_iter().flatten() {
            let _ = writeln!(all, "! {}", plain(trouble));
        }
    }
    all
}

/// The condition of each rule, as a table.
pub(super) fn rules(answer: &Value) -> String {
    let rows = answer.as_array().into_iter().flatten().map(|rule| {
        let time = |key: &str| part(rule, key).as_i64().map_or("-".to_owned(), moment);
        let of = |have: &str, most: &str, shown: fn(u64) -> String| {
            let number = |key| part(rule, key).as_u64().map_or("-".to_owned(), shown);
            format!("{} of {}", number(have), number(most))
        };
        let error = match part(rule, "last_error").as_str() {
            Some(why) => format!("{}: {why}", time("last_error_at")),
            None => "-".to_owned(),
        };
        let cells = [
            plain(part(rule, "rule")),
            plain(part(rule, "version")),
            plain(part(rule, "state")),
            time("last_event"),
            time("quarantined_until"),
            of("state_bytes", "state_bytes_max", size_shown),
            of("keys", "keys_max", |number| number.to_string()),
            error,
        ];
        let names = RULES.iter().map(|name| (*name).to_owned());
        Value::Object(names.zip(cells.map(Value::String)).collect())
    });
    table(&rows.collect(), &RULES)
}

fn moment(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).map_or_else(
        || ms.to_string(),
        |moment| moment.format("%Y-%m-%d %H:%M:%SZ").to_string(),
    )
}

/// A span of time in its largest unit.
fn ago(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_well_is_marked_and_dated() {
        let line = |what: &str, name: &str, well: bool, says: &str| json!({ "what": what, "name": name, "well": well, "says": says, "since": 1_767_225_600_000_i64 });
        let answer = json!({
            "well": false,
            "troubles": ["x"],
            "lines": [line("rule", "hot", true, "works"), line("destination", "cloud", false, "away: no")],
        });
        let expected = "not well, 1 trouble\n  rule hot           works\n\
                        ! destination cloud  away: no, since 2026-01-01 00:00:00Z, 12 min\n";
        assert_eq!(text(&answer, 1_767_225_600_000 + 725_000), expected);
    }

    #[test]
    fn spans_are_told_in_their_largest_unit() {
        for (ms, expected) in [
            (-5, "0 s"),
            (59_999, "59 s"),
            (7_199_999, "119 min"),
            (7_200_000, "2 h"),
            (172_800_000, "2 days"),
        ] {
            assert_eq!(ago(ms), expected);
        }
    }
}
