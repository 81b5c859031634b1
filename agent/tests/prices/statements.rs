//! Honest statements and hostile messages: each is worked on, refused or a dead letter, and none takes the gateway's memory.

use tidemill::config::limits::FunctionLimits;
use tidemill::event::Event;
use tidemill::event::clock::Now;
use tidemill::install::{Installer, subscriptions};
use tidemill::mill::{Deployment, Input, Mill, Output};
use tidemill::rule::{Gateway, Rule};
use tidemill_base::text::Source;
use tidemill_transport::topic::Topic;

use super::MOST;
use super::heap::measured;

fn mill(sql: &str, streams: &str) -> Mill {
    let limits = FunctionLimits::default();
    let gateway = Gateway {
        id: "gw",
        destinations: None,
        limits: &limits,
    };
    let on = if streams.is_empty() {
        "[on]\nmqtt = [\"s/#\"]\n"
    } else {
        ""
    };
    let text = format!(
        "name = \"w\"\n{on}{streams}[function]\nsql = '''{sql}'''\n[ports.out]\nto = \"local\"\ntopic = \"out\"\n"
    );
    let source = Source {
        path: "w.toml".into(),
        text,
    };
    let rule = Rule::parse(source, &gateway).unwrap_or_else(|errors| panic!("{errors}"));
    let rule = Installer::new(&limits).install(rule, &["local"]);
    let rules = vec![rule.unwrap_or_else(|errors| panic!("{sql}: {errors}"))];
    let subscriptions = subscriptions(&rules, &[]);
    let mut mill = Mill::new();
    let deployment = Deployment {
        rules,
        subscriptions,
    };
    mill.deploy(now(0), deployment, &mut Vec::new()).unwrap();
    mill
}

fn now(ms: u64) -> Now {
    Now {
        mono_ms: 10_000 + ms,
        wall_ms: 1_700_000_000_000 + ms.cast_signed(),
        ..Now::default()
    }
}

/// A statement, what its sensors send, and how often.
struct Hostile {
    sql: String,
    payload: String,
    times: usize,
}

fn repeated(part: &str, count: usize, between: &str) -> String {
    vec![part; count].join(between)
}

fn numbered(count: usize, each: impl Fn(usize) -> String) -> String {
    (0..count).map(each).collect::<Vec<_>>().join(",")
}

