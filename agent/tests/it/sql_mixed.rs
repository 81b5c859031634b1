//! Windows of values of all types, drawn at random, through `tidemill rule test`, against a plain model of
//! the order, the groups and the joins that `docs/sql.md` promises.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::draw::Draw;
use crate::sql_rules::rule_test;

/// Windows of each statement; 1,000 in all.
const WINDOWS: usize = 125;
const WINDOW_MS: i64 = 10_000;

/// Value of a column.
#[derive(Debug, Clone, PartialEq)]
enum Thing {
    Nothing,
    Truth(bool),
    /// In halves, so that whole numbers and floats are compared exactly; and as it is written.
    Number(i128, String),
    Time(i64),
    Text(&'static str),
    List(Vec<Thing>),
    Object(Vec<(&'static str, Thing)>),
}

impl Thing {
    fn rank(&self) -> u8 {
        match self {
            Self::Truth(_) => 0,
            Self::Number(..) => 1,
            Self::Time(_) => 2,
            Self::Text(_) => 3,
            Self::List(_) => 4,
            Self::Object(_) => 5,
            Self::Nothing => 6,
        }
    }

    /// The order that the documentation promises: by type, then by value.
    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Truth(a), Self::Truth(b)) => a.cmp(b),
            (Self::Number(a, _), Self::Number(b, _)) => a.cmp(b),
            (Self::Time(a), Self::Time(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::List(a), Self::List(b)) => {
                let mut differs = a.iter().zip(b).map(|(a, b)| a.order(b));
                let differs = differs.find(|order| order.is_ne());
                differs.unwrap_or(a.len().cmp(&b.len()))
            }
            (Self::Object(a), Self::Object(b)) => {
                let both = a.iter().zip(b);
                let mut differs = both.map(|((m, a), (n, b))| m.cmp(n).then_with(|| a.order(b)));
                let differs = differs.find(|order| order.is_ne());
                differs.unwrap_or(a.len().cmp(&b.len()))
            }
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }

    /// Nothing last, whichever way.
    fn order_by(&self, other: &Self, descending: bool) -> Ordering {
        let order = self.order(other);
        if descending && *self != Self::Nothing && *other != Self::Nothing {
            order.reverse()
        } else {
            order
        }
    }

    /// A moment as the number of its milliseconds, as which it is compared.
    fn as_number(&self) -> Self {
        match self {
            Self::Time(ms) => Self::Number(i128::from(*ms) * 2, ms.to_string()),
            other => other.clone(),
        }
    }

    fn json(&self) -> String {
        match self {
            Self::Nothing => "null".to_owned(),
            Self::Truth(yes) => yes.to_string(),
            Self::Number(_, text) => text.clone(),
            Self::Time(ms) => ms.to_string(),
            Self::Text(text) => format!("\"{text}\""),
            Self::List(all) => {
                let all: Vec<_> = all.iter().map(Self::json).collect();
                format!("[{}]", all.join(","))
            }
            Self::Object(all) => {
                let all: Vec<_> = all
                    .iter()
                    .map(|(n, v)| format!("\"{n}\":{}", v.json()))
                    .collect();
                format!("{{{}}}", all.join(","))
            }
        }
    }
}

impl Draw {
    fn number(&mut self) -> Thing {
        const WIDE: [&str; 6] = [
            "9007199254740992",
            "9007199254740993",
            "1700000000000000001",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551615",
        ];
        let small = i128::try_from(self.below(40)).unwrap() - 20;
        match self.below(6) {
            0 => {
                let text = WIDE[self.below(WIDE.len())];
                Thing::Number(text.parse::<i128>().unwrap() * 2, text.to_owned())
            }
            1 => Thing::Number(9_007_199_254_740_992 * 2, "9007199254740992.0".to_owned()),
            2 => Thing::Number(0, "-0.0".to_owned()),
            3 => Thing::Number(small, format!("{:.1}", small as f64 / 2.0)),
            _ => Thing::Number(small * 2, small.to_string()),
        }
    }

    fn any(&mut self, depth: usize) -> Thing {
        match self.below(if depth == 0 { 7 } else { 10 }) {
            0 => Thing::Nothing,
            1 => Thing::Truth(self.below(2) == 1),
            2 => Thing::Text(["err", "a", "b", "ab", "Z"][self.below(5)]),
            3 => match depth {
                0 => self.number(),
                _ => Thing::Time(1_700_000_000_000 + i64::try_from(self.below(5)).unwrap()),
            },
            4..=6 => self.number(),
            7 | 8 => Thing::List((0..self.below(3)).map(|_| self.any(0)).collect()),
            _ => {
                let names = ["a", "b"].iter().take(self.below(3));
                Thing::Object(names.map(|name| (*name, self.any(0))).collect())
            }
        }
    }

    /// Windows most of which are of one type, with nothing among it.
    fn windows_of_types(&mut self) -> Vec<Vec<Thing>> {
        let windows = (0..WINDOWS).map(|window| {
            let rows = 30 + self.below(171);
            (0..rows).map(|_| self.of_type(window % 8)).collect()
        });
        windows.collect()
    }

    fn of_type(&mut self, kind: usize) -> Thing {
        loop {
            let thing = match kind {
                0 | 1 => self.number(),
                _ => self.any(1),
            };
            let fits = match kind {
                2 => matches!(thing, Thing::Text(_)),
                3 => matches!(thing, Thing::Truth(_)),
                4 => matches!(thing, Thing::List(_)),
                5 => matches!(thing, Thing::Object(_)),
                6 => matches!(thing, Thing::Time(_) | Thing::Number(..)),
                _ => true,
            };
            if self.below(9) == 0 {
                return Thing::Nothing;
            }
            if fits {
                return thing;
            }
        }
    }

    fn windows(&mut self, most: usize, mut one: impl FnMut(&mut Self) -> Thing) -> Vec<Vec<Thing>> {
        let rows = |draw: &mut Self| 30 + draw.below(most - 29);
        let windows = (0..WINDOWS).map(|_| {
            let rows = rows(self);
            (0..rows).map(|_| one(self)).collect()
        });
        windows.collect()
    }
}

/// Runs a statement over windows of a column `v`, which is a moment where `t` is true, beside the place
/// `i` of the row and the part `p`; each firing is one line.
fn run(sql: &str, windows: &[Vec<Thing>]) -> Vec<Json> {
    let mut events = Vec::new();
    for (window, rows) in (0..).zip(windows) {
        for (place, thing) in (0..).zip(rows) {
            let (v, t) = (thing.json(), matches!(thing, Thing::Time(_)));
            let topic = if sql.contains("JOIN") && place % 2 == 1 {
                "other"
            } else {
                "demo"
            };
            let p = place % 3;
            let payload = format!("{{\"i\":{place},\"p\":{p},\"t\":{t},\"v\":{v}}}");
            events.push((window * WINDOW_MS + place, topic, payload));
        }
    }
    let events: Vec<_> = events
        .iter()
        .map(|(at, topic, p)| (*at, *topic, p.as_str()))
        .collect();
    let until = 1_541_152_480_000 + WINDOW_MS * i64::try_from(windows.len()).unwrap();
    let output = rule_test(
        "rule.sql",
        sql,
        &events,
        &["--array", "--until", &until.to_string()],
    );
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{sql}: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

const VALUE: &str = "CASE WHEN t THEN cast(v, \"datetime\") ELSE v END";

/// Places of rows in an order.
fn sorted(rows: &[Thing], descending: bool) -> Vec<usize> {
    let mut places: Vec<usize> = (0..rows.len()).collect();
    #[allow(
        clippy::disallowed_methods,
        reason = "the order is total, by type and value"
    )]
    places.sort_by(|a, b| {
        let (a, b) = (rows[*a].as_number(), rows[*b].as_number());
        a.order_by(&b, descending)
    });
    places
}

fn column(line: &Json, name: &str) -> Vec<usize> {
    let rows = line["payload"]
        .as_array()
        .unwrap_or_else(|| panic!("{line}"));
    let rows = rows
        .iter()
        .map(|row| usize::try_from(row[name].as_u64().unwrap()).unwrap());
    rows.collect()
}

/// Returns `true` if two of the rows have types that are not compared.
fn is_mixed<'a>(rows: impl Iterator<Item = &'a Thing>) -> bool {
    let ranks = rows.filter(|thing| **thing != Thing::Nothing);
    // A moment is a number.
    let mut ranks = ranks.map(|thing| thing.as_number().rank());
    let first = ranks.next();
    ranks.any(|rank| Some(rank) != first)
}

