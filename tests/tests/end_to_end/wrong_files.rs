//! Wrong configurations and rules, as people write them: one run of `tidemill check` says each with
//! file, line and what to write, says nothing besides, and ends with 2.

use std::fs;
use std::path::Path;

use tidemill_tests::{Gateway, Ran, run};

const RULE: &str = "[on]\nmqtt = [\"sensors/+/env\"]\nkey = \"{topic.1}\"\n[function]\nstock = \"threshold\"\n\
     [params]\nlimit = 50\n[ports.out]\nto = \"local\"\ntopic = \"out/{key}\"\n";

/// A good gateway with one good rule. Nobody answers on its broker's port.
fn gateway() -> Gateway {
    let gateway = Gateway::new(1, "");
    gateway.rule("rule", RULE);
    gateway
}

fn check(gateway: &Gateway) -> Ran {
    let arguments = ["check", "--config", "agent.toml", "--offline"];
    run(&gateway.path(""), &arguments)
}

/// The check refuses the gateway with just these errors, in this order; each has the expected text.
#[track_caller]
fn refused(gateway: &Gateway, what: &str, expected: &[&str]) {
    let checked = check(gateway);
    assert_eq!(checked.code, Some(2), "{what}: {checked:?}");
    let said = checked
        .err
        .lines()
        .filter(|line| line.starts_with("error: "));
    let said: Vec<&str> = said.collect();
    assert_eq!(said.len(), expected.len(), "{what}:\n{}", checked.err);
    for (line, expected) in said.iter().zip(expected) {
        assert!(
            line.contains(expected),
            "{what}: no {expected:?} in\n{line}"
        );
    }
    for of_rust in [
        "u8",
        "u16",
        "u32",
        "u64",
        "usize",
        "variant",
        "sequence",
        "invalid type",
    ] {
        assert!(!checked.err.contains(of_rust), "{what}: {}", checked.err);
    }
}

#[track_caller]
fn change(file: &Path, right: &str, wrong: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(right), "{right}");
    fs::write(file, text.replacen(right, wrong, 1)).unwrap();
}

const URL: &str = "url = \"mqtt://127.0.0.1:1\"\n";

/// A right text, the wrong one in its place, and what is said. Lines after the address are from the seventh on.
const CONFIGURATIONS: &[(&str, &str, &[&str])] = &[
    (
        "\"gw\"",
        "\"my gateway\"",
        &["agent.toml:2:6: gateway.id has 1 to 64 letters"],
    ),
    (
        "\"gw\"",
        "7",
        &[":2:6: gateway.id: it is a text, in quotes; write id = \"7\""],
    ),
    (
        "id = \"gw\"\n",
        "",
        &[":1:1: missing key `id`; write id = \"gateway-1\" under [gateway]"],
    ),
    (
        "[gateway]",
        "[gatway]",
        &[":1:2: unknown key `gatway`; did you mean `gateway`?"],
    ),
    (
        "rules_dir",
        "rule_dir",
        &[":4:1: unknown key `rule_dir`; did you mean `rules_dir`?"],
    ),
    (
        "rules_dir",
        "rules-dir",
        &[":4:1: unknown key `rules-dir`; did you mean `rules_dir`?"],
    ),
    (
        "\"rules\"",
        "\"rulez\"",
        &["rulez: rules directory cannot be read"],
    ),
    (
        "mqtt://127",
        "127",
        &[":6:7: broker.url: \"127.0.0.1:1\" is no address of a broker; write mqtt://"],
    ),
    (
        "mqtt://127",
        "mqtt://u:hush@127",
        &[":6:7: broker.url: an address has no user name in it"],
    ),
    (
        "mqtt://",
        "http://",
        &[":6:7: broker.url: \"http://127.0.0.1:1\" is no address of a broker"],
    ),
    (
        "0.0.1:1",
        "0.0.1:99999",
        &[":6:7: broker.url: \"mqtt://127.0.0.1:99999\" has no valid host and port"],
    ),
    (
        URL,
        "url = [\"mqtt://h\"]\n",
        &[":6:7: broker.url: it is a text, in quotes; write url = \"mqtt://h\""],
    ),
    (
        URL,
        "",
        &[":5:1: missing key `url`; write url = \"mqtt://127.0.0.1:1883\" under [broker]"],
    ),
    (
        URL,
        "ulr = \"mqtt://h\"\n",
        &[":6:1: unknown key `ulr`; did you mean `url`?"],
    ),
    (
        URL,
        "host = \"h\"\nport = 1883\n",
        &[
            ":6:1: unknown key `host`; write `url`",
            ":7:1: unknown key `port`; write `url`",
        ],
    ),
    (
        "[broker]\nurl = \"mqtt://127.0.0.1:1\"\n",
        "",
        &["missing table `[broker]`; write [broker] and below it url ="],
    ),
    (
        "[broker]\n",
        "qos = 1\n[broker]\n",
        &[":5:1: unknown key `qos`; it belongs under [broker]"],
    ),
];

