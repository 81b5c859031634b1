//! State of rules that went away: so much of it is kept, and so long, and a replay forgets the same.

use super::durable::Gateway;
use super::*;

const DAY_MS: u64 = 24 * 3_600_000;

/// Keeps 60 KB for each key.
const HOARD: &str = r#"(module
    (import "tidemill1" "st_put" (func $put (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "on_event") (result i32)
        (if (call $put (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 60000))
            (then (unreachable)))
        (i32.const 0)))"#;

fn forgotten(gateway: &mut Gateway) -> Vec<String> {
    let said = std::mem::take(&mut gateway.said);
    let lines = said
        .lines()
        .filter(|line| line.starts_with("StateForgotten"));
    lines.map(str::to_owned).collect()
}

#[test]
fn of_rules_that_went_away_so_much_state_is_kept_and_so_long() {
    let names: Vec<String> = (0..20).map(|n| format!("r{n:02}")).collect();
    let rules: Vec<_> = names
        .iter()
        .map(|name| (rule(name, "mqtt = [\"s/+\"]"), HOARD))
        .collect();
    let mut gateway = Gateway::new(&rules);
    gateway.settle();
    for key in 0..17 {
        let event = Event::new(Topic::new(&format!("s/{key}")).unwrap(), "", 0);
        gateway.step(Input::Events(vec![event])).after(50).settle();
    }
    gateway.said.clear();
    // One went before the others, and comes first although its name does not.
    let stays = rules.get(..19).unwrap();
    gateway.deploy(stays);
    assert_eq!(forgotten(&mut gateway), [""; 0]);
    gateway.after(1_000).settle().deploy(&[]);
    let said = forgotten(&mut gateway);
    let names: Vec<&str> = said.iter().map(|line| &line[24..27]).collect();
    assert_eq!(names, ["r19", "r00", "r01", "r02"], "{said:?}");
    assert!(
        said[0].contains("keys: 17") && said[0].contains("16 MiB"),
        "{said:?}"
    );
    gateway.settle().crash().settle();
    gateway.deploy(&[rules[5].clone(), rules[0].clone()]);
    let kept = |gateway: &Gateway, name: &str| gateway.mill.saved(name).map(|s| s.keys.len());
    assert_eq!(
        (kept(&gateway, "r05"), kept(&gateway, "r00")),
        (Some(17), Some(0))
    );
    assert_eq!(
        (kept(&gateway, "r06"), kept(&gateway, "r01")),
        (Some(17), None)
    );
    gateway.said.clear();
    for days in [29, 2] {
        let event = Event::new(Topic::new("s/1").unwrap(), "", 0);
        gateway
            .step(Input::Events(vec![event]))
            .after(days * DAY_MS)
            .settle();
    }
    assert_eq!(forgotten(&mut gateway).len(), 15);
    gateway.settle().crash().settle();
    assert_eq!(
        (kept(&gateway, "r05"), kept(&gateway, "r06")),
        (Some(17), None)
    );
}

#[test]
fn a_rule_that_comes_back_in_time_goes_on_and_begins_a_new_time() {
    let rules = [(rule("r", "mqtt = [\"s/+\"]"), COUNTER)];
    let mut gateway = Gateway::new(&rules);
    gateway.event(1, false, "s/a", "").after(50).settle();
    for _ in 0..3 {
        gateway.deploy(&[]);
        gateway.after(20 * DAY_MS).settle().crash().settle();
        gateway.deploy(&rules);
        gateway.settle().said.clear();
    }
    gateway.event(2, false, "s/a", "").after(50).sync();
    assert!(gateway.said.contains("=2"), "{}", gateway.said);
}
