//! Edits of statements: what each part of the state is after the rule was deployed anew, and what is said of
//! it. Each case is an old and a new statement with what comes before and after.

use super::*;
use crate::event::state::layout::Naming;
use crate::function::kept_value;

struct Case {
    old: &'static str,
    new: &'static str,
    /// Payloads before the edit, and after it.
    before: &'static [&'static str],
    after: &'static [&'static str],
    told: &'static [&'static str],
    /// Payloads sent after the edit: at once, and at the end of the second.
    says: &'static [&'static str],
    /// Windows that the ledger counts as given up.
    given_up: u64,
}

const NONE: Case = Case {
    old: "",
    new: "",
    before: &[],
    after: &[],
    told: &[],
    says: &[],
    given_up: 0,
};

/// A rule with a statement, and what else stands in its file.
fn rule_of(sql: &str, more: &str) -> (String, &'static str) {
    let (on, more) = more.split_once('|').unwrap_or(("", more));
    let manifest = format!(
        "name = \"w\"\n{more}\n[on]\nmqtt = [\"s/#\", \"t/#\"]\n{on}\n[function]\nsql = '''{sql}'''\n\
         [ports.out]\nto = \"local\"\ntopic = \"out\"\n"
    );
    (manifest, "(module)")
}

impl Bench {
    /// Deploys anew; tells what that does to the state.
    fn redeploy(&mut self, rules: &[(String, &str)]) -> Vec<String> {
        let rules = bind(rules);
        let subscriptions = subscriptions(&rules, &[]);
        let deployment = Deployment {
            rules,
            subscriptions,
        };
        let deployed = self.mill.deploy(self.now, deployment, &mut Vec::new());
        deployed.unwrap().iter().map(ToString::to_string).collect()
    }

    fn payloads(&mut self, payloads: &[&str]) {
        for payload in payloads {
            let (topic, payload) = payload.split_once(' ').unwrap_or(("s/x", payload));
            self.event(topic, payload);
        }
    }

    fn said(&mut self) -> Vec<String> {
        let said = std::mem::take(&mut self.said);
        said.lines().map(str::to_owned).collect()
    }
}

fn check(case: &Case) {
    let (more, old) = case.old.split_once("!!").unwrap_or(("", case.old));
    let (new_more, new) = case.new.split_once("!!").unwrap_or((more, case.new));
    let mut bench = Bench::new(&[rule_of(old, more)]);
    bench.payloads(case.before);
    bench.said.clear();
    let told = bench.redeploy(&[rule_of(new, new_more)]);
    let title = format!("{old}\n→ {new}");
    assert_eq!(told, case.told, "{title}");
    bench.payloads(case.after);
    bench.at(1_000);
    assert_eq!(bench.said(), case.says, "{title}");
    let ledger = bench.ledger("w");
    assert!(ledger.balances(), "{title}: {ledger:?}");
    assert_eq!(ledger.windows_given_up, case.given_up, "{title}");
    assert_eq!(
        ledger.lost(),
        0,
        "{title}: what an edit gives up found room"
    );
    // The same deployed once more changes nothing, and says nothing.
    assert_eq!(
        bench.redeploy(&[rule_of(new, new_more)]),
        [""; 0],
        "{title}"
    );
}

fn check_all(cases: &[Case]) {
    cases.iter().for_each(check);
}