/// Lines behind the address of the broker, and what is said.
const LINES: &[(&str, &[&str])] = &[
    (
        "qos = 2",
        &[":7:7: broker.qos is 0 or 1; exactly-once needs no QoS 2"],
    ),
    (
        "qos = \"1\"",
        &[":7:7: broker.qos: it is a whole number from 0 on, without quotes; write qos = 1"],
    ),
    (
        "qos = -1",
        &[":7:7: broker.qos: it is a whole number from 0 on"],
    ),
    (
        "in_flight = 70000",
        &[":7:13: broker.in_flight lies between 1 and 4096"],
    ),
    (
        "keep_alive = 30",
        &[
            ":7:14: broker.keep_alive: it is a duration, a text with a unit; write keep_alive = \"30s\"",
        ],
    ),
    (
        "keep_alive = \"30\"",
        &["broker.keep_alive: \"30\" is no duration without a unit; write \"30s\""],
    ),
    (
        "keep_alive = \"2h\"",
        &["broker.keep_alive lies between 1s and 1h"],
    ),
    (
        "commit_interval = \"1 fortnight\"",
        &["broker.commit_interval: \"1 fortnight\" is no duration; write \"250ms\""],
    ),
    (
        "password = \"hush\"",
        &[":7:1: unknown key `password`; write `password_file`, the path of a file that holds"],
    ),
    (
        "user = \"u\"",
        &[":7:1: unknown key `user`; write `username`"],
    ),
    (
        "username = \"u\"\npassword_file = \"gone\"",
        &[":8:17: broker.password_file: "],
    ),
    (
        "password_file = \"agent.toml\"",
        &[":7:17: broker.password_file has no use without username"],
    ),
    (
        "protocol = 5",
        &["broker.protocol: it is one of \"auto\", \"5\", \"3.1.1\"; write protocol = \"5\""],
    ),
    (
        "protocol = \"3.1\"",
        &["broker.protocol: it is one of \"auto\", \"5\", \"3.1.1\"; write protocol = \"3.1.1\""],
    ),
    (
        "packet_bytes_max = \"64 megs\"",
        &["broker.packet_bytes_max: \"64 megs\" is no size; write \"64KiB\""],
    ),
    (
        "packet_bytes_max = \"16MiB\"",
        &["broker.packet_bytes_max lies between 1KiB and 8MiB"],
    ),
    (
        "topic_bytes_max = 32",
        &["broker.topic_bytes_max lies between 64 and 65535"],
    ),
    (
        "ca_file = \"agent.toml\"",
        &["broker.ca_file: the connection is not encrypted"],
    ),
    (
        "envelope = \"yes\"",
        &["broker.envelope: it is true or false, without quotes; write envelope = true"],
    ),
    (
        "event_id = \"eid\"",
        &["broker.event_id: \"eid\" is neither \"user:NAME\""],
    ),
    (
        "outbox = { bytes = \"1KiB\" }",
        &["broker.outbox.bytes lies between 64KiB and 1TiB"],
    ),
    (
        "outbox = { when_full = \"drop\" }",
        &["broker.outbox.when_full: it is one of \"drop_oldest\""],
    ),
    ("outbox = 7", &["broker.outbox: it is a table"]),
    (
        "[destinations.local]\nurl = \"mqtt://h\"",
        &[":8:7: \"local\" is the broker of [broker]"],
    ),
    (
        "[destination.cloud]\nurl = \"mqtt://h\"",
        &[":7:2: unknown key `destination`; did you mean `destinations`?"],
    ),
    (
        "[destinations]\ncloud = \"mqtt://h\"",
        &[":8:9: destinations.cloud: it is a table; write [destinations.cloud]"],
    ),
    (
        "[destinations.\"a b\"]\nurl = \"mqtt://h\"",
        &["a destination's name has 1 to 64 letters"],
    ),
    (
        "[destinations.c]\nurl = \"mqtt://h\"\ntoken_file = \"agent.toml\"",
        &["destinations.c.token_file: MQTT knows no tokens"],
    ),
    (
        "[destinations.c]\nurl = \"http://h\"\nin_flight = 7\nenvelope = true",
        &[
            "destinations.c.in_flight: only brokers",
            "destinations.c.envelope: only brokers",
        ],
    ),
    (
        "[destinations.c]\nurl = \"http://h\"\nalarm_after = \"0s\"",
        &["destinations.c.alarm_after lies between 1s and 30d"],
    ),
    (
        "[destinations.c]\nurl = \"ftp://h\"",
        &["destinations.c.url: \"ftp://h\" is no address of a destination"],
    ),
    (
        "[limits]\nfuel = \"lots\"",
        &["limits.fuel: it is a whole number from 0 on, without quotes; write fuel = 1000000"],
    ),
    (
        "[limits]\nmemory = 16",
        &[":8:1: unknown key `memory`; [limits] has `module_bytes`, `value_bytes`, `memory_pages`"],
    ),
    (
        "[limits]\nstate_bytes = \"1KB\"",
        &["limits.state_bytes lies between 1KiB and 64MiB"],
    ),
    (
        "[journal]\nsegment_bytes = \"65MiB\"",
        &["journal.segment_bytes lies between 1MiB and 64MiB"],
    ),
    (
        "[recorder]\ndisk = -1",
        &["recorder.disk: it is a number of bytes, or a text with a unit; write disk = \"64MiB\""],
    ),
    (
        "[outbox]\ndiscard = \"old\"",
        &["outbox.discard: it is a list of texts; write discard = [\"old\"]"],
    ),
    (
        "qos = 1\nqos = 1",
        &[":8:1: this is no TOML: duplicate key; a name stands once"],
    ),
    (
        "[limits]\nfuel = 500000\n[limits]\nkeys = 7",
        &[":9:2: this is no TOML: duplicate key; a name stands once"],
    ),
    ("[limits\nfuel = 7", &[":7:"]),
    ("qos: 1", &["agent.toml:7:"]),
    ("username = “u”", &["agent.toml:7:"]),
    ("username = u", &["agent.toml:7:"]),
    // Several at once.
    (
        "qos = 3\nkeep_alive = 5\n[limits]\nfuel = 0\nkees = 7\n[destinations.c]\nurl = \"c\"\n[rules]\nx = 1",
        &[
            ":7:7: ",
            ":8:14: ",
            ":10:8: ",
            ":11:1: unknown key `kees`; did you mean `keys`?",
            ":13:7: ",
            ":14:2: unknown key `rules`",
        ],
    ),
];

