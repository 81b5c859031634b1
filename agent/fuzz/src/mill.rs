//! The mill with a rule in SQL and events, all made of bytes: statements of every plan, rows of all types,
//! times near every end. Whatever comes in, the mill goes on, and its ledger balances.

use std::path::PathBuf;

use tidemill::config::limits::FunctionLimits;
use tidemill::event::Event;
use tidemill::event::clock::{Now, Quality};
use tidemill::install::{Installer, subscriptions};
use tidemill::mill::{Deployment, Input, Mill};
use tidemill::rule::{Gateway, Rule};
use tidemill_base::text::Source;
use tidemill_transport::topic::Topic;

/// Events of one run.
const EVENTS_MAX: usize = 64;
/// Steps of one run: each event is worked on, and leaves a few things that fall due.
const STEPS_MAX: usize = 100_000;

/// The statements: `WINDOW` stands for one of the windows.
const STATEMENTS: &[&str] = &[
    "SELECT * FROM input ORDER BY a",
    "SELECT a, b FROM input WHERE a > 3",
    "SELECT a, b FROM input WHERE a * 3 + b < 9007199254740993",
    "SELECT a FROM input WHERE a = 18446744073709551615 OR a = -9223372036854775808",
    "SELECT a + b AS s, a * b AS p, a - b AS d, -a AS n FROM input",
    "SELECT a / b AS q, a % b AS r FROM input",
    "SELECT a, lag(a) OVER (PARTITION BY b) AS l, acc_sum(a) AS s FROM input",
    "SELECT a FROM input WHERE had_changed(true, a) OVER (PARTITION BY b)",
    "SELECT a, b FROM input GROUP BY WINDOW ORDER BY a, b DESC",
    "SELECT a, row_number() OVER (PARTITION BY b ORDER BY a DESC) AS n FROM input GROUP BY WINDOW",
    "SELECT a, count(*) AS n FROM input GROUP BY a, WINDOW",
    "SELECT a, sum(b) AS s, avg(b) AS m FROM input GROUP BY a, WINDOW",
    "SELECT a, min(b) AS l, max(b) AS m, last_value(b, true) AS v FROM input GROUP BY a, WINDOW HAVING l > 0",
    "SELECT collect(a) AS all, deduplicate(a, true) AS d, median(b) AS m FROM input GROUP BY WINDOW",
    "SELECT stddev(a) AS s, percentile_cont(a, 0.5) AS p FROM input GROUP BY WINDOW",
    "SELECT array_sort(collect(a)) AS s, array_max(collect(a)) AS m FROM input GROUP BY WINDOW",
    "SELECT unnest(a) AS e FROM input",
    "SELECT cast(a, \"datetime\") AS t, year(a) AS y, date_calc(a, \"1h\") AS c, from_days(a) AS d FROM input",
    "SELECT cast(a, \"float\") AS f, cast(a, \"bigint\") AS i, round(a, 2) AS r, trunc(a, 2) AS t FROM input",
    "SELECT object(\"x\", a) AS o, array_create(a, b, a) AS l, to_json(a) AS j FROM input",
    "SELECT window_start() AS s, window_end() AS e, count(*) AS n FROM input GROUP BY WINDOW",
    "SELECT a FROM input GROUP BY WINDOW ORDER BY CASE WHEN b THEN cast(a, \"datetime\") ELSE a END",
];

const WINDOWS: &[&str] = &[
    "TUMBLINGWINDOW(ss, 1)",
    "TUMBLINGWINDOW(ms, 73)",
    "TUMBLINGWINDOW(dd, 100000)",
    "HOPPINGWINDOW(ms, 146, 73)",
    "HOPPINGWINDOW(ss, 10, 3)",
    "SLIDINGWINDOW(ss, 2)",
    "SLIDINGWINDOW(ss, 1, 1)",
    "SESSIONWINDOW(ss, 10, 1)",
    "COUNTWINDOW(3)",
    "COUNTWINDOW(4, 2)",
    "STATEWINDOW(a > 1, a < 0)",
];

const STREAMS: &[&str] = &[
    "",
    "[streams.input]\ntimestamp = \"/ts\"\n",
    "[streams.input]\ntimestamp = \"/ts\"\nlateness = \"2s\"\nallowed_late = \"5s\"\n",
    "[streams.input]\nfields = { a = \"float\", b = \"string\" }\n",
    "[streams.input]\nfields = { a = \"datetime\", b = \"bigint\" }\n",
];

const KEYS: &[&str] = &["", "key = \"{topic.1}\"\n", "key = \"/k\"\n"];

const TOPICS: &[&str] = &["s/a", "s/b", "s//c", "s/a/b", "s"];

/// Numbers and texts near the ends of what there is.
const SCALARS: &[&str] = &[
    "0",
    "-0.0",
    "1",
    "3.0",
    "2.5",
    "-7",
    "1e308",
    "-1e308",
    "5e-324",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "null",
    "true",
    "false",
    "\"\"",
    "\"a\"",
    "\"nan\"",
    "\"inf\"",
    "\"1970-01-01T00:00:00Z\"",
    "\"9999-12-31T23:59:59.999Z\"",
    "\"\\u0000\"",
    "1700000000000",
    "1700000000500",
    "1700000001000",
    "253402300799999",
    "253402300800000",
    "-1",
];