/// Three events with n, and one that comes after the edit.
const COUNTED: Case = Case {
    before: &[
        r#"{"n":4,"d":"a"}"#,
        r#"{"n":5,"d":"a"}"#,
        r#"{"n":6,"d":"b"}"#,
    ],
    after: &[r#"{"n":7,"d":"a"}"#],
    ..NONE
};

#[test]
fn a_function_that_remembers_keeps_its_state_wherever_it_stands() {
    check_all(&[
        Case {
            old: "SELECT n, acc_sum(n) AS x FROM input",
            new: "SELECT n, lag(n) AS x FROM input",
            told: &["rule w: lag(n) begins anew; acc_sum(n) is dropped"],
            says: &[r#"0 out {"n":7}"#],
            ..COUNTED
        },
        Case {
            old: "SELECT acc_sum(n) AS total FROM input",
            new: "SELECT acc_count(n) AS c, acc_sum(n) AS total FROM input",
            told: &["rule w: acc_count(n) begins anew; acc_sum(n) keeps its state"],
            says: &[r#"0 out {"c":1,"total":22}"#],
            ..COUNTED
        },
        Case {
            old: "SELECT acc_count(n) AS c, acc_sum(n) AS total FROM input",
            new: "SELECT acc_sum(n) AS total, acc_count(n) AS c FROM input",
            told: &["rule w: acc_sum(n), acc_count(n) keep their state"],
            says: &[r#"0 out {"total":22,"c":4}"#],
            ..COUNTED
        },
        Case {
            old: "SELECT acc_sum(n) AS total FROM input",
            new: "SELECT acc_sum(n) AS energy FROM input",
            told: &["rule w: acc_sum(n) keeps its state"],
            says: &[r#"0 out {"energy":22}"#],
            ..COUNTED
        },
        Case {
            old: "SELECT acc_sum(n) AS total FROM input WHERE n > 0",
            new: "select\n  ACC_SUM( N )  as total /* of all */ from input where N > 0",
            told: &["rule w: acc_sum(n) keeps its state"],
            says: &[r#"0 out {"total":22}"#],
            ..COUNTED
        },
        Case {
            old: "SELECT n * 2 AS twice, acc_sum(twice) AS total FROM input",
            new: "SELECT acc_sum((n) * 2) AS total FROM input",
            told: &["rule w: acc_sum(n * 2) keeps its state"],
            says: &[r#"0 out {"total":44}"#],
            ..COUNTED
        },
        Case {
            old: "SELECT acc_sum(n) AS total FROM input",
            new: "SELECT acc_sum(n + 0) AS total FROM input",
            told: &["rule w: acc_sum(n + 0) begins anew; acc_sum(n) is dropped"],
            says: &[r#"0 out {"total":7}"#],
            ..COUNTED
        },
        Case {
            old: "SELECT acc_sum(n) OVER (WHEN n > 4) AS total FROM input",
            new: "SELECT acc_sum(n) OVER (WHEN n > 5) AS total FROM input",
            told: &[
                "rule w: acc_sum(n) OVER (WHEN n > 5) begins anew; acc_sum(n) OVER (WHEN n > 4) is dropped",
            ],
            says: &[r#"0 out {"total":7}"#],
            ..COUNTED
        },
        Case {
            old: "|[params]\nlimit = 4\n!!SELECT acc_sum(n) OVER (WHEN n > :limit) AS total FROM input",
            new: "|!!SELECT acc_sum(n) OVER (WHEN n > 4) AS total FROM input WHERE n > 0",
            told: &["rule w: acc_sum(n) OVER (WHEN n > 4) keeps its state"],
            says: &[r#"0 out {"total":18}"#],
            ..COUNTED
        },
        Case {
            old: "SELECT acc_sum(n) OVER (PARTITION BY d) AS total FROM input",
            new: "SELECT lag(n) AS l, acc_sum(n) OVER (PARTITION BY d) AS total FROM input",
            told: &["rule w: lag(n) begins anew; acc_sum(n) OVER (PARTITION BY d) keeps its state"],
            says: &[r#"0 out {"total":16}"#],
            ..COUNTED
        },
        Case {
            old: "SELECT acc_sum(n) OVER (PARTITION BY d) AS total FROM input",
            new: "SELECT acc_sum(n) AS total FROM input",
            told: &["rule w: acc_sum(n) begins anew; acc_sum(n) OVER (PARTITION BY d) is dropped"],
            says: &[r#"0 out {"total":7}"#],
            ..COUNTED
        },
        Case {
            old: "SELECT n FROM input WHERE had_changed(true, d)",
            new: "SELECT had_changed(true, d) AS changed FROM input",
            told: &["rule w: had_changed(true, d) keeps its state"],
            says: &[r#"0 out {"changed":true}"#],
            ..COUNTED
        },
    ]);
}

#[test]
fn what_means_the_same_is_kept_once() {
    check_all(&[
        Case {
            old: "SELECT lag(n) AS a, acc_sum(n) AS s, LAG(n) AS b FROM input",
            new: "SELECT acc_sum(n) AS s, lag(n) AS a FROM input",
            told: &["rule w: acc_sum(n), lag(n) keep their state"],
            says: &[r#"0 out {"s":22,"a":6}"#],
            ..COUNTED
        },
        Case {
            old: "SELECT lag(n) AS a FROM input",
            new: "SELECT lag(n) AS a, acc_sum(n) AS s, lag(n) AS b FROM input",
            told: &["rule w: acc_sum(n) begins anew; lag(n) keeps its state"],
            says: &[r#"0 out {"a":6,"s":7,"b":6}"#],
            ..COUNTED
        },
        // A name in two cases is two columns, once the statement has both.
        Case {
            old: "SELECT lag(n) AS a, lag(N) AS b FROM input",
            new: "SELECT lag(N) AS b, lag(n) AS a FROM input",
            before: &[r#"{"n":1,"N":2}"#],
            after: &[r#"{"n":3,"N":4}"#],
            told: &["rule w: lag(N), lag(n) keep their state"],
            says: &[r#"0 out {"b":2,"a":1}"#],
            ..NONE
        },
        // Of columns that are told by their names each place has its own.
        Case {
            old: "SELECT changed_cols('', true, n), changed_cols('x', true, n) FROM input",
            new: "SELECT changed_cols('x', true, n), changed_cols('', true, n) FROM input",
            before: &[r#"{"n":1}"#],
            after: &[r#"{"n":1}"#, r#"{"n":2}"#],
            told: &[
                "rule w: changed_cols(\"x\", true, n AS n), changed_cols(\"\", true, n AS n) keep their state",
            ],
            says: &["0 out {}", r#"0 out {"xn":2,"n":2}"#],
            ..NONE
        },
    ]);
}

#[test]
fn counts_of_hits_belong_to_their_condition() {
    let counted = Case {
        before: &[r#"{"n":4}"#, r#"{"n":5}"#, r#"{"n":1}"#],
        after: &[r#"{"n":6}"#],
        ..NONE
    };
    check_all(&[
        Case {
            old: "SELECT last_hit_count() AS c FROM input WHERE n > 3",
            new: "SELECT n, last_hit_count() AS c FROM input WHERE n > 3",
            told: &["rule w: hits of WHERE n > 3 keeps its state"],
            says: &[r#"0 out {"n":6,"c":2}"#],
            ..counted
        },
        Case {
            old: "SELECT last_hit_count() AS c FROM input WHERE n > 3",
            new: "SELECT last_hit_count() AS c FROM input WHERE n > 2",
            told: &["rule w: hits of WHERE n > 2 begins anew; hits of WHERE n > 3 is dropped"],
            says: &[r#"0 out {"c":0}"#],
            ..counted
        },
    ]);
}

/// Two events of two devices in a window that is open, and one after the edit.
const OPEN: Case = Case {
    before: &[r#"{"a":1,"b":10,"d":"x"}"#, r#"{"a":2,"b":20,"d":"x"}"#],
    after: &[r#"{"a":4,"b":40,"d":"x"}"#],
    ..NONE
};

#[test]
fn an_open_window_of_another_fold_is_given_up() {
    check_all(&[
        Case {
            old: "SELECT sum(a) AS s FROM input GROUP BY TUMBLINGWINDOW(ss, 1)",
            new: "SELECT sum(b) AS s FROM input GROUP BY TUMBLINGWINDOW(ss, 1)",
            told: &["rule w: sum(a) is given up, 1 open window; sum(b) begins anew"],
            says: &[r#"1000 out {"s":40}"#],
            given_up: 1,
            ..OPEN
        },
        Case {
            old: "SELECT sum(a) AS s, sum(b) AS t FROM input GROUP BY TUMBLINGWINDOW(ss, 1)",
            new: "SELECT sum(b) AS t, sum(a) AS s FROM input GROUP BY TUMBLINGWINDOW(ss, 1)",
            told: &["rule w: sum(b), sum(a) keep their state, 1 open window"],
            says: &[r#"1000 out {"t":70,"s":7}"#],
            ..OPEN
        },
        Case {
            old: "SELECT sum(a) AS s, sum(b) AS t FROM input GROUP BY TUMBLINGWINDOW(ss, 1)",
            new: "SELECT avg(b) + 0.5 AS t FROM input GROUP BY TUMBLINGWINDOW(ss, 1) HAVING sum(b) > 5",
            told: &["rule w: avg(b), sum(b) keep their state, 1 open window"],
            says: &[r#"1000 out {"t":23.5}"#],
            ..OPEN
        },
        // A sum from now on would be one of half a window.
        Case {
            old: "SELECT sum(a) AS s FROM input GROUP BY TUMBLINGWINDOW(ss, 1)",
            new: "SELECT sum(a) AS s, sum(b) AS t FROM input GROUP BY TUMBLINGWINDOW(ss, 1)",
            told: &["rule w: sum(a) is given up, 1 open window; sum(b) begins anew"],
            says: &[r#"1000 out {"s":4,"t":40}"#],
            given_up: 1,
            ..OPEN
        },
        Case {
            old: "SELECT d, sum(a) AS s FROM input GROUP BY d, TUMBLINGWINDOW(ss, 1)",
            new: "SELECT count(a) AS c, sum(a) AS s, D FROM input GROUP BY D, TUMBLINGWINDOW(ss, 1)",
            told: &["rule w: count(a), sum(a) keep their state, 1 open window"],
            says: &[r#"1000 out {"c":3,"s":7,"D":"x"}"#],
            ..OPEN
        },
        Case {
            old: "SELECT sum(a) AS s FROM input GROUP BY d, TUMBLINGWINDOW(ss, 1)",
            new: "SELECT sum(a) AS s FROM input GROUP BY b, TUMBLINGWINDOW(ss, 1)",
            told: &["rule w: its key is another one; sum(a) is given up, 1 open window"],
            says: &[r#"1000 out {"s":4}"#],
            given_up: 1,
            ..OPEN
        },
        Case {
            old: "SELECT sum(a) AS s FROM input GROUP BY TUMBLINGWINDOW(ss, 1)",
            new: "SELECT sum(a) AS s FROM input GROUP BY TUMBLINGWINDOW(ms, 500)",
            told: &["rule w: sum(a) is given up, 1 open window"],
            says: &[r#"500 out {"s":4}"#],
            given_up: 1,
            ..OPEN
        },
        Case {
            old: "SELECT sum(a) AS s FROM input GROUP BY TUMBLINGWINDOW(ms, 1000)",
            new: "SELECT sum(A) AS total FROM input GROUP BY tumblingwindow(ss, 1)",
            told: &["rule w: sum(a) keeps its state, 1 open window"],
            says: &[r#"1000 out {"total":7}"#],
            ..OPEN
        },
        Case {
            old: "SELECT sum(a) AS s FROM input WHERE b > 0 GROUP BY TUMBLINGWINDOW(ss, 1)",
            new: "SELECT sum(a) AS s FROM input WHERE b > 1 GROUP BY TUMBLINGWINDOW(ss, 1)",
            told: &["rule w: sum(a) is given up, 1 open window"],
            says: &[r#"1000 out {"s":4}"#],
            given_up: 1,
            ..OPEN
        },
        // Values kept in slots are of no use to a function that needs the rows.
        Case {
            old: "SELECT sum(a) AS s FROM input GROUP BY TUMBLINGWINDOW(ss, 1)",
            new: "SELECT median(a) AS s FROM input GROUP BY TUMBLINGWINDOW(ss, 1)",
            told: &["rule w: sum(a) is given up, 1 open window; median(a) begins anew"],
            says: &[r#"1000 out {"s":4}"#],
            given_up: 1,
            ..OPEN
        },
        Case {
            // A float is counted and summed up otherwise than what may be anything.
            old: "|[streams.input.fields]\na = \"float\"\n!!SELECT sum(a) AS s FROM input GROUP BY TUMBLINGWINDOW(ss, 1)",
            new: "|!!SELECT sum(a) AS s FROM input GROUP BY TUMBLINGWINDOW(ss, 1)",
            told: &["rule w: sum(a) is given up, 1 open window"],
            says: &[r#"1000 out {"s":4}"#],
            given_up: 1,
            ..OPEN
        },
        Case {
            old: "SELECT sum(a) AS s FROM input GROUP BY TUMBLINGWINDOW(ss, 1)",
            new: "SELECT acc_sum(a) AS s FROM input",
            told: &["rule w: acc_sum(a) begins anew; sum(a) is given up, 1 open window"],
            says: &[r#"0 out {"s":4}"#],
            given_up: 1,
            ..OPEN
        },
        Case {
            old: "SELECT sum(a) AS s FROM input GROUP BY HOPPINGWINDOW(ms, 2000, 1000)",
            new: "SELECT 1 AS one, sum(a) AS s FROM input GROUP BY HOPPINGWINDOW(ms, 2000, 1000)",
            told: &["rule w: sum(a) keeps its state, 2 open windows"],
            says: &[r#"1000 out {"one":1,"s":7}"#],
            ..OPEN
        },
    ]);
}

#[test]
fn rows_of_an_open_window_serve_whatever_is_worked_out_of_them() {
    check_all(&[
        Case {
            old: "SELECT median(a) AS m FROM input GROUP BY TUMBLINGWINDOW(ss, 1)",
            new: "SELECT count(*) AS c, median(a) AS m FROM input GROUP BY TUMBLINGWINDOW(ss, 1)",
            told: &["rule w: count(*), median(a) keep their state, 1 open window"],
            says: &[r#"1000 out {"c":3,"m":2}"#],
            ..OPEN
        },
        Case {
            old: "SELECT median(a) AS m FROM input WHERE b > 0 GROUP BY TUMBLINGWINDOW(ss, 1)",
            new: "SELECT median(a) AS m FROM input WHERE b > 15 GROUP BY TUMBLINGWINDOW(ss, 1)",
            told: &["rule w: median(a) is given up, 1 open window"],
            says: &[r#"1000 out {"m":4}"#],
            given_up: 1,
            ..OPEN
        },
        // Values that were noted when the rows came follow their functions.
        Case {
            old: "SELECT a, lag(a) AS l, acc_sum(b) AS s FROM input GROUP BY TUMBLINGWINDOW(ss, 1)",
            new: "SELECT acc_sum(b) AS s, a, lag(a) AS l FROM input GROUP BY TUMBLINGWINDOW(ss, 1)",
            told: &[
                "rule w: acc_sum(b), lag(a) keep their state; what the window holds keeps its state, 1 open window",
            ],
            says: &[
                r#"1000 out {"s":10,"a":1}"#,
                r#"1000 out {"s":30,"a":2,"l":1}"#,
                r#"1000 out {"s":70,"a":4,"l":2}"#,
            ],
            ..OPEN
        },
        // A value that was not noted cannot be worked out later.
        Case {
            old: "SELECT a, lag(a) AS l FROM input GROUP BY TUMBLINGWINDOW(ss, 1)",
            new: "SELECT a, acc_sum(a) AS l, lag(a) AS k FROM input GROUP BY TUMBLINGWINDOW(ss, 1)",
            told: &[
                "rule w: acc_sum(a) begins anew; lag(a) keeps its state; what the window holds is given up, 1 open window",
            ],
            says: &[r#"1000 out {"a":4,"l":4,"k":2}"#],
            given_up: 1,
            ..OPEN
        },
        Case {
            old: "SELECT count(*) AS c FROM input GROUP BY SESSIONWINDOW(ss, 5, 1)",
            new: "SELECT sum(b) AS s FROM input GROUP BY SESSIONWINDOW(ss, 5, 1)",
            told: &["rule w: count(*) is given up, 1 open window; sum(b) begins anew"],
            says: &[r#"1000 out {"s":40}"#],
            given_up: 1,
            ..OPEN
        },
        Case {
            old: "SELECT count(*) AS c FROM input GROUP BY SESSIONWINDOW(ss, 5, 1)",
            new: "SELECT count(*) AS c FROM input GROUP BY SESSIONWINDOW(ms, 5000, 600)",
            told: &["rule w: count(*) is given up, 1 open window"],
            says: &[r#"600 out {"c":1}"#],
            given_up: 1,
            ..OPEN
        },
        Case {
            // Rows have the columns that the statement named when they came.
            old: "SELECT sum(a) AS s, max(b) AS m FROM input GROUP BY COUNTWINDOW(3)",
            new: "SELECT max(b) AS m FROM input GROUP BY COUNTWINDOW(3)",
            told: &["rule w: max(b) keeps its state, 1 open window"],
            says: &[r#"0 out {"m":40}"#],
            ..OPEN
        },
        Case {
            old: "SELECT sum(a) AS s FROM input GROUP BY COUNTWINDOW(3)",
            new: "SELECT sum(a) AS s FROM input GROUP BY COUNTWINDOW(1)",
            told: &["rule w: sum(a) is given up, 1 open window"],
            says: &[r#"0 out {"s":4}"#],
            given_up: 1,
            ..OPEN
        },
        Case {
            old: "SELECT sum(a) AS s FROM input GROUP BY SLIDINGWINDOW(ss, 5)",
            new: "SELECT count(*) AS c, sum(a) AS s FROM input GROUP BY SLIDINGWINDOW(ss, 5)",
            told: &["rule w: count(*), sum(a) keep their state, 1 open window"],
            says: &[r#"0 out {"c":3,"s":7}"#],
            ..OPEN
        },
        Case {
            old: "SELECT sum(a) AS s FROM input GROUP BY SLIDINGWINDOW(ss, 5) OVER (WHEN a > 0)",
            new: "SELECT sum(a) AS s FROM input GROUP BY SLIDINGWINDOW(ss, 5) OVER (WHEN a > 3)",
            told: &["rule w: sum(a) is given up, 1 open window"],
            says: &[r#"0 out {"s":4}"#],
            given_up: 1,
            ..OPEN
        },
        Case {
            old: "SELECT sum(a) AS s FROM input GROUP BY STATEWINDOW(a = 1, a = 4)",
            new: "SELECT max(a) AS t FROM input GROUP BY STATEWINDOW(a = 1, a = 4)",
            told: &["rule w: max(a) keeps its state, 1 open window"],
            says: &[r#"0 out {"t":4}"#],
            ..OPEN
        },
        Case {
            old: "SELECT sum(a) AS s FROM input GROUP BY STATEWINDOW(a = 1, a = 4)",
            new: "SELECT sum(a) AS s FROM input GROUP BY STATEWINDOW(a = 2, a = 4)",
            told: &["rule w: sum(a) is given up, 1 open window"],
            says: &[],
            given_up: 1,
            ..OPEN
        },
    ]);
}

const STREAMS: &str = "|[streams.l]\nmqtt = [\"s/#\"]\n[streams.r]\nmqtt = [\"t/#\"]\n";

#[test]
fn streams_are_known_by_their_names() {
    let joined = |from: &str| {
        format!(
            "{STREAMS}!!SELECT l.a AS a, r.b AS b FROM {from} ON l.k = r.k GROUP BY TUMBLINGWINDOW(ss, 1)"
        )
        .leak()
    };
    check_all(&[
        Case {
            old: joined("l INNER JOIN r"),
            new: joined("r INNER JOIN l"),
            before: &[r#"s/1 {"k":1,"a":2}"#],
            after: &[r#"t/1 {"k":1,"b":3}"#],
            told: &["rule w: what the window holds keeps its state, 1 open window"],
            says: &[r#"1000 out {"a":2,"b":3}"#],
            ..NONE
        },
        Case {
            old: joined("l INNER JOIN r"),
            new: concat!(
                "|[streams.l]\nmqtt = [\"s/#\"]\n!!",
                "SELECT a FROM l GROUP BY TUMBLINGWINDOW(ss, 1)"
            ),
            before: &[r#"s/1 {"k":1,"a":2}"#],
            after: &[r#"s/1 {"k":1,"a":5}"#],
            told: &[
                "rule w: its streams are others; what the window holds is given up, 1 open window",
            ],
            says: &[r#"1000 out {"a":5}"#],
            given_up: 1,
        },
        // A declaration of what the rule reads anyway makes it no other stream.
        Case {
            old: "|!!SELECT acc_sum(n) AS total FROM input",
            new: "|[streams.meters.fields]\nn = \"float\"\n!!SELECT n, acc_sum(n) AS total FROM meters",
            told: &["rule w: acc_sum(n) keeps its state"],
            says: &[r#"0 out {"n":7,"total":22}"#],
            ..COUNTED
        },
        // Events of the rule's own triggers have no name that matters.
        Case {
            old: "SELECT acc_sum(n) AS total FROM input",
            new: "SELECT x.n, acc_sum(x.n) AS total FROM meters AS x",
            told: &["rule w: acc_sum(n) keeps its state"],
            says: &[r#"0 out {"n":7,"total":22}"#],
            ..COUNTED
        },
        Case {
            old: "key = \"{topic.0}\"|!!SELECT acc_sum(n) AS total FROM input",
            new: "key = \"{topic.1}\"|!!SELECT acc_sum(n) AS total FROM input",
            told: &["rule w: its key is another one; acc_sum(n) begins anew"],
            says: &[r#"0 out {"total":7}"#],
            ..COUNTED
        },
    ]);
}

#[test]
fn events_that_wait_follow_their_streams() {
    let more = "|[streams.l]\nmqtt = [\"s/#\"]\ntimestamp = \"/ts\"\nlateness = \"10s\"\n\
                [streams.r]\nmqtt = [\"t/#\"]\ntimestamp = \"/ts\"\nlateness = \"10s\"\n";
    let rule = |from: &str| {
        let sql = format!(
            "SELECT l.a AS a, r.b AS b FROM {from} ON l.k = r.k GROUP BY TUMBLINGWINDOW(ss, 1)"
        );
        rule_of(&sql, more)
    };
    let start = 1_700_000_000_000_i64;
    let send = |bench: &mut Bench, topic: &str, at: i64, more: &str| {
        let ts = start + at;
        bench.event(topic, &format!("{{\"ts\":{ts},\"k\":1,{more}}}"));
    };
    let mut bench = Bench::new(&[rule("l INNER JOIN r")]);
    send(&mut bench, "s/1", 100, "\"a\":2");
    send(&mut bench, "t/1", 200, "\"b\":3");
    let told = bench.redeploy(&[rule("r INNER JOIN l")]);
    let kept = "rule w: what the window holds keeps its state, no open window";
    assert_eq!(told, [kept]);
    for topic in ["s/1", "t/1"] {
        send(&mut bench, topic, 20_000, "\"z\":0");
    }
    let said = bench.said();
    assert_eq!(said, [r#"0 out {"a":2,"b":3}"#]);
    // Of streams that the rule no longer has nothing is worked on.
    let one = "SELECT a FROM l GROUP BY TUMBLINGWINDOW(ss, 1)";
    let only = "|[streams.l]\nmqtt = [\"s/#\"]\ntimestamp = \"/ts\"\nlateness = \"10s\"\n";
    bench.redeploy(&[rule_of(one, only)]);
    let ledger = bench.ledger("w");
    assert_eq!(
        ledger.dropped["the rule has other streams"], 2,
        "{ledger:?}"
    );
    assert!(ledger.balances());
}

#[test]
fn state_of_a_rule_that_is_gone_waits_under_its_names() {
    let sum = rule_of("SELECT acc_sum(n) AS s FROM input", "");
    let both = rule_of("SELECT lag(n) AS l, acc_sum(n) AS s FROM input", "");
    let mut bench = Bench::new(std::slice::from_ref(&sum));
    bench.payloads(COUNTED.before);
    bench.said.clear();
    assert_eq!(bench.redeploy(&[]), [""; 0]);
    // It comes back with another statement, and is edited back to the first.
    let told = bench.redeploy(std::slice::from_ref(&both));
    assert_eq!(
        told,
        ["rule w: lag(n) begins anew; acc_sum(n) keeps its state"]
    );
    bench.payloads(COUNTED.after);
    assert_eq!(bench.said(), [r#"0 out {"s":22}"#]);
    assert_eq!(bench.redeploy(&[]), [""; 0]);
    let told = bench.redeploy(std::slice::from_ref(&sum));
    assert_eq!(
        told,
        ["rule w: acc_sum(n) keeps its state; lag(n) is dropped"]
    );
    bench.payloads(COUNTED.after);
    assert_eq!(bench.said(), [r#"0 out {"s":29}"#]);
    // Under another name it is another rule, and the old one waits.
    let (manifest, wat) = sum.clone();
    let renamed = (manifest.replace("name = \"w\"", "name = \"v\""), wat);
    assert_eq!(bench.redeploy(std::slice::from_ref(&renamed)), [""; 0]);
    bench.payloads(COUNTED.after);
    assert_eq!(bench.redeploy(std::slice::from_ref(&sum)), [""; 0]);
    bench.payloads(COUNTED.after);
    assert_eq!(bench.said(), [r#"0 out {"s":7}"#, r#"0 out {"s":36}"#]);
    // State that was dropped does not come back.
    let told = bench.redeploy(&[both]);
    assert_eq!(
        told,
        ["rule w: lag(n) begins anew; acc_sum(n) keeps its state"]
    );
    bench.payloads(COUNTED.after);
    assert_eq!(bench.said(), [r#"0 out {"s":43}"#]);
}

/// Adds 1 to a slot and 10 to another, and emits the first.
fn counter(first: u32, second: u32, state: &str) -> String {
    let state = state.replace('"', "\\\"");
    format!(
        r#"(module
    (import "tidemill1" "reg_get" (func $get (param i32) (result f64)))
    (import "tidemill1" "reg_set" (func $set (param i32 f64)))
    (func (export "f") (result f64)
        (call $set (i32.const {first}) (f64.add (call $get (i32.const {first})) (f64.const 1)))
        (call $set (i32.const {second}) (f64.add (call $get (i32.const {second})) (f64.const 10)))
        (call $get (i32.const {first})))
    (@custom "tidemill.manifest" "{{\"abi\":1,\"state\":{state}}}"))"#
    )
}

/// Keeps the length of the payload under a name, and emits how long the entry of another name is, or -1.
fn keeper(write: &str, read: &str, names: &str) -> String {
    let names = names.replace('"', "\\\"");
    format!(
        r#"(module
    (import "tidemill1" "st_put" (func $put (param i32 i32 i32 i32) (result i32)))
    (import "tidemill1" "st_get" (func $get (param i32 i32 i32 i32) (result i32)))
    (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "{write}")
    (data (i32.const 16) "{read}")
    (data (i32.const 32) "abc")
    (func (export "on_event") (result i32)
        (drop (call $emit (i32.const 0) (f64.convert_i32_s
            (call $get (i32.const 16) (i32.const 3) (i32.const 64) (i32.const 0)))))
        (drop (call $put (i32.const 0) (i32.const 3) (i32.const 32) (i32.const 3)))
        (i32.const 0))
    (@custom "tidemill.manifest" "{{\"abi\":1,\"state\":{{\"names\":{{\"entries\":{names}}}}}}}"))"#
    )
}

#[test]
fn a_module_of_any_language_may_name_its_entries() {
    let rule = |wat: String| (rule("c", "mqtt = [\"s/+\"]"), &*wat.leak());
    let old = rule(keeper("l/x", "l/x", r#"{"l/":"last","o/":"other"}"#));
    let mut bench = Bench::new(&[old]);
    bench.event("s/a", "").event("s/a", "");
    // The same is called otherwise now, and another has its name.
    let told = bench.redeploy(&[rule(keeper("l/x", "s/x", r#"{"s/":"last","l/":"new"}"#))]);
    assert_eq!(
        told,
        ["rule c: new begins anew; last keeps its state; other is dropped"]
    );
    bench.event("s/a", "");
    bench.expect(&["0 out/c/a -1", "0 out/c/a 3", "0 out/c/a 3"]);
    // State without a name stays, unless its place has one.
    let told = bench.redeploy(&[rule(keeper("x/x", "l/x", r#"{"s/":"last"}"#))]);
    assert_eq!(told, ["rule c: last keeps its state; new is dropped"]);
    bench.event("s/a", "");
    bench.redeploy(&[rule(keeper("z/z", "x/x", r#"{"s/":"last"}"#))]);
    bench.event("s/a", "");
    bench.redeploy(&[rule(keeper("z/z", "x/x", r#"{"x/":"named"}"#))]);
    bench.event("s/a", "");
    bench.expect(&["0 out/c/a -1", "0 out/c/a 3", "0 out/c/a -1"]);
}

#[test]
fn a_module_of_any_language_may_name_its_slots() {
    let rule = |wat: String| (rule("c", "mqtt = [\"s/+\"]"), &*wat.leak());
    let old = rule(counter(
        0,
        1,
        r#"{"slots":2,"names":{"slots":["ones","tens"]}}"#,
    ));
    let moved = r#"{"slots":3,"names":{"slots":["new","tens","ones"]}}"#;
    let mut bench = Bench::new(&[old]);
    bench.event("s/a", "").event("s/a", "");
    let told = bench.redeploy(&[rule(counter(2, 1, moved))]);
    assert_eq!(
        told,
        ["rule c: new begins anew; tens, ones keep their state"]
    );
    bench.event("s/a", "");
    let again = rule(counter(1, 2, moved));
    bench.redeploy(&[again]);
    bench.event("s/a", "");
    bench.expect(&["0 out/c/a 1", "0 out/c/a 2", "0 out/c/a 3", "0 out/c/a 31"]);
    // Without names the number of the schema decides, and the place.
    let unnamed = rule(counter(0, 1, r#"{"slots":2}"#));
    let told = bench.redeploy(&[unnamed]);
    assert_eq!(told, ["rule c: new, tens, ones are dropped"]);
    bench.event("s/a", "");
    bench.redeploy(&[rule(counter(1, 0, r#"{"slots":2}"#))]);
    bench.event("s/a", "");
    bench.expect(&["0 out/c/a 1", "0 out/c/a 11"]);
    // A statement of that name finds nothing that it could take for its own.
    let (manifest, wat) = rule_of("SELECT lag(n) AS l, 1 AS one FROM input", "");
    let told = bench.redeploy(&[(manifest.replace("\"w\"", "\"c\""), wat)]);
    let all = "its function is another one, and all that was kept is dropped";
    assert_eq!(told, [format!("rule c: {all}; lag(n) begins anew")]);
    assert_eq!(bench.mill.rules[0].keys.len(), 0);
}

/// A rule whose states are separated so.
fn keyed_rule(key: &str) -> String {
    let text = rule("c", "mqtt = [\"s/+\"]");
    text.replace("key = \"{topic.1}\"", &format!("key = \"{key}\""))
}

#[test]
fn a_module_without_names_begins_anew_under_another_key_and_keeps_its_state_under_the_same() {
    let wat = || &*counter(0, 1, r#"{"slots":2}"#).leak();
    let keyed = |key: &str| (keyed_rule(key), wat());
    let mut bench = Bench::new(&[keyed("{topic}")]);
    bench.event("s/a", "").event("s/a", "");
    assert_eq!(bench.redeploy(&[keyed("{topic}")]), [""; 0]);
    bench.event("s/a", "");
    let told = bench.redeploy(&[keyed("{topic.1}")]);
    assert_eq!(
        told,
        ["rule c: its key is another one; all that was kept is dropped"]
    );
    assert_eq!(bench.mill.rules[0].keys.len(), 0);
    bench.event("s/a", "");
    bench.expect(&[
        "0 out/c/s/a 1",
        "0 out/c/s/a 2",
        "0 out/c/s/a 3",
        "0 out/c/a 1",
    ]);
}

/// Sets a timer with each event, and emits the id of one that falls due.
fn waiting(id: u32, config: &str, names: &str) -> &'static str {
    let (config, names) = (config.replace('"', "\\\""), names.replace('"', "\\\""));
    let wat = format!(
        r#"(module
    (import "tidemill1" "timer" (func $timer (param i32 i64) (result i32)))
    (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
    (func (export "on_event") (result i32)
        (drop (call $timer (i32.const {id}) (i64.const 500)))
        (i32.const 0))
    (func (export "on_timer") (param i32) (result i32)
        (drop (call $emit (i32.const 0) (f64.convert_i32_s (local.get 0))))
        (i32.const 0))
    (@custom "tidemill.manifest" "{{\"abi\":1,\"config\":[{config}],\"state\":{{\"names\":{names}}}}}"))"#
    );
    wat.leak()
}

#[test]
fn timers_follow_their_names_and_none_of_another_key_falls_due() {
    let rule = |key: &str, wat| (keyed_rule(key), wat);
    let hold = waiting(1, "", r#"{"timers":[null,"hold"]}"#);
    let mut bench = Bench::new(&[rule("{topic}", hold)]);
    bench.event("s/a", "");
    // It has the number 3 now.
    let moved = waiting(3, "", r#"{"timers":[null,null,null,"hold"]}"#);
    let told = bench.redeploy(&[rule("{topic}", moved)]);
    assert_eq!(told, ["rule c: timer hold keeps its state"]);
    bench.at(600).expect(&["500 out/c/s/a 3"]);
    bench.event("s/a", "");
    let told = bench.redeploy(&[rule("{topic.1}", moved)]);
    assert_eq!(
        told,
        ["rule c: its key is another one; timer hold begins anew"]
    );
    bench.at(2_000).expect(&[]);
    bench.event("s/a", "");
    // One that no version has any more is dropped.
    let told = bench.redeploy(&[rule("{topic.1}", waiting(3, "", r#"{"timers":["other"]}"#))]);
    assert_eq!(
        told,
        ["rule c: timer other begins anew; timer hold is dropped"]
    );
    bench.at(4_000).expect(&[]);
}

#[test]
fn parameters_that_differ_are_told_with_what_becomes_of_the_state() {
    let config =
        r#"{"name":"limit","type":"f64","default":5},{"name":"for_ms","type":"f64","default":0}"#;
    let with = |params: &str, names: &str| {
        let text = rule("c", "mqtt = [\"s/+\"]");
        (
            format!("{text}\n[params]\n{params}"),
            waiting(1, config, names),
        )
    };
    let named = r#"{"timers":[null,"hold"]}"#;
    let mut bench = Bench::new(&[with("", named)]);
    let told = bench.redeploy(&[with("limit = 6.5\nfor = \"90s\"", named)]);
    assert_eq!(
        told,
        ["rule c: limit was 5, is 6.5; for was 0s, is 90s; timer hold keeps its state"]
    );
    let told = bench.redeploy(&[with("limit = 6.5", named)]);
    assert_eq!(
        told,
        ["rule c: for was 90s, is 0s; timer hold keeps its state"]
    );
    // Names that come later find all where it was.
    let mut bench = Bench::new(&[with("", "{}")]);
    let told = bench.redeploy(&[with("limit = 7", "{}")]);
    assert_eq!(told, ["rule c: limit was 5, is 7"]);
    bench.event("s/a", "");
    let told = bench.redeploy(&[with("limit = 7", named)]);
    assert_eq!(told, ["rule c: timer hold keeps its state"]);
    bench.at(600).expect(&["500 out/c/a 1"]);
}

/// Names and values that a rule keeps of the key of all.
fn kept(mill: &Mill) -> Vec<String> {
    let saved = mill.saved("w").unwrap();
    let Naming::Names(layout) = &saved.record.naming else {
        panic!("no names");
    };
    let Some(state) = saved.keys.get("all") else {
        return Vec::new();
    };
    let kept = state.entries.iter().map(|(name, value)| {
        let value = tidemill_values::to_json(&kept_value(value));
        format!("{} {value}", layout.names.of_entry(name).unwrap())
    });
    kept.collect()
}

#[test]
fn edits_and_removals_are_in_the_journal_and_come_back_as_they_were() {
    let sum = rule_of("SELECT acc_sum(n) AS s FROM input", "");
    let both = rule_of("SELECT lag(n) AS l, acc_sum(n) AS s FROM input", "");
    let mut gateway = durable::Gateway::new(&[sum]);
    gateway.event(1, false, "s/a", r#"{"n":4}"#);
    gateway.after(50).sync();
    assert_eq!(kept(&gateway.mill), ["acc_sum(n) [true,4,1]"]);
    gateway.rules = vec![both];
    // The deployment is durable before anything else happens; then only what it wrote is there.
    for _ in 0..3 {
        gateway.crash();
        gateway.sync();
        assert_eq!(kept(&gateway.mill), ["acc_sum(n) [true,4,1]"]);
    }
    gateway.event(2, false, "s/a", r#"{"n":5}"#);
    gateway.after(50).sync().crash();
    assert_eq!(kept(&gateway.mill), ["lag(n) [5]", "acc_sum(n) [true,9,2]"]);
    // A pond has the names as well.
    gateway.step(Input::Flush);
    gateway.sync().crash();
    assert_eq!(kept(&gateway.mill), ["lag(n) [5]", "acc_sum(n) [true,9,2]"]);
    let forget = |key: Option<&str>| Input::ForgetState {
        rule: "w".into(),
        key: key.map(Into::into),
    };
    gateway.step(forget(Some("other")));
    gateway.step(Input::ForgetState {
        rule: "no".into(),
        key: None,
    });
    assert_eq!(kept(&gateway.mill).len(), 2);
    gateway.step(forget(Some("all")));
    gateway.after(50).sync().crash();
    assert_eq!(kept(&gateway.mill), [""; 0]);
}

#[test]
fn what_is_taken_away_falls_due_no_more() {
    let session = "SELECT count(*) AS c FROM input GROUP BY SESSIONWINDOW(ss, 5, 1)";
    let mut bench = Bench::new(&[rule_of(session, "key = \"{topic.1}\"|")]);
    bench.event("s/a", r#"{"n":1}"#).event("s/b", r#"{"n":1}"#);
    bench.step(Input::ForgetState {
        rule: "w".into(),
        key: Some("a".into()),
    });
    bench.at(2_000).expect(&[r#"1000 out {"c":1}"#]);
    assert_eq!(bench.ledger("w").windows_given_up, 1);
    bench.event("s/a", r#"{"n":1}"#).event("s/b", r#"{"n":1}"#);
    bench.step(Input::ForgetState {
        rule: "w".into(),
        key: None,
    });
    bench.at(5_000).expect(&[]);
    assert_eq!(bench.mill.rules[0].keys.len(), 0);
}
