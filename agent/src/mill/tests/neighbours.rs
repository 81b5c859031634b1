//! Rules that an event reaches together: none lives at the expense of another, whatever its name.

use super::*;

const MB: usize = 1_000_000;

/// Sends a message of as many bytes as the payload says under the rule's name.
fn sender(name: &str) -> String {
    format!(
        r#"(module
        (import "tidemill1" "emit" (func $emit (param i32 i32 i32) (result i32)))
        (memory (export "memory") 64)
        (func (export "f") (param f64) (result i32)
            (if (call $emit (i32.const 0) (i32.const 0) (i32.trunc_f64_u (local.get 0)))
                (then (unreachable)))
            (i32.const 0))
        (@custom "tidemill.manifest" "{{\"abi\":1,\"inputs\":[{{\"pointer\":\"/{name}\",\"type\":\"f64\",\"default\":0}}]}}"))"#
    )
}

/// Limits that leave the bytes of an event as the only bound.
fn wide() -> FunctionLimits {
    FunctionLimits {
        memory_pages: 64,
        fuel: 100_000_000,
        emission_bytes: 4 << 20,
        ..FunctionLimits::default()
    }
}

/// Outcome of one event that makes rules send so much: for each its name and `sent` or `dead`.
fn outcome(asked: &[(&str, usize)], edit: impl Fn(&str, String) -> String) -> Vec<String> {
    let wats: Vec<String> = asked.iter().map(|(name, _)| sender(name)).collect();
    let rules: Vec<(String, &str)> = asked
        .iter()
        .zip(&wats)
        .map(|((name, _), wat)| (edit(name, rule(name, "mqtt = [\"s/+\"]")), &**wat))
        .collect();
    let mut bench = Bench::within(wide(), &rules);
    let fields: Vec<String> = asked.iter().map(|(n, b)| format!("\"{n}\":{b}")).collect();
    bench.event("s/a", &format!("{{{}}}", fields.join(",")));
    let said = |name: &str| {
        let ledger = bench.ledger(name);
        assert!(ledger.balances());
        match (ledger.emitting, ledger.dead, ledger.emissions) {
            (1, 0, 1) => format!("{name} sent"),
            (0, 1, 0) => format!("{name} dead"),
            other => panic!("{name}: {other:?}"),
        }
    };
    let costly = bench.said.matches("dead: event too costly").count();
    let outcome: Vec<String> = asked.iter().map(|(name, _)| said(name)).collect();
    let dead = outcome.iter().filter(|line| line.ends_with("dead")).count();
    assert_eq!(costly, dead);
    outcome
}

#[track_caller]
fn check(asked: [(usize, &str); 2]) {
    for names in [["aa", "nb"], ["zz", "nb"]] {
        let [(first, one), (second, other)] = asked;
        let expected = [(names[0], one), (names[1], other)].map(|(n, how)| format!("{n} {how}"));
        let asked = [(names[0], first), (names[1], second)];
        assert_eq!(outcome(&asked, |_, manifest| manifest), expected);
        let volatile =
            |_: &str, manifest: String| manifest.replace("[on]", "durability = \"volatile\"\n[on]");
        assert_eq!(outcome(&asked, volatile), expected, "volatile");
    }
}

#[test]
fn each_rule_has_its_part_for_sure_and_what_is_left_goes_round() {
    check([(4 * MB, "sent"), (10, "sent")]);
    check([(3 * MB, "sent"), (MB, "sent")]);
    check([(4 * MB, "dead"), (2 * MB, "sent")]);
    check([(4 * MB, "dead"), (300_000, "sent")]);
    // Of three, the third of one that needs little goes to the two others in equal parts.
    for names in [["a", "b", "c"], ["c", "b", "a"], ["b", "a", "c"]] {
        let needs = [1_900_000, 10, 3 * MB];
        let asked: Vec<_> = names.into_iter().zip(needs).collect();
        let expected = [(names[0], "sent"), (names[1], "sent"), (names[2], "dead")];
        let expected = expected.map(|(name, how)| format!("{name} {how}"));
        assert_eq!(outcome(&asked, |_, manifest| manifest), expected);
    }
}

#[test]
fn of_rules_that_need_more_than_their_part_another_one_is_served_with_each_event() {
    let wats = [sender("aa"), sender("nb")];
    let rules = ["aa", "nb"].map(|name| rule(name, "mqtt = [\"s/+\"]"));
    let rules: Vec<_> = rules.into_iter().zip(&wats).collect();
    let rules: Vec<_> = rules.into_iter().map(|(m, wat)| (m, &**wat)).collect();
    let mut bench = Bench::within(wide(), &rules);
    let payload = format!("{{\"aa\":{},\"nb\":{}}}", 3 * MB, 3 * MB);
    for _ in 0..6 {
        bench.event("s/a", &payload);
    }
    for name in ["aa", "nb"] {
        let ledger = bench.ledger(name);
        assert_eq!((ledger.emitting, ledger.dead), (3, 3), "{name}");
    }
}

#[test]
fn a_call_that_fails_costs_its_neighbours_nothing() {
    for failing in ["aa", "zz"] {
        let wats = [sender(failing), sender("nb")];
        let fails = rule(failing, "mqtt = [\"s/+\"]").replace("{key}", "{payload:/none}");
        let rules = [
            (fails, &*wats[0]),
            (rule("nb", "mqtt = [\"s/+\"]"), &*wats[1]),
        ];
        let mut bench = Bench::within(wide(), &rules);
        let payload = format!("{{\"{failing}\":{},\"nb\":{}}}", 2 * MB, 4 * MB);
        bench.event("s/a", &payload);
        assert_eq!(bench.ledger("nb").emitting, 1, "{}", bench.said);
        assert_eq!(bench.ledger(failing).dead, 1);
    }
}

#[test]
fn many_rules_on_a_topic_that_need_little_are_all_served() {
    let names: Vec<String> = (0..200).map(|n| format!("r{n}")).collect();
    let wats: Vec<String> = names.iter().map(|name| sender(name)).collect();
    let rules: Vec<(String, &str)> = names
        .iter()
        .zip(&wats)
        .map(|(name, wat)| (rule(name, "mqtt = [\"s/+\"]"), &**wat))
        .collect();
    let mut bench = Bench::within(wide(), &rules);
    // The part of each is some 20 KB.
    let fields: Vec<String> = (0..200).map(|n| format!("\"r{n}\":{}", n * 200)).collect();
    bench.event("s/a", &format!("{{{}}}", fields.join(",")));
    for name in &names {
        assert_eq!(bench.ledger(name).emitting, 1, "{name}");
    }
}
