//! Statements by the grammar, from bytes: most of them are sound, so that what follows the parser is
//! reached. Each choice takes a byte; seldom it may be a wrong one.

use tidemill_values::{Function, Kind, functions};

/// Deepest expression that is made.
const DEPTH: u8 = 5;

/// Beyond so many bytes nothing goes any deeper.
const LONG: usize = 1_500;

const COLUMNS: [&str; 12] = [
    "a",
    "b",
    "size",
    "color",
    "temp",
    "device",
    "ts",
    "x",
    "`order`",
    "demo.a",
    "d.b",
    "demo1.temp",
];
const STREAMS: [&str; 5] = ["demo", "demo1", "src1", "\"s/+/env\"", "input"];
const TEXTS: [&str; 8] = [
    "''",
    "\"é\"",
    "'%a_'",
    "'$.a[*]'",
    "'bigint'",
    "'\\\\d+'",
    "\"\\n\"",
    "'2024-05-01'",
];
const NUMBERS: [&str; 9] = [
    "0",
    "1",
    "-1",
    "2.5",
    "1e300",
    "9007199254740993",
    "9223372036854775807",
    "1e-320",
    "3.0",
];
const OPERATORS: [&str; 17] = [
    "+", "-", "*", "/", "%", "&", "|", "^", "=", "!=", "<>", "<", "<=", ">", ">=", "AND", "OR",
];

/// Clauses that go together with an aggregate in [`Writer::window_of`].
pub const CLAUSES: [&str; 6] = ["", "ORDER BY", "HAVING", "FILTER", "LIMIT", "OVER"];

/// Writes a statement from bytes.
pub struct Writer<'a> {
    bytes: &'a [u8],
    at: usize,
    out: String,
}

impl<'a> Writer<'a> {
    /// A statement, with declarations before it or without.
    pub fn statement(bytes: &'a [u8]) -> String {
        let mut writer = Self {
            bytes,
            at: 0,
            out: String::new(),
        };
        writer.file();
        writer.out
    }

    /// A statement with a window in which an aggregate, by number, goes together with a clause of
    /// [`CLAUSES`]: groups by `k`, of values `v` and `w`.
    pub fn window_of(bytes: &'a [u8], aggregate: usize, clause: &str) -> String {
        let mut writer = Self {
            bytes,
            at: 0,
            out: String::new(),
        };
        writer.window_with(aggregate, clause);
        writer.out
    }

    fn window_with(&mut self, aggregate: usize, clause: &str) {
        let all = functions().filter(|function| function.kind == Kind::Aggregate);
        let all: Vec<&Function> = all.collect();
        self.word("SELECT");
        if self.one_in(12) {
            self.word("DISTINCT");
        }
        self.pick(&["k,", "k,", "k AS key,", ""]);
        self.aggregate_of(all[aggregate % all.len()]);
        if clause == "FILTER" {
            self.pick(&["FILTER (WHERE w > 10)", "FILTER (WHERE v IS NOT NULL)"]);
        }
        self.word("AS x, count(*) AS n");
        if self.one_in(3) {
            self.word(",");
            self.pick(&[
                "sum(v) AS s",
                "avg(v) AS m",
                "sum(w) + 1 AS s",
                "max(w) AS m",
                "window_end() AS e",
            ]);
        }
        if clause == "OVER" {
            self.word(",");
            self.pick(&[
                "row_number() OVER (PARTITION BY n ORDER BY k) AS r",
                "lag(count(*)) OVER (PARTITION BY k) AS before",
            ]);
        }
        self.word("FROM demo");
        if self.one_in(3) {
            self.word("WHERE");
            self.pick(&[
                "w > 10",
                "w IS NOT NULL",
                "k != 5",
                "v IS NOT NULL AND w < 60",
            ]);
        }
        self.word("GROUP BY k,");
        self.pick(&[
            "TUMBLINGWINDOW(ss, 10)",
            "TUMBLINGWINDOW(ss, 5)",
            "HOPPINGWINDOW(ss, 10, 5)",
        ]);
        if clause == "HAVING" {
            self.word("HAVING");
            self.pick(&[
                "n > 1",
                "x > 2",
                "max(w) IS NOT NULL",
                "avg(w) > 20 OR n = 1",
            ]);
        }
        if clause == "ORDER BY" {
            self.word("ORDER BY");
            self.pick(&["n DESC, k", "k DESC", "n"]);
        }
        if clause == "LIMIT" {
            self.pick(&["LIMIT 1", "LIMIT 3"]);
        }
    }