#[test]
fn rows_of_one_type_have_an_order_and_others_are_a_dead_letter() {
    for (seed, descending, word) in [(1, false, ""), (2, true, " DESC")] {
        let windows = Draw::new(seed).windows_of_types();
        let sql =
            format!("SELECT i FROM demo GROUP BY TUMBLINGWINDOW(ss, 10) ORDER BY {VALUE}{word}");
        let lines = run(&sql, &windows);
        assert_eq!(lines.len(), WINDOWS);
        for (line, rows) in lines.iter().zip(&windows) {
            if is_mixed(rows.iter()) {
                let reason = line["dead_letter"].as_str().unwrap();
                assert!(reason.contains(": ORDER BY: ") && reason.ends_with(" have no order"));
            } else {
                assert_eq!(column(line, "i"), sorted(rows, descending), "{rows:?}");
            }
        }
    }
}

#[test]
fn rows_are_numbered_in_their_parts() {
    for (seed, descending, word) in [(3, false, ""), (4, true, " DESC")] {
        let windows = Draw::new(seed).windows_of_types();
        let number = format!("row_number() OVER (PARTITION BY p ORDER BY {VALUE}{word})");
        let sql = format!("SELECT i, {number} AS n FROM demo GROUP BY TUMBLINGWINDOW(ss, 10)");
        let lines = run(&sql, &windows);
        assert_eq!(lines.len(), WINDOWS);
        for (line, rows) in lines.iter().zip(&windows) {
            if (0..3).any(|part| is_mixed(rows.iter().skip(part).step_by(3))) {
                let reason = line["dead_letter"].as_str().unwrap();
                assert!(reason.contains(": row_number: ") && reason.ends_with(" have no order"));
                continue;
            }
            let mut numbers = [0; 3];
            let expected: BTreeMap<usize, usize> = sorted(rows, descending)
                .into_iter()
                .map(|place| {
                    numbers[place % 3] += 1;
                    (place, numbers[place % 3])
                })
                .collect();
            let found = column(line, "i").into_iter().zip(column(line, "n"));
            assert_eq!(found.collect::<BTreeMap<_, _>>(), expected);
        }
    }
}