fn hostile() -> Vec<Hostile> {
    let once = |sql: String, payload: String| Hostile {
        sql,
        payload,
        times: 1,
    };
    let many = |sql: &str, payload: String, times: usize| Hostile {
        sql: sql.to_owned(),
        payload,
        times,
    };
    let likes = numbered(20, |n| format!("t LIKE p AS l{n}"));
    let regexps = numbered(20, |n| format!("regexp_matches(t, '(a|b{n})*c') AS r{n}"));
    let slices = numbered(100, |n| format!("a[{n}:{}] AS s{n}", n + 200_000));
    let absent = numbered(200, |n| format!("absent{n}"));
    let lists = |element: &str, bytes: usize| {
        format!(
            "{{\"a\":[{}]}}",
            repeated(element, bytes / (element.len() + 1), ",")
        )
    };
    let names = numbered(5_000, |n| format!("\"n.{n}\""));
    let columns = numbered(6_000, |n| format!("\"c{n}\":{n}"));
    vec![
        once(
            format!("SELECT {likes} FROM s"),
            format!(
                "{{\"t\":\"{}\",\"p\":\"%{}b\"}}",
                "a".repeat(12_000),
                "a".repeat(11_000)
            ),
        ),
        once(
            format!("SELECT {likes} FROM s"),
            format!(
                "{{\"t\":\"{}\",\"p\":\"%_{}b%\"}}",
                "a".repeat(12_000),
                "a".repeat(11_000)
            ),
        ),
        once(
            format!("SELECT {regexps} FROM s"),
            format!("{{\"t\":\"{}\"}}", "ab".repeat(15_000)),
        ),
        once(
            "SELECT regexp_replace(t, '.*[^a]|a', 'xx') AS r FROM s".to_owned(),
            format!("{{\"t\":\"{}\"}}", "a".repeat(30_000)),
        ),
        once(
            "SELECT object_pick(o, n) AS p FROM s".to_owned(),
            format!("{{\"o\":{{\"n\":{{{columns}}}}},\"n\":[{names}]}}"),
        ),
        once(
            "SELECT *, unnest(a) AS x FROM s".to_owned(),
            lists("1", 60_000),
        ),
        once(
            "SELECT *, unnest(a) FROM s".to_owned(),
            lists("{\"x\":1}", 60_000),
        ),
        once(format!("SELECT {slices} FROM s"), lists("1", 600_000)),
        once(format!("SELECT {absent} FROM s"), format!("{{{columns}}}")),
        once(
            "SELECT * FROM s WHERE x = 1".to_owned(),
            lists("[]", 1_000_000),
        ),
        once(
            "SELECT * FROM s WHERE x = 1".to_owned(),
            lists("{}", 1_000_000),
        ),
        once(
            "SELECT repeat(a, cardinality(a)) AS r, repeat(true, 30 * cardinality(a)) AS t FROM s"
                .to_owned(),
            lists("0", 60_000),
        ),
        once(
            "SELECT array_concat(a, a, a, a, a, a) AS r, array_flatten(repeat(a, 40)) AS f FROM s"
                .to_owned(),
            lists("null", 60_000),
        ),
        once(
            "SELECT parse_json(t) AS j FROM s".to_owned(),
            format!("{{\"t\":\"[{}]\"}}", repeated("{}", 200_000, ",")),
        ),
        once(
            "SELECT items(o) AS i, obj_to_kvpair_array(o) AS k FROM s".to_owned(),
            format!("{{\"o\":{{{columns}}}}}"),
        ),
        once(
            "SELECT a FROM s".to_owned(),
            format!("{{\"a\":{}1{}}}", "[".repeat(120), "]".repeat(120)),
        ),
        many(
            "SELECT collect(*) AS all FROM s GROUP BY COUNTWINDOW(15)",
            lists("null", 60_000),
            15,
        ),
        many(
            "SELECT a, count(*) AS n FROM s GROUP BY a, COUNTWINDOW(15)",
            lists("[]", 30_000),
            15,
        ),
        many(
            "SELECT DISTINCT * FROM s GROUP BY COUNTWINDOW(100)",
            lists("0", 6_000),
            100,
        ),
        many(
            "SELECT a, b FROM s GROUP BY COUNTWINDOW(16000) ORDER BY a",
            "{\"a\":1,\"b\":null}".to_owned(),
            16_000,
        ),
        many(
            "SELECT lag(a) OVER (PARTITION BY a) AS l FROM s",
            lists("7", 60_000),
            3,
        ),
        many(
            "SELECT changed_cols('x', true, *) FROM s",
            format!("{{{columns}}}"),
            3,
        ),
        many(
            "SELECT merge_agg(*) AS m FROM s GROUP BY COUNTWINDOW(10)",
            format!("{{{columns}}}"),
            10,
        ),
    ]
}

fn work(mill: &mut Mill, case: &Hostile, out: &mut Vec<Output>) -> usize {
    let mut most = 0;
    for number in 0..case.times {
        let topic = Topic::new("s/d").unwrap();
        let event = Event::new(topic, case.payload.clone(), 1_700_000_000_000);
        let at = now(number as u64);
        let ((), heap) = measured(|| mill.step(at, Input::Events(vec![event]), out));
        most = most.max(heap.most);
        out.clear();
    }
    let ((), heap) = measured(|| mill.step(now(60_000), Input::Tick, out));
    most.max(heap.most)
}

#[test]
fn no_message_takes_the_memory_of_the_gateway_under_an_honest_statement() {
    let mut wrong = Vec::new();
    for case in hostile() {
        let mut mill = mill(&case.sql, "");
        let most = work(&mut mill, &case, &mut Vec::new());
        let (_, ledger) = mill.ledgers().next().unwrap();
        assert!(ledger.balances(), "{}: {ledger:?}", case.sql);
        println!(
            "{:9} bytes, {:9} units: {:.90}",
            most, ledger.fuel, case.sql
        );
        if most > MOST {
            wrong.push(format!("{most}: {:.90}", case.sql));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_statement_whose_constants_take_long_is_refused_by_name() {
    let mut nested = format!("'{}'", "a".repeat(200));
    for _ in 0..20 {
        nested = format!("regexp_replace({nested}, '((a?){{30}}){{30}}b', 'x')");
    }
    let sql = format!("SELECT {nested} AS x FROM s");
    let compiled = tidemill_sql::compile(&sql, &tidemill_sql::Options::default());
    let refused = compiled.map(drop).unwrap_err().message;
    assert!(refused.contains("takes too long"), "{refused}");
}