/// Choices, each made of the next byte; 0 where there is none.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn one_of<'t>(&mut self, all: &[&'t str]) -> &'t str {
        all[usize::from(self.byte()) % all.len()]
    }

    fn value(&mut self, depth: usize, out: &mut String) {
        match self.byte() {
            0..=15 if depth < 4 => self.inside(depth, '[', ']', out),
            16..=31 if depth < 4 => self.inside(depth, '{', '}', out),
            32..=35 => {
                // Deeper than a payload may be, or nearly.
                let levels = 60 + usize::from(self.byte());
                out.push_str(&"[".repeat(levels));
                out.push_str(&"]".repeat(levels));
            }
            36..=39 => {
                let long = "x".repeat(usize::from(self.byte()) * 20);
                out.push_str(&format!("\"{long}\""));
            }
            other => out.push_str(SCALARS[usize::from(other) % SCALARS.len()]),
        }
    }

    fn inside(&mut self, depth: usize, open: char, close: char, out: &mut String) {
        out.push(open);
        for place in 0..self.byte() % 4 {
            if place > 0 {
                out.push(',');
            }
            if open == '{' {
                out.push_str(self.one_of(&["\"x\":", "\"y\":", "\"X\":", "\"\":"]));
            }
            self.value(depth + 1, out);
        }
        out.push(close);
    }

    /// A payload: most are rows, some say their names twice, some are no rows.
    fn payload(&mut self) -> String {
        let mut out = String::from("{");
        for place in 0..self.byte() % 6 {
            if place > 0 {
                out.push(',');
            }
            out.push_str(self.one_of(&[
                "\"a\":", "\"b\":", "\"ts\":", "\"k\":", "\"A\":", "\"a\":", "\"b\":", "\"ts\":",
            ]));
            self.value(0, &mut out);
        }
        if self.byte() != 7 {
            out.push('}');
        }
        out
    }
}

/// A rule that compiles, of the first bytes.
fn rule(choices: &mut Choices<'_>) -> String {
    let statement = choices.one_of(STATEMENTS);
    let window = choices.one_of(WINDOWS);
    let sql = statement.replace("WINDOW", window);
    let key = choices.one_of(KEYS);
    let stream = choices.one_of(STREAMS);
    let limits = choices.one_of(&["", "[limits]\nstate_bytes = 4096\nkeys = 3\n"]);
    format!(
        "name = \"w\"\n[on]\nmqtt = [\"s/#\", \"s\"]\n{key}{stream}[function]\nsql = '''{sql}'''\n\
         [ports.out]\nto = \"local\"\ntopic = \"out\"\n{limits}"
    )
}

/// Drives the mill with what the bytes stand for.
///
/// # Panics
/// If it fails in any way.
pub fn drive(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let limits = FunctionLimits::default();
    let gateway = Gateway {
        id: "gw",
        destinations: None,
        limits: &limits,
    };
    let source = Source {
        path: PathBuf::from("w.toml"),
        text: rule(&mut choices),
    };
    let text = source.text.clone();
    // Some of the combinations are refused, with words.
    let Ok(rule) = Rule::parse(source, &gateway) else {
        return;
    };
    let Ok(bound) = Installer::new(&limits).install(rule, &["local"]) else {
        return;
    };
    let mut now = Now {
        mono_ms: 10_000,
        wall_ms: 1_700_000_000_000,
        quality: Quality::Synced,
    };
    let rules = vec![bound];
    let subscriptions = subscriptions(&rules, &[]);
    let deployment = Deployment {
        rules,
        subscriptions,
    };
    let (mut mill, mut out) = (Mill::new(), Vec::new());
    mill.deploy(now, deployment, &mut out)
        .expect("nothing was there before");
    let mut steps = 0;
    for _ in 0..EVENTS_MAX {
        if choices.0.is_empty() {
            break;
        }
        let topic = Topic::new(choices.one_of(TOPICS)).expect("it is a topic");
        let event = Event::new(topic, choices.payload(), now.wall_ms);
        let (later, set, quality) = (choices.byte(), choices.byte(), choices.byte());
        mill.step(now, Input::Events(vec![event]), &mut out);
        let until = now.mono_ms + u64::from(later) * 20;
        advance(&mut mill, &mut now, until, &mut steps);
        now.wall_ms = match set {
            1 => 0,
            2 => 253_402_300_799_999,
            3 => now.wall_ms - 3_600_000,
            4 => 1_700_000_000_000,
            _ => now.wall_ms,
        };
        now.quality = match quality {
            1 => Quality::None,
            2 => Quality::Restored,
            3 => Quality::Synced,
            _ => now.quality,
        };
        out.clear();
    }
    let until = now.mono_ms + 120_000;
    advance(&mut mill, &mut now, until, &mut steps);
    for (_, ledger) in mill.ledgers() {
        assert!(ledger.balances(), "{text}: {ledger:?}");
    }
}

/// Lets time pass, stopping wherever something is due.
fn advance(mill: &mut Mill, now: &mut Now, until: u64, steps: &mut usize) {
    let mut out = Vec::new();
    while let Some(due) = mill.next_due_mono_ms().filter(|due| *due <= until) {
        go(now, due.max(now.mono_ms));
        mill.step(*now, Input::Tick, &mut out);
        out.clear();
        *steps += 1;
        assert!(*steps < STEPS_MAX, "the mill does not come to rest");
    }
    go(now, until);
    mill.step(*now, Input::Tick, &mut out);
}

fn go(now: &mut Now, mono_ms: u64) {
    now.wall_ms = now.wall_at(mono_ms);
    now.mono_ms = mono_ms;
}