#[test]
fn values_that_are_the_same_are_one_group() {
    for (seed, ids) in [(5, ""), (6, ", collect(i) AS ids")] {
        let windows = Draw::new(seed).windows(200, |draw| draw.any(1));
        let sql =
            format!("SELECT v, count(*) AS n{ids} FROM demo GROUP BY v, TUMBLINGWINDOW(ss, 10)");
        let lines = run(&sql, &windows);
        let mut lines = lines
            .into_iter()
            .filter(|line| line.get("payload").is_some())
            .peekable();
        for (window, rows) in (1..).zip(&windows) {
            let at = 1_541_152_480_000 + window * WINDOW_MS;
            // A moment is a number in a payload.
            let plain = rows.iter().map(|thing| match thing {
                Thing::Time(ms) => Thing::Number(i128::from(*ms) * 2, ms.to_string()),
                other => other.clone(),
            });
            let plain: Vec<Thing> = plain.collect();
            let mut counts = Vec::new();
            for place in sorted(&plain, false) {
                match counts.last_mut() {
                    Some((first, n)) if plain[place].order(&plain[*first]).is_eq() => *n += 1,
                    _ => counts.push((place, 1)),
                }
            }
            let mut expected: Vec<u64> = counts.into_iter().map(|(_, n)| n).collect();
            let mut found = Vec::new();
            while let Some(line) = lines.next_if(|line| line["at"] == at) {
                let rows = line["payload"].as_array().unwrap();
                found.extend(rows.iter().map(|row| row["n"].as_u64().unwrap()));
            }
            expected.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, expected, "{sql}: {rows:?}");
        }
        assert_eq!(lines.next(), None);
    }
}

