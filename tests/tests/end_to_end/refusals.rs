//! Wrong configurations and rules: `tidemill check` and `tidemill run` refuse them alike, with exit
//! code 2 and a line that names file, place and the way out.

use tidemill_tests::{Gateway, run};

use crate::support::rule;

const GOOD: &str = "[on]\nmqtt = [\"sensors/+/env\"]\nkey = \"{topic.1}\"\n[function]\nstock = \"threshold\"\n\
     [params]\nlimit = 50\n[ports.out]\nto = \"local\"\ntopic = \"out/{key}\"\n";

/// A gateway whose only rule is the good one. Nobody answers on its broker's port.
fn gateway() -> Gateway {
    let gateway = Gateway::new(1, "");
    gateway.rule("rule", GOOD);
    gateway
}

/// Checks that both commands refuse the gateway, and that each expected text stands in their
/// output.
#[track_caller]
fn check_refused(gateway: &Gateway, expected: &[&str]) {
    let checked = run(
        &gateway.path(""),
        &["check", "--config", "agent.toml", "--offline"],
    );
    assert_eq!(checked.code, Some(2), "{checked:?}");
    assert_eq!(checked.out, "");
    let (code, log) = gateway.run_another();
    assert_eq!(code, Some(2), "{log}");
    for said in [&checked.err, &log] {
        for text in expected {
            assert!(said.contains(text), "no {text:?} in\n{said}");
        }
    }
}

#[test]
fn a_gateway_in_order_is_described() {
    let gateway = gateway();
    let checked = run(
        &gateway.path(""),
        &["check", "--config", "agent.toml", "--offline"],
    );
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert_eq!(checked.err, "");
    for text in [
        "gateway gw: listens to 127.0.0.1:1\n  gw subscribes to sensors/+/env\n  \
         gw:local publishes to out/+, tidemill/v1/gateway/gw/gap\n",
        "rule rule version 1: ",
        "all is well\n",
    ] {
        assert!(checked.out.contains(text), "{checked:?}");
    }
}

#[test]
fn topics_that_follow_those_of_events_are_listed_with_what_the_rule_listens_to() {
    let gateway = Gateway::new(1, "");
    for (name, filters, topic) in [
        ("a", "\"sensors/+/env\", \"plant/#\"", "filtered/{topic}"),
        (
            "b",
            "\"$share/g/hall/+/door\"",
            "{topic.1}/{topic.0}/{topic.2}/open",
        ),
        ("c", "\"x/y\"", "last/{topic.1+}"),
    ] {
        let text = rule(filters, "stock = \"rate-limit\"", topic);
        gateway.rule(name, &text);
    }
    let checked = gateway.tidemill("check --offline");
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let list = "  gw:local publishes to +/hall/door/open, filtered/plant/#, filtered/sensors/+/env, last/y, \
                tidemill/v1/gateway/gw/gap\n";
    assert!(checked.out.contains(list), "{checked:?}");
}

#[test]
fn a_wrong_rule_is_refused_with_its_line_and_the_way_out() {
    for (right, wrong, expected) in [
        ("key =", "kee =", "rules/rule.toml:4:1: unknown key `kee`"),
        (
            "to = \"local\"",
            "to = \"locale\"",
            "rules/rule.toml:10:6: ports.out.to: the gateway has no destination \"locale\", it has local; did you mean \"local\"?",
        ),
        ("[ports.out]", "[ports.uot]", "rules/rule.toml:9:1: "),
        (
            "[ports.out]\nto = \"local\"\ntopic = \"out/{key}\"\n",
            "",
            "rules/rule.toml:",
        ),
        ("limit = 50", "", "rules/rule.toml:5:1: "),
        ("limit = 50", "limit = 50\nlimti = 3", "rules/rule.toml:9:"),
        (
            "\"threshold\"",
            "\"treshold\"",
            "did you mean \"threshold\"?",
        ),
        (
            "stock = \"threshold\"",
            "wasm = \"gone.wasm\"",
            "rules/gone.wasm: cannot be read: No such file",
        ),
        (
            "stock = \"threshold\"",
            "wasm = \"rule.toml\"",
            "rules/rule.toml:5:1: ",
        ),
        (
            "stock = \"threshold\"",
            "sql = \"SELECT 1\"",
            "rules/rule.toml:6:16: expected FROM, but the statement ends here",
        ),
        (
            "mqtt =",
            "schedule = [\"*/5 * * * *\"]\nmqtt =",
            "rules/rule.toml:3:13: on.schedule: \"*/5 * * * *\" has five fields; seconds come first here: write \"0 */5 * * * *\"",
        ),
        (
            "out/{key}",
            "sensors/{key}/env",
            "rules/rule.toml:11:9: ports.out.topic: the rule would feed itself, because it listens to sensors/+/env",
        ),
        (
            "out/{key}",
            "out/{device}",
            "rules/rule.toml:11:9: ports.out.topic: {device}",
        ),
        (
            "sensors/+/env",
            "sensors/#/env",
            "rules/rule.toml:3:9: on.mqtt \"sensors/#/env\": the wildcard # must be the last level",
        ),
        (
            "limit = 50",
            "limit = 50\n[limits]\nfuel = 9_999_999",
            "rules/rule.toml:10:8: limits.fuel: a rule may only lower the gateway's limit, which is 1000000",
        ),
        ("[on]", "[on", "rules/rule.toml:2:"),
    ] {
        assert!(GOOD.contains(right), "{right}");
        let gateway = gateway();
        gateway.rule("rule", &GOOD.replace(right, wrong));
        check_refused(&gateway, &[expected]);
    }
}