const RULES: &[(&str, &str, &[&str])] = &[
    (
        "\"rule\"",
        "\"Hot Rule\"",
        &[
            "rule.toml:1:8: name \"Hot Rule\": 1 to 64 of the characters a-z, 0-9 and -; write name = \"hot-rule\"",
        ],
    ),
    (
        "name = \"rule\"\n",
        "",
        &[":1:1: missing key `name`; write name = \"my-rule\" at the top of the file"],
    ),
    (
        "[on]",
        "version = \"2\"\n[on]",
        &[":2:11: version: it is a whole number from 0 on, without quotes; write version = 2"],
    ),
    (
        "[on]",
        "durability = \"exactly_once\"\n[on]",
        &["durability \"exactly_once\": write \"exactly-once\" or \"volatile\""],
    ),
    ("[on]", "[on", &["rule.toml:2:"]),
    (
        "[on]",
        "[On]",
        &[":2:2: unknown key `On`; did you mean `on`?"],
    ),
    (
        "[\"sensors/+/env\"]",
        "\"sensors/+/env\"",
        &[":3:8: on.mqtt: it is a list of texts; write mqtt = [\"sensors/+/env\"]"],
    ),
    (
        "[\"sensors/+/env\"]",
        "[]",
        &[":2:1: [on] names no trigger; write mqtt = [\"sensors/+/env\"]"],
    ),
    (
        "mqtt =",
        "topic =",
        &[":3:1: unknown key `topic`; write `mqtt`, a list of filters"],
    ),
    (
        "sensors/+",
        "sensors/e+",
        &[":3:9: on.mqtt \"sensors/e+/env\": the wildcard +"],
    ),
    (
        "sensors/+/env",
        "sensors/#/env",
        &[":3:9: on.mqtt \"sensors/#/env\": the wildcard #"],
    ),
    (
        "sensors/+/env",
        "$SYS/broker",
        &[":3:9: on.mqtt \"$SYS/broker\": topics that begin with $"],
    ),
    (
        "key = \"{topic.1}\"",
        "key = 1",
        &[":4:7: on.key: it is a text, in quotes; write key = \"1\""],
    ),
    (
        "key = \"{topic.1}\"",
        "key = \"\"",
        &[":4:7: on.key: a key cannot be empty"],
    ),
    (
        "{topic.1}",
        "{device}",
        &[":4:7: on.key: {device} is not known here; write {topic.1}"],
    ),
    (
        "{topic.1}",
        "{topic.1",
        &[":4:7: on.key: \"{topic.1\" has a { without its }"],
    ),
    (
        "[function]",
        "schedule = [\"*/5 * * * *\"]\n[function]",
        &["seconds come first here: write \"0 */5 * * * *\""],
    ),
    (
        "[function]",
        "schedule = [\"0 0 24 * * *\"]\n[function]",
        &["hour 24: they go from 0 to 23; midnight is 0"],
    ),
    (
        "[function]",
        "schedule = [\"every 10ms\"]\n[function]",
        &["\"every 10ms\" is shorter than a second"],
    ),
    (
        "[function]",
        "schedule = [\"every 5\"]\n[function]",
        &["\"5\" is no duration without a unit; write \"5s\""],
    ),
    (
        "[function]",
        "schedule = [\"0 0 0 30 2 *\"]\n[function]",
        &["never comes due"],
    ),
    (
        "[function]",
        "schedule = [\"@daily\"]\nzone = \"Berlin\"\n[function]",
        &["\"Berlin\" is no time zone; write a name such as"],
    ),
    (
        "\"threshold\"",
        "\"treshold\"",
        &["did you mean \"threshold\"?"],
    ),
    (
        "stock = \"threshold\"",
        "wasm = \"gone.wasm\"",
        &["gone.wasm: cannot be read"],
    ),
    (
        "stock = \"threshold\"",
        "stock = \"threshold\"\nsql = \"SELECT a FROM x\"",
        &["[function] has exactly one of"],
    ),
    (
        "stock = \"threshold\"",
        "query = \"SELECT a == 1 FROM x\"",
        &[
            ":6:1: unknown key `query`; write `sql`",
            ":6:19: == is no operator of SQL; write =",
        ],
    ),
    (
        "[function]\nstock = \"threshold\"\n",
        "",
        &["missing table `[function]`; write [function] and below it stock ="],
    ),
    (
        "limit = 50",
        "limti = 50",
        &[
            "params.limit is missing",
            "params.limti: the function has no parameter \"limti\"",
        ],
    ),
    (
        "limit = 50",
        "limit = \"50\"",
        &["params.limit: the function wants a number"],
    ),
    (
        "limit = 50",
        "limit = [50]",
        &["params.limit: a parameter is a finite number"],
    ),
    (
        "\"local\"",
        "\"locale\"",
        &[
            "ports.out.to: the gateway has no destination \"locale\", it has local; did you mean \"local\"?",
        ],
    ),
    (
        "to = \"local\"\n",
        "",
        &[":9:1: missing key `to`; write to = \"local\" under [ports.out]"],
    ),
    (
        "topic = \"out",
        "topics = \"out",
        &[":11:1: unknown key `topics`; did you mean `topic`?"],
    ),
    ("out/{key}", "out/#", &[":11:9: ports.out.topic: "]),
    (
        "out/{key}",
        "out/{device}",
        &[":11:9: ports.out.topic: {device} is not known here; a topic may hold {key}"],
    ),
    (
        "out/{key}",
        "out/{topic.7}",
        &["no topic that triggers the rule has a level 7"],
    ),
    (
        "out/{key}",
        "sensors/{key}/env",
        &[":11:9: ports.out.topic: the rule would feed itself"],
    ),
    (
        "[ports.out]",
        "[port.out]",
        &[":9:2: unknown key `port`; did you mean `ports`?"],
    ),
    (
        "[ports.out]",
        "[ports.uot]",
        &[
            "ports.out is missing",
            "ports.uot: the function has no port \"uot\", it has out, clear; did you mean \"out\"?",
        ],
    ),
    (
        "to = \"local\"",
        "to = \"local\"\nqos = 3",
        &["ports.out.qos is 0 or 1"],
    ),
    (
        "to = \"local\"",
        "to = \"local\"\nretain = \"true\"",
        &["ports.out.retain: it is true or false, without quotes; write retain = true"],
    ),
    (
        "to = \"local\"",
        "to = \"local\"\npriority = \"urgent\"",
        &["write \"high\" or \"normal\""],
    ),
    (
        "[function]",
        "[window]\ntumbling = 60\n[function]",
        &["window.tumbling: it is a duration, a text with a unit; write tumbling = \"60s\""],
    ),
    (
        "[function]",
        "[window]\ntumbling = \"1m\"\n[function]",
        &["window"],
    ),
    (
        "[function]",
        "[limits]\nstate_bytes = \"64MiB\"\n[function]",
        &["limits.state_bytes: a rule may only lower the gateway's limit, which is 1048576"],
    ),
    (
        "[function]",
        "[inputs]\nvalue = \"temperature\"\n[function]",
        &["inputs.value: \"temperature\" is no JSON pointer; write \"/temperature\""],
    ),
    (
        "[function]",
        "[streams.s]\ntimestamp = \"ts\"\n[function]",
        &["streams.s.timestamp: \"ts\" is no JSON pointer; write \"/ts\""],
    ),
    (
        "[function]",
        "[streams.s]\npayload = \"jsn\"\n[function]",
        &["did you mean \"json\"?"],
    ),
    (
        "[function]",
        "[streams.s]\nlateness = \"5s\"\n[function]",
        &["streams.s.lateness: needs the time of the events"],
    ),
    (
        "[function]",
        "[streams.s]\nfields = { a = \"flaot\" }\n[function]",
        &["did you mean \"float\"?"],
    ),
    (
        "stock = \"threshold\"\n[params]\nlimit = 50",
        "sql = \"SELECT a FROM x WHERE a > 1 && b > 1\"",
        &[":6:36: && is no operator of SQL; write AND"],
    ),
    (
        "stock = \"threshold\"\n[params]\nlimit = 50",
        "sql = \"SELECT avg(a) AS a FROM x GROUP BY TUMBLINGWINDOW(1m)\"",
        &["the unit of a window stands first; write TUMBLINGWINDOW(mi, 1)"],
    ),
    (
        "stock = \"threshold\"\n[params]\nlimit = 50",
        "sql = \"SELECT uper(a) AS a FROM x\"",
        &["there is no function uper; did you mean upper?"],
    ),
    (
        "limit = 50",
        "limit = 50\nfor = 300",
        &["rule.toml:9:7: params.for: it is a duration, a text with a unit; write for = \"300s\""],
    ),
    (
        "limit = 50",
        "limit = 50\nfor = \"5x\"",
        &["params.for: \"5x\" is no duration; write \"250ms\""],
    ),
    (
        "limit = 50",
        "limit = 50\nfor = \"-5m\"",
        &["params.for: \"-5m\" is no duration"],
    ),
    (
        "limit = 50",
        "limit = 50\nfor = \"12y\"",
        &["params.for: it is from 0s to 3650d"],
    ),
    (
        "limit = 50",
        "limit = 50\nfor_ms = -1",
        &["params.for_ms: it is from 0s to 3650d"],
    ),
    (
        "limit = 50",
        "limit = 50\nfor_ms = \"5m\"",
        &[
            "params.for_ms: the function wants a number of milliseconds; write for = \"5m\" for a duration",
        ],
    ),
    (
        "limit = 50",
        "limit = 50\nfor = \"5m\"\nfor_ms = 1",
        &["params.for: for_ms says the same; write one of the two"],
    ),
    (
        "limit = 50",
        "limit = 50\nclear_fr = \"5m\"",
        &[
            "params.clear_fr: the function has no parameter \"clear_fr\", it has limit, hysteresis, below, repeat, for, clear_for; did you mean \"clear_for\"?",
        ],
    ),
    (
        "stock = \"threshold\"\n[params]\nlimit = 50",
        "stock = \"silence\"",
        &[
            "ports.silent is missing: write [ports.silent]",
            "params.for is missing: the function needs it; write for = \"5m\" under [params]",
            "ports.out: the function has no port \"out\", it has silent, back",
        ],
    ),
    (
        "stock = \"threshold\"\n[params]\nlimit = 50\n[ports.out]",
        "stock = \"silence\"\n[params]\nfor = \"0s\"\n[ports.back]",
        &["params.for: it is from 1ms to 3650d"],
    ),
    (
        "limit = 50\n[ports.out]\nto = \"local\"\ntopic = \"out/{key}\"",
        "limit = 50\nfor = \"1m\"\n[ports.out]\nto = \"local\"\ntopic = \"out/{topic}\"",
        &[
            "ports.out.topic: no event causes what is sent when a wait is over, so there is no {topic}; write {key}",
        ],
    ),
    (
        "[function]",
        "zone = \"Europe/Berlin\"\n[function]",
        &[":5:8: on.zone: it is the zone of schedules, and there are none"],
    ),
    (
        "[function]",
        "schedule = [\"0 0 7 * * *\"]\nzone = \"Europe/Berlni\"\n[function]",
        &["Europe/Berlni"],
    ),
    (
        "[function]",
        "[streams.s]\nzone = \"Europe/Berlni\"\n[function]",
        &[
            "streams.s.zone \"Europe/Berlni\": it is no name of the time zone database, such as Europe/Berlin; did you mean Europe/Berlin?",
        ],
    ),
];