#[test]
fn the_smallest_and_largest_number_is_found_exactly() {
    let windows = Draw::new(7).windows(200, |draw| match draw.below(5) {
        0 => Thing::Nothing,
        _ => draw.number(),
    });
    let sql = "SELECT min(v) AS least, max(v) AS most FROM demo GROUP BY TUMBLINGWINDOW(ss, 10)";
    let lines = run(sql, &windows);
    assert_eq!(lines.len(), WINDOWS);
    for (line, rows) in lines.iter().zip(&windows) {
        let order = sorted(rows, false);
        let numbers: Vec<_> = order.into_iter().map(|place| &rows[place]).collect();
        let numbers: Vec<_> = numbers
            .into_iter()
            .filter(|thing| **thing != Thing::Nothing)
            .collect();
        let row = &line["payload"][0];
        for (name, thing) in [("least", numbers.first()), ("most", numbers.last())] {
            let Thing::Number(halves, _) = thing.unwrap() else {
                panic!("{thing:?}")
            };
            let digits = row[name].to_string();
            let found = match digits.parse::<i128>() {
                Ok(whole) => whole * 2,
                Err(_) => (digits.parse::<f64>().unwrap() * 2.0) as i128,
            };
            assert_eq!(found, *halves, "{name}: {line}");
        }
    }
}

#[test]
fn joins_find_the_same_numbers_exactly() {
    let windows = Draw::new(8).windows(60, |draw| match draw.below(5) {
        0 => Thing::Nothing,
        _ => draw.number(),
    });
    let sql = "SELECT demo.i AS a, other.i AS b FROM demo INNER JOIN other ON demo.v = other.v \
               GROUP BY TUMBLINGWINDOW(ss, 10)";
    let lines = run(sql, &windows);
    for (window, rows) in (1..).zip(&windows) {
        let at = 1_541_152_480_000 + window * WINDOW_MS;
        let places = |rest: usize| (0..rows.len()).filter(move |place| place % 2 == rest);
        let is_met =
            |a: usize, b: usize| rows[a] != Thing::Nothing && rows[a].order(&rows[b]).is_eq();
        let pairs = places(0).flat_map(|a| places(1).map(move |b| (a, b)));
        let expected: Vec<_> = pairs.filter(|(a, b)| is_met(*a, *b)).collect();
        let line = lines.iter().find(|line| line["at"] == at);
        let found = line.map_or_else(Vec::new, |line| {
            column(line, "a")
                .into_iter()
                .zip(column(line, "b"))
                .collect()
        });
        assert_eq!(found, expected);
    }
}

#[test]
fn what_cannot_be_compared_is_a_dead_letter_and_no_end() {
    let windows = Draw::new(9).windows(60, |draw| draw.any(1));
    for sql in [
        "SELECT min(v) AS least, max(v) AS most FROM demo GROUP BY TUMBLINGWINDOW(ss, 10)",
        "SELECT demo.i AS a FROM demo INNER JOIN other ON demo.v < other.v GROUP BY TUMBLINGWINDOW(ss, 10)",
        "SELECT i, v FROM demo WHERE v > 3 GROUP BY TUMBLINGWINDOW(ss, 10) ORDER BY v",
    ] {
        let lines = run(sql, &windows);
        let dead = lines
            .iter()
            .filter(|line| line.get("dead_letter").is_some());
        assert!(dead.count() > 0, "{sql}");
        assert!(lines.len() >= WINDOWS, "{sql}");
    }
}