#[test]
fn a_wrong_configuration_is_refused_with_its_line_and_the_way_out() {
    for (right, wrong, expected) in [
        (
            "rules_dir",
            "rule_dir",
            "agent.toml:4:1: unknown key `rule_dir`",
        ),
        ("id = \"gw\"\n", "", "agent.toml:1:1: missing key `id`"),
        ("mqtt://", "mqttz://", "agent.toml:6:7: broker.url: "),
        (
            "127.0.0.1:1",
            "127.0.0.1:99999",
            "agent.toml:6:7: broker.url: ",
        ),
        (
            "[broker]",
            "[broker]\nqos = 2",
            "agent.toml:6:7: broker.qos is 0 or 1",
        ),
        (
            "[broker]",
            "[broker]\nprotocol = \"4\"",
            "agent.toml:6:12: broker.protocol: it is one of \"auto\", \"5\", \"3.1.1\"",
        ),
        (
            "[broker]",
            "[broker]\npassword_file = \"gone\"",
            "agent.toml:6:17: broker.password_file: ",
        ),
        (
            "\"rules\"",
            "\"rulez\"",
            "rulez: rules directory cannot be read: No such file or directory (os error 2); make it, or set gateway.rules_dir",
        ),
        ("[broker]", "[broker", "agent.toml:5:"),
    ] {
        let gateway = gateway();
        let config = std::fs::read_to_string(gateway.path("agent.toml")).unwrap();
        assert!(config.contains(right), "{right}");
        std::fs::write(gateway.path("agent.toml"), config.replacen(right, wrong, 1)).unwrap();
        check_refused(&gateway, &[expected]);
    }
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let gateway = gateway();
    std::fs::remove_file(gateway.path("agent.toml")).unwrap();
    check_refused(&gateway, &["agent.toml: cannot be read: No such file"]);
}

#[test]
fn a_name_that_two_rules_have_is_refused_with_both_files() {
    let gateway = gateway();
    let again = format!("name = \"rule\"\n{GOOD}");
    std::fs::write(gateway.path("rules/second.toml"), again).unwrap();
    check_refused(
        &gateway,
        &[
            "rules/second.toml",
            "name \"rule\" is taken by",
            "rules/rule.toml",
        ],
    );
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let gateway = gateway();
    gateway.rule("one", "[on]\n");
    gateway.rule("two", "[no]\n");
    check_refused(&gateway, &["rules/one.toml:", "rules/two.toml:2:"]);
}

#[test]
fn a_module_that_is_refused_is_named_with_the_reason() {
    for (module, expected) in [
        ("(module)", "no handler"),
        (
            "(module (func (export \"on_event\") (param i32) (result i32) (i32.const 0)))",
            "on_event",
        ),
        (
            "(module (import \"wasi_snapshot_preview1\" \"fd_write\" (func)) (func (export \"on_event\") (result i32) (i32.const 0)))",
            "fd_write",
        ),
        (
            "(module (import \"tidemill1\" \"emti\" (func)) (func (export \"on_event\") (result i32) (i32.const 0)))",
            "emti",
        ),
        (
            "(module (memory (export \"memory\") 17) (func (export \"on_event\") (result i32) (i32.const 0)))",
            "16",
        ),
        (
            "(module (func $s) (start $s) (func (export \"on_event\") (result i32) (i32.const 0)))",
            "start",
        ),
        (
            "(module (@custom \"tidemill.manifest\" \"{\\\"abi\\\":2}\") (func (export \"on_event\") (result i32) (i32.const 0)))",
            "abi",
        ),
        (
            "(module (@custom \"tidemill.manifest\" \"{\\\"abi\\\":1,\\\"inptus\\\":[]}\") (func (export \"on_event\") (result i32) (i32.const 0)))",
            "inptus",
        ),
        (
            "(module (@custom \"tidemill.manifest\" \"{\\\"abi\\\":1,\\\"tests\\\":[{\\\"in\\\":1,\\\"out\\\":[]}]}\") (func (export \"on_event\") (result i32) (i32.const 1)))",
            "test",
        ),
    ] {
        let gateway = gateway();
        gateway.module("bad", module);
        gateway.rule(
            "rule",
            &GOOD
                .replace("stock = \"threshold\"", "wasm = \"bad.wasm\"")
                .replace("[params]\nlimit = 50\n", ""),
        );
        check_refused(
            &gateway,
            &["rules/rule.toml:5:1: ", "rules/bad.wasm: ", expected],
        );
    }
}

#[test]
fn the_environment_overrides_the_configuration() {
    let mut gateway = gateway();
    gateway.variable("TIDEMILL_BROKER__QOS", "2");
    let (code, log) = gateway.run_another();
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("broker.qos is 0 or 1"), "{log}");
}