#[test]
fn each_wrong_configuration_is_found_by_one_run_of_check() {
    for (right, wrong, expected) in CONFIGURATIONS {
        let gateway = gateway();
        change(&gateway.path("agent.toml"), right, wrong);
        refused(&gateway, wrong, expected);
    }
    for (lines, expected) in LINES {
        let gateway = gateway();
        change(&gateway.path("agent.toml"), URL, &format!("{URL}{lines}\n"));
        refused(&gateway, lines, expected);
    }
}

#[test]
fn each_wrong_rule_is_found_by_one_run_of_check() {
    for (right, wrong, expected) in RULES {
        let gateway = gateway();
        change(&gateway.path("rules/rule.toml"), right, wrong);
        refused(&gateway, wrong, expected);
    }
}

#[test]
fn a_file_that_is_no_text_as_it_should_be_is_named() {
    let agent = |bytes: &[u8], expected: &str| {
        let gateway = gateway();
        fs::write(gateway.path("agent.toml"), bytes).unwrap();
        refused(&gateway, expected, &[expected]);
    };
    agent(b"", "agent.toml: says nothing; write [gateway]");
    agent(b"# nothing\n", "agent.toml: says nothing; write [gateway]");
    agent(
        b"[gateway]\nid = \"g\xe4\"\n",
        "agent.toml:2:8: a character that is no UTF-8; save the file as UTF-8",
    );
    agent(
        b"\xff\xfe[\0g\0",
        "agent.toml:1:1: this is text in UTF-16; save it as UTF-8",
    );
    let rule = |bytes: &[u8], expected: &str| {
        let gateway = gateway();
        fs::write(gateway.path("rules/rule.toml"), bytes).unwrap();
        refused(&gateway, expected, &[expected]);
    };
    rule(b"", "rule.toml: says nothing; write name = ");
    rule(
        b"name = \"\xe4\"\n",
        "rule.toml:1:9: a character that is no UTF-8",
    );
    let gateway = gateway();
    fs::remove_file(gateway.path("agent.toml")).unwrap();
    refused(
        &gateway,
        "gone",
        &["agent.toml: cannot be read: No such file"],
    );
}