    fn aggregate_of(&mut self, function: &Function) {
        self.word(function.name);
        self.word("(");
        self.pick(match function.name {
            "count" => &["*", "v"],
            "merge_agg" => &["*", "o"],
            "collect" => &["v", "w"],
            _ => &["v", "w", "v"],
        });
        if function.arity.min > 1 {
            self.word(",");
            self.pick(match function.name {
                "percentile_cont" | "percentile_disc" => &["0.5", "0.9"],
                _ => &["true", "false"],
            });
        }
        self.word(")");
    }

    /// A choice of `n`. The place has a say, so that equal bytes, or none, do not make all choices the
    /// same.
    fn below(&mut self, n: usize) -> usize {
        let byte = self.bytes.get(self.at).copied().unwrap_or_default();
        self.at += 1;
        let mixed = (self.at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40;
        (mixed as usize + usize::from(byte)) % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick(&mut self, from: &[&str]) {
        let word = from[self.below(from.len())];
        self.word(word);
    }

    fn word(&mut self, word: &str) {
        self.out.push_str(word);
        self.out.push(' ');
    }

    fn list(&mut self, most: usize, mut one: impl FnMut(&mut Self)) {
        one(self);
        for _ in 0..self.below(most) {
            self.word(",");
            one(self);
        }
    }

    fn file(&mut self) {
        for stream in ["demo", "demo1"] {
            if !self.one_in(4) {
                continue;
            }
            self.word(&format!("CREATE STREAM {stream} ("));
            self.list(4, |w| {
                w.pick(&["a", "b", "size", "temp", "ts", "color"]);
                w.pick(&[
                    "BIGINT",
                    "FLOAT",
                    "STRING",
                    "BOOLEAN",
                    "DATETIME",
                    "BYTEA",
                    "ARRAY(BIGINT)",
                    "STRUCT(x FLOAT)",
                ])
            });
            self.word(")");
            self.pick(&[
                "",
                "WITH (DATASOURCE=\"t/+\")",
                "WITH (TIMESTAMP=\"ts\")",
                "WITH (FORMAT='json', STRICT_VALIDATION='true')",
            ]);
            self.word(";");
        }
        self.word("SELECT");
        self.list(5, Self::item);
        self.word("FROM");
        let joined = self.one_in(4);
        if joined {
            self.word("demo")
        } else {
            self.pick(&STREAMS)
        }
        self.pick(&["", "", "AS d"]);
        if joined {
            for stream in ["demo1", "src1 AS s"] {
                self.pick(&[
                    "INNER JOIN",
                    "LEFT JOIN",
                    "RIGHT JOIN",
                    "FULL JOIN",
                    "CROSS JOIN",
                ]);
                self.word(stream);
                if !self.one_in(4) {
                    self.word("ON");
                    self.expr(2);
                }
                if !self.one_in(4) {
                    break;
                }
            }
        }
        self.clauses(joined)
    }

    fn clauses(&mut self, joined: bool) {
        if self.one_in(2) {
            self.word("WHERE");
            self.expr(0);
        }
        let window = joined || self.one_in(2);
        if window {
            self.word("GROUP BY");
            for _ in 0..self.below(3) {
                self.expr(3);
                self.word(",");
            }
            self.window();
            if self.one_in(3) {
                self.word("HAVING");
                self.expr(2);
            }
            if self.one_in(3) {
                self.word("ORDER BY");
                self.list(3, |w| {
                    w.expr(3);
                    w.pick(&["", "ASC", "DESC"])
                });
            }
        }
        if self.one_in(4) {
            self.word("LIMIT");
            self.pick(&["0", "1", "10", "9223372036854775807"]);
        }
    }

    fn window(&mut self) {
        self.pick(&[
            "TUMBLINGWINDOW(ss, 10)",
            "HOPPINGWINDOW(ss, 10, 3)",
            "SLIDINGWINDOW(ms, 500)",
            "SLIDINGWINDOW(ss, 2, 1)",
            "SESSIONWINDOW(mi, 1, 1)",
            "COUNTWINDOW(4)",
            "COUNTWINDOW(4, 1)",
            "STATEWINDOW(a > 1, b < 2)",
            "STATEWINDOW(size, true)",
            "TUMBLINGWINDOW(hh, 1)",
        ]);
        if self.one_in(5) {
            self.filter();
        }
        if self.one_in(5) {
            self.word("OVER (WHEN");
            self.expr(3);
            self.word(")");
        }
    }

    fn filter(&mut self) {
        self.word("FILTER (WHERE");
        self.expr(3);
        self.word(")");
    }

    fn item(&mut self) {
        if self.one_in(6) {
            self.pick(&["*", "demo.*", "demo1.*"]);
            if self.one_in(3) {
                self.pick(&["EXCEPT (a, b)", "EXCEPT (size)"]);
            }
            if self.one_in(3) {
                self.word("REPLACE (");
                self.expr(2);
                self.word("AS a )");
            }
            return;
        }
        self.expr(0);
        // Names of columns among them, and names that other items use.
        self.pick(&[
            "",
            "AS a",
            "AS b",
            "AS x",
            "AS y",
            "AS y INVISIBLE",
            "AS `order`",
            "AS size",
        ])
    }

    /// An expression, of which `depth` levels lie above it.
    fn expr(&mut self, depth: u8) {
        let kind = if depth < DEPTH && self.out.len() < LONG {
            self.below(19)
        } else {
            self.below(6)
        };
        let deeper = depth + 1;
        match kind {
            0..=2 => self.pick(&COLUMNS),
            3 => self.pick(&NUMBERS),
            4 => self.pick(&TEXTS),
            5 => self.pick(&[
                ":limit",
                ":x",
                ":name",
                "true",
                "false",
                "null",
                "y",
                "*",
                "meta(topic)",
                "window_start()",
                "event_time()",
            ]),
            6..=9 => {
                self.word("(");
                self.expr(deeper);
                self.pick(&OPERATORS);
                self.expr(deeper);
                self.word(")");
            }
            10 => {
                self.pick(&["NOT", "-", "+"]);
                self.expr(deeper);
            }
            11 => {
                self.expr(deeper);
                self.pick(&[
                    "->x",
                    ".x",
                    "[0]",
                    "[-1]",
                    "[1:]",
                    "[:2]",
                    "->`a b`",
                    "[a]",
                    "[:a]",
                    "->x[0]->y",
                ]);
            }
            12 => {
                self.word("(");
                self.expr(deeper);
                self.pick(&[
                    "IS NULL",
                    "IS NOT NULL",
                    "IN (1, 2.0, 'a')",
                    "NOT IN (a)",
                    "BETWEEN 1 AND",
                    "LIKE 'a%'",
                    "NOT LIKE",
                    "IN",
                ]);
                if !self.out.ends_with("NULL ")
                    && !self.out.ends_with(") ")
                    && !self.out.ends_with("' ")
                {
                    self.expr(deeper);
                }
                self.word(")");
            }
            13 => self.case(deeper),
            _ => self.call(deeper),
        }
    }

    fn case(&mut self, depth: u8) {
        self.word("CASE");
        if self.one_in(3) {
            self.expr(depth);
        }
        for _ in 0..=self.below(2) {
            self.word("WHEN");
            self.expr(depth);
            self.word("THEN");
            self.expr(depth);
        }
        if self.one_in(2) {
            self.word("ELSE");
            self.expr(depth);
        }
        self.word("END");
    }

    fn call(&mut self, depth: u8) {
        let all: Vec<&Function> = functions().collect();
        let function = all[self.below(all.len())];
        self.word(function.name);
        self.word("(");
        let most = function.arity.max.unwrap_or(function.arity.min + 2);
        let count = if self.one_in(24) {
            most + 1
        } else {
            function.arity.min + self.below(most - function.arity.min + 1)
        };
        for place in 0..count {
            if place > 0 {
                self.word(",");
            }
            self.expr(depth);
        }
        self.word(")");
        if function.kind == Kind::Aggregate && self.one_in(4) {
            self.filter();
        }
        if function.kind == Kind::Analytic && self.one_in(2) {
            self.word("OVER (");
            if self.one_in(2) {
                self.word("PARTITION BY");
                self.list(2, |w| w.expr(depth + 1));
            }
            if self.one_in(2) || self.out.ends_with("( ") {
                self.word("WHEN");
                self.expr(depth + 1);
            }
            self.word(")");
        }
    }
}