#[test]
fn the_mark_that_editors_put_in_front_does_no_harm() {
    let gateway = gateway();
    for file in ["agent.toml", "rules/rule.toml"] {
        let text = fs::read_to_string(gateway.path(file)).unwrap();
        fs::write(gateway.path(file), format!("\u{feff}{text}")).unwrap();
    }
    let checked = check(&gateway);
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[test]
fn errors_of_all_files_are_said_in_one_run() {
    let gateway = gateway();
    change(&gateway.path("agent.toml"), "\"gw\"", "7");
    change(&gateway.path("rules/rule.toml"), "key =", "kee =");
    gateway.rule("rule2", &RULE.replace("limit = 50", "limit = \"50\""));
    gateway.rule("rule3", RULE);
    change(&gateway.path("rules/rule3.toml"), "rule3", "rule");
    refused(
        &gateway,
        "several files",
        &[
            "agent.toml:2:6: ",
            "rule.toml:4:1: ",
            "rule2.toml:8:9: ",
            "rule3.toml: name \"rule\" is taken by ",
        ],
    );
    // Also those behind a mistake of the same file: where it does not fit its function.
    let text = RULE.replace("limit = 50", "limit = 50\nlimt = 3\nhysteresis = \"x\"");
    gateway.rule(
        "rule3",
        &text.replace("key = \"{topic.1}\"", "key = \"{topic.x}\"\nkee = 5"),
    );
    gateway.rule(
        "rule2",
        &text
            .replace("[ports.out]", "[ports.outt]")
            .replace("out/{key}", "out/{no}"),
    );
    refused(
        &gateway,
        "behind each other",
        &[
            "agent.toml:2:6: ",
            "rule.toml:4:1: ",
            "rule2.toml:9:8: params.limt: the function has no parameter \"limt\"",
            "rule2.toml:10:14: params.hysteresis: the function wants a number",
            "rule2.toml:11:1: ports.outt: the function has no port \"outt\"",
            "rule2.toml:13:9: ports.outt.topic: {no}",
            "rule3.toml:4:7: on.key: {topic.x}",
            "rule3.toml:5:1: unknown key `kee`",
            "rule3.toml:10:8: params.limt: ",
            "rule3.toml:11:14: params.hysteresis: ",
        ],
    );
}

/// Lines of a gateway that may start and cannot work as meant, and what `check` warns of.
#[test]
fn what_can_never_work_is_warned_of() {
    let rule = |right: &str, wrong: &str, expected: &str| {
        let gateway = gateway();
        change(&gateway.path("rules/rule.toml"), right, wrong);
        warned(&gateway, expected);
    };
    rule(
        "\"{topic.1}\"",
        "\"device\"",
        "rule.toml:4:7: on.key: every event has the key \"device\"; write \"/device\" for a value",
    );
    rule(
        "\"{topic.1}\"",
        "\"topic.1\"",
        "rule.toml:4:7: on.key: every event has the key \"topic.1\"; write {topic.1}",
    );
    rule(
        "{topic.1}",
        "{topic.5}",
        "rule.toml:4:7: on.key: topics of sensors/+/env have the levels 0 to 2, and no level 5: every event is a dead letter",
    );
    rule(
        "out/{key}",
        "out/key",
        "rule.toml:11:9: ports.out.topic: \"key\" is sent as it stands; write {key}",
    );
    let config = |lines: &str, expected: &str| {
        let gateway = gateway();
        change(&gateway.path("agent.toml"), URL, &format!("{URL}{lines}\n"));
        warned(&gateway, expected);
    };
    config(
        "[destinations.cloud]\nurl = \"http://cloud.example/in\"",
        "agent.toml:8:7: destinations.cloud: no rule sends to it; write to = \"cloud\"",
    );
    config(
        "[http]\nlisten = 80",
        "agent.toml:7:1: http: this version has no HTTP server",
    );
    let with = gateway();
    change(
        &with.path("agent.toml"),
        "127.0.0.1:1\"",
        "127.0.0.1:8883\"",
    );
    warned(
        &with,
        "agent.toml:6:7: broker.url: 8883 is the port for TLS; write mqtts://",
    );
    let with = gateway();
    fs::write(with.path("rules/lamp.sql"), "SELECT a FROM x").unwrap();
    warned(&with, "rules/lamp.sql: no rule uses it");
    let with = gateway();
    fs::write(with.path("file"), "").unwrap();
    change(&with.path("agent.toml"), "\"data\"", "\"file\"");
    warned(&with, "gateway.data_dir: ");
    let with = gateway();
    fs::remove_file(with.path("rules/rule.toml")).unwrap();
    warned(&with, "no rules (*.toml) in ");
    // All on purpose.
    let with = gateway();
    change(&with.path("rules/rule.toml"), "\"{topic.1}\"", "\"all\"");
    let checked = check(&with);
    assert!(checked.out.ends_with("all is well\n"), "{checked:?}");
}

#[track_caller]
fn warned(gateway: &Gateway, expected: &str) {
    let checked = check(gateway);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let warnings = checked
        .out
        .lines()
        .filter(|line| line.starts_with("warning: "));
    let warnings: Vec<&str> = warnings.collect();
    assert_eq!(warnings.len(), 1, "{checked:?}");
    assert!(
        warnings[0].contains(expected),
        "no {expected:?} in {checked:?}"
    );
    assert!(
        checked.out.ends_with("nothing is wrong, 1 warning\n"),
        "{checked:?}"
    );
}

#[test]
fn an_address_that_nobody_answers_at_is_warned_of() {
    let gateway = gateway();
    let config = "[destinations.cloud]\nurl = \"http://no-such-host.invalid\"\n";
    change(&gateway.path("agent.toml"), URL, &format!("{URL}{config}"));
    change(&gateway.path("rules/rule.toml"), "\"local\"", "\"cloud\"");
    let checked = run(&gateway.path(""), &["check", "--config", "agent.toml"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    for expected in [
        "agent.toml:6:7: broker.url: nothing answers at 127.0.0.1:1 (",
        "agent.toml:8:7: destinations.cloud: the name no-such-host.invalid cannot be looked up (DNS: ",
    ] {
        assert!(checked.out.contains(expected), "{checked:?}");
    }
}
