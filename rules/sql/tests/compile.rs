//! Results of compiling statements: modules that validate and are small, or errors with a place.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is what it is for"
)]
use std::collections::BTreeMap;

use tidemill_sql::{Compiled, Options, SqlError, compile};
use tidemill_values::Value;
use wasmparser::{Parser, Payload, Validator};

fn built(sql: &str) -> Compiled {
    match compile(sql, &Options::default()) {
        Ok(compiled) => compiled,
        Err(error) => panic!("{sql}: {error}\n{}", error.excerpt(sql)),
    }
}

/// Bytes of a module without its manifest, and its imports.
fn outline(compiled: &Compiled) -> (usize, Vec<String>) {
    Validator::new().validate_all(&compiled.wasm).unwrap();
    let (mut manifest, mut imports) = (0, Vec::new());
    for payload in Parser::new(0).parse_all(&compiled.wasm) {
        match payload.unwrap() {
            Payload::CustomSection(section) => manifest += section.range().len(),
            Payload::ImportSection(section) => {
                imports.extend(
                    section
                        .into_iter()
                        .map(|import| import.unwrap().name.to_owned()),
                );
            }
            _ => {}
        }
    }
    (compiled.wasm.len() - manifest, imports)
}

#[test]
fn a_filter_of_numbers_is_small_and_calls_nothing() {
    let (bytes, imports) = outline(&built("SELECT * FROM input WHERE temperature > 50"));
    assert!(bytes < 80, "{bytes}");
    assert!(imports.is_empty());
    let sql = "SELECT device, temperature FROM input WHERE temperature > 50";
    let (bytes, _) = outline(&built(sql));
    assert!(bytes <= 300, "{bytes}");
    // If a float could change the result, the host compares values that are too large for one.
    for wide in ["a > b", "a + 1 > 5", "a > 9007199254740992"] {
        let sql = format!("SELECT * FROM input WHERE {wide}");
        let (_, imports) = outline(&built(&sql));
        assert!(imports.iter().any(|import| import == "v_op"), "{wide}");
    }
}

#[test]
fn a_mean_of_each_device_is_folded() {
    let sql =
        "SELECT device, avg(temperature) AS t FROM input GROUP BY device, TUMBLINGWINDOW(ss, 1)";
    let (bytes, imports) = outline(&built(sql));
    assert!(bytes <= 680, "{bytes}");
    assert!(!imports.iter().any(|import| import == "v_keep"));
    // An aggregate that needs the rows keeps them.
    let sql =
        "SELECT device, median(temperature) AS t FROM input GROUP BY device, TUMBLINGWINDOW(ss, 1)";
    let (_, imports) = outline(&built(sql));
    assert!(imports.iter().any(|import| import == "v_keep"));
}

#[test]
fn constants_are_worked_out_once() {
    let compiled = built("SELECT 3 * 4 + 1 AS a, upper(\"x\") AS b FROM input");
    let (_, imports) = outline(&compiled);
    assert_eq!(imports, ["v_set", "v_emit", "v_flush"]);
    let manifest = String::from_utf8_lossy(&compiled.wasm);
    assert!(
        manifest.contains(r#""values":["a",13,"b","X"]"#),
        "{manifest}"
    );
}

#[test]
fn parameters_become_part_of_the_statement() {
    let mut options = Options {
        params: BTreeMap::from([("limit".to_owned(), Value::Int(50))]),
        ..Options::default()
    };
    let sql = "SELECT * FROM input WHERE temperature > :limit";
    let compiled = compile(sql, &options).unwrap();
    assert!(outline(&compiled).1.is_empty());
    options.params.insert("other".to_owned(), Value::Int(1));
    let error = compile(sql, &options).unwrap_err();
    assert!(
        error.message.contains("params.other is not used"),
        "{error}"
    );
}

#[track_caller]
fn refused(sql: &str, place: &str, message: &str) {
    let error = compile(sql, &Options::default()).unwrap_err();
    let marked = sql.get(error.span.clone()).unwrap_or_default();
    assert_eq!(marked, place, "{sql}: {error}");
    assert!(error.message.contains(message), "{sql}: {error}");
}

#[test]
fn errors_point_at_the_place_and_say_what_would_be_right() {
    refused("SELECT uper(a) FROM x", "uper", "did you mean upper?");
    refused("SELECT a FROM x WHERE", "", "the statement ends here");
    refused("SELECT a b c FROM x", "c", "expected FROM");
    refused(
        "SELECT substring(a) FROM x",
        "substring",
        "takes 2 to 3 arguments, not 1",
    );
    refused(
        "SELECT a FROM x WHERE avg(a) > 1",
        "avg(a)",
        "written HAVING",
    );
    refused(
        "SELECT a FROM x WHERE a > :limit",
        ":limit",
        "there is no parameter limit",
    );
    refused(
        "SELECT count(*) FROM x GROUP BY a",
        "a",
        "GROUP BY needs a window",
    );
    refused("SELECT a FROM x JOIN y ON x.a = y.a", "y", "needs a window");
    refused(
        "SELECT a FROM x GROUP BY TUMBLINGWINDOW(s, 1)",
        "s",
        "a unit: mo, wk, dd, hh, mi, ss or ms",
    );
    refused(
        "SELECT a FROM x GROUP BY HOPPINGWINDOW(ss, 1)",
        ")",
        "how far it hops",
    );
    refused(
        "SELECT a FROM x GROUP BY TUMBLINGWINDOW(ss, 0)",
        "0",
        "from 10ms to 366 days",
    );
    refused("SELECT a FROM x WHERE a == 50", "==", "write =");
    refused("SELECT a FROM x WHERE a && b", "&&", "write AND");
    refused("SELECT a FROM x WHERE a || b", "||", "write OR");
    refused("SELECT a FROM x WHERE a => b", "=>", "write >=");
    refused("SELECT a FROM x WHERE a = “b”", "“", "straight quote");
    for (window, place, right) in [
        ("TUMBLINGWINDOW(1m)", "1", "write TUMBLINGWINDOW(mi, 1)"),
        (
            "tumblingwindow( 10s )",
            "10",
            "write TUMBLINGWINDOW(ss, 10)",
        ),
        ("TUMBLINGWINDOW(60)", "60", "write TUMBLINGWINDOW(ss, 60)"),
        ("TUMBLINGWINDOW(5, mi)", "5", "write TUMBLINGWINDOW(mi, 5)"),
        (
            "TUMBLINGWINDOW('5 min')",
            "'5 min'",
            "write TUMBLINGWINDOW(mi, 5)",
        ),
        ("TUMBLINGWINDOW(m, 1)", "m", "write mi"),
        (
            "HOPPINGWINDOW(1h, 5m)",
            "1",
            "write HOPPINGWINDOW(hh, 1, how far it hops)",
        ),
    ] {
        let sql = format!("SELECT avg(a) FROM x GROUP BY {window}");
        refused(&sql, place, right);
    }
    refused("SELECT \"a FROM x", "\"", "has no end");
    refused("SELECT sum(avg(a)) FROM x", "avg", "inside of another");
    refused(
        "SELECT a + 1 AS b, c AS a, b * 2 AS c FROM x",
        "a + 1",
        "b is made of aliases that are made of b",
    );
    refused(
        "SELECT 1 + row_number() OVER (ORDER BY a) AS n FROM x",
        "OVER (ORDER BY a)",
        "an item of its own",
    );
    refused(
        "SELECT lag(a) OVER (ORDER BY a) AS n FROM x",
        "a",
        "row_number alone",
    );
    refused(
        "SELECT upper(a) OVER (PARTITION BY b) FROM x",
        "OVER (PARTITION BY b)",
        "remembers",
    );
    refused(
        "SELECT a FROM x; SELECT b FROM y",
        "SELECT",
        "the end of the statement",
    );
    refused(
        "SELECT select FROM x",
        "select",
        "if it is the name of a column, write `select`",
    );
}

#[test]
fn statements_that_cannot_mean_what_they_say_are_refused() {
    let window = "GROUP BY TUMBLINGWINDOW(ss, 1)";
    let in_window = |what: &str| format!("SELECT avg(a) AS m FROM x {window} {what}");
    for (sql, place, what) in [
        (
            "SELECT a FROM x WHERE a != null",
            "a != null",
            "write IS NOT NULL",
        ),
        (
            "SELECT a FROM x WHERE b > 1 AND NULL = a",
            "NULL = a",
            "write IS NULL",
        ),
        (
            "SELECT CASE a WHEN NULL THEN 1 ELSE 2 END AS b FROM x",
            "CASE a WHEN NULL THEN 1 ELSE 2 END",
            "WHEN NULL never applies",
        ),
        ("SELECT a FROM x WHERE 1 > 2", "1 > 2", "never holds"),
        ("SELECT a FROM x WHERE 5", "5", "neither true nor false"),
        (&in_window("HAVING false"), "false", "HAVING never holds"),
        (&in_window("ORDER BY 1"), "1", "a constant"),
        (&in_window("LIMIT 0"), "0", "sends nothing"),
        (
            "SELECT a AS x, b AS x FROM demo",
            "b",
            "two columns are called x",
        ),
        ("SELECT node, group FROM demo", "group", "write `group`"),
        (
            "SELECT count(DISTINCT a) FROM demo",
            "DISTINCT",
            "array_distinct",
        ),
        (
            "SELECT percentile_cont(a, 95) AS p FROM x GROUP BY TUMBLINGWINDOW(ss, 1)",
            "95",
            "a share from 0 to 1",
        ),
        (
            "SELECT last_value(a, 1) AS l FROM x GROUP BY TUMBLINGWINDOW(ss, 1)",
            "1",
            "takes true or false",
        ),
        (
            "SELECT a FROM x GROUP BY SLIDINGWINDOW(ss, 0, 0)",
            "0",
            "needs a delay",
        ),
        (
            "SELECT a FROM x GROUP BY SLIDINGWINDOW(ss, 0)",
            "0",
            "from 10ms",
        ),
    ] {
        refused(sql, place, what);
    }
    // A condition that a parameter decides is the owner's business.
    let options = Options {
        params: BTreeMap::from([("on".to_owned(), Value::Bool(false))]),
        ..Options::default()
    };
    assert!(compile("SELECT a FROM x WHERE :on", &options).is_ok());
    built("SELECT DISTINCT a FROM x");
    built("SELECT distinct, b FROM x");
    built("SELECT a FROM x GROUP BY SLIDINGWINDOW(ss, 0, 10) OVER (WHEN a > 1)");
}

#[test]
fn streams_are_declared_as_ekuiper_writes_them() {
    let compiled = built(
        "CREATE STREAM demo (a BIGINT, l ARRAY(STRUCT(x BIGINT)), `b c` STRING,) \
         WITH (DATASOURCE=\"plant/+/env\" FORMAT=\"JSON\", STRICT_VALIDATION=false,); \
         SELECT a FROM demo",
    );
    assert_eq!(compiled.streams[0].filters, ["plant/+/env"]);
    assert_eq!(compiled.streams[0].fields.len(), 3);
    // A topic may stand where the name does.
    let topic = |sql: &str| built(sql).streams[0].filters[0].clone();
    assert_eq!(
        topic("SELECT a FROM plant/+/env AS p WHERE p.a > 1"),
        "plant/+/env"
    );
    assert_eq!(topic("SELECT a FROM plant/# WHERE a > 1"), "plant/#");
    refused(
        "CREATE STREAM demo () WITH (DATASOURCE=\"a\" \"b\"); SELECT a FROM demo",
        "\"b\"",
        "expected",
    );
}

#[test]
fn an_error_shows_its_line() {
    let sql = "SELECT a,\n\tuper(b) FROM x";
    let error = compile(sql, &Options::default()).unwrap_err();
    assert_eq!(error.place(sql), (2, 2));
    assert_eq!(error.excerpt(sql), "  |\n2 | \tuper(b) FROM x\n  | \t^^^^");
}

#[test]
fn deep_and_long_statements_end_in_an_error() {
    let deep = [
        format!(
            "SELECT {}1{} FROM x",
            "(".repeat(20_000),
            ")".repeat(20_000)
        ),
        format!("SELECT {}a FROM x", "-".repeat(4_000)),
        format!("SELECT {}a FROM x", "NOT ".repeat(4_000)),
        format!("SELECT a{} FROM x", "+1".repeat(4_000)),
        format!("SELECT a{} FROM x", "[0]".repeat(4_000)),
        format!(
            "SELECT {}1{} FROM x",
            "CASE WHEN a THEN ".repeat(1_000),
            " END".repeat(1_000)
        ),
        format!("SELECT {} FROM x", "upper(".repeat(3_000)),
        format!("SELECT {} FROM x", "a,".repeat(20_000)),
    ];
    for sql in deep {
        let result = compile(&sql, &Options::default());
        assert!(matches!(result, Err(SqlError { .. })), "{}", &sql[..40]);
    }
}

#[test]
fn what_is_just_within_the_limits_compiles() {
    let select = |item: String| format!("SELECT {item} FROM x");
    let deep = |levels: usize| select("upper(".repeat(levels) + "a" + &")".repeat(levels));
    let long = |bytes: usize| format!("SELECT a FROM x{}", " ".repeat(bytes - 15));
    let joins = |streams: usize| {
        let more = (1..streams).map(|n| format!(" CROSS JOIN s{n}"));
        let more: String = more.collect();
        format!("SELECT x.a FROM x{more} GROUP BY TUMBLINGWINDOW(ss, 1)")
    };
    let remembers = |functions: usize| {
        let items: Vec<String> = (0..functions).map(|n| format!("lag(a{n})")).collect();
        let items = items.join(",");
        format!("SELECT {items} FROM x GROUP BY COUNTWINDOW(2)")
    };
    for (within, beyond, reason) in [
        (remembers(256), remembers(257), "at most 256 functions"),
        (deep(99), deep(100), "nested deeper than 100"),
        (long(32 * 1024), long(32 * 1024 + 1), "at most 32768 bytes"),
        (joins(8), joins(9), "at most 8 streams"),
    ] {
        let compiled = compile(&within, &Options::default());
        assert!(compiled.is_ok(), "{reason}: {:?}", compiled.err());
        let error = compile(&beyond, &Options::default()).err().unwrap();
        assert!(error.to_string().contains(reason), "{reason}: {error}");
    }
}

/// Aliases of aliases: what they would be written out is far longer, and deeper, than they are.
#[test]
fn aliases_that_multiply_or_lie_in_each_other_end_in_an_error() {
    let chain = |n: usize, of: &dyn Fn(usize) -> String, rest: &str| {
        let more = (1..n).map(|place| format!(",{} AS b{place}", of(place - 1)));
        let more: String = more.collect();
        format!(
            "SELECT a AS b0{more} FROM x {}",
            rest.replace("LAST", &format!("b{}", n - 1))
        )
    };
    let twice = |place: usize| format!("b{place} + b{place}");
    let case = |place: usize| format!("CASE WHEN b{place} THEN b{place} ELSE b{place} END");
    let next = |place: usize| format!("b{place}+1");
    let wrapped = |place: usize| format!("{}b{place}{}", "-(".repeat(40), ")".repeat(40));
    let window = "GROUP BY LAST, TUMBLINGWINDOW(ss, 1)";
    let state = "GROUP BY STATEWINDOW(LAST > 1, LAST < 1)";
    for (sql, message) in [
        (chain(60, &twice, window), "again and again"),
        (chain(60, &case, window), "again and again"),
        (chain(60, &case, state), "again and again"),
        (
            chain(
                60,
                &twice,
                "GROUP BY TUMBLINGWINDOW(ss, 1) HAVING sum(LAST) > 1",
            ),
            "again and again",
        ),
        (chain(1_500, &next, window), "deeper than 200"),
        (
            chain(1_500, &next, "WHERE LAST > 1"),
            "a row of more than 200",
        ),
        (chain(100, &wrapped, window), "deeper than 200"),
    ] {
        let error = compile(&sql, &Options::default()).err().unwrap();
        assert!(error.message.contains(message), "{}: {error}", &sql[..80]);
        assert!(sql.get(error.span.clone()).is_some());
    }
    // Aliases that are worked out once, and kept, do not multiply.
    built(&chain(60, &twice, "WHERE LAST > 1"));
    built(&chain(90, &next, window));
}

#[test]
fn statements_that_no_host_would_take_say_what_is_too_much() {
    let list = |n: usize, item: &dyn Fn(usize) -> String| {
        let items: Vec<String> = (0..n).map(item).collect();
        items.join(",")
    };
    for (items, message) in [
        (
            // A character that takes six bytes in the manifest.
            list(100, &|n| format!("'{}{n}' AS c{n}", "\u{1}".repeat(80))),
            "may have 32768",
        ),
        (list(4_500, &|n| format!("a{n}")), "may have 32768"),
        (list(1_050, &|n| format!("lag(a) AS b{n}")), "1000"),
    ] {
        let used = match message {
            "1000" => format!("WHERE coalesce({}) > 1", list(1_050, &|n| format!("b{n}"))),
            _ => String::new(),
        };
        let sql = format!("SELECT {items} FROM x {used}");
        let error = compile(&sql, &Options::default()).err().unwrap();
        assert!(error.message.contains(message), "{error}");
    }
}

/// Statements from the public cases, cut and mixed: each ends in a module that validates or in an error
/// with a place inside of it.
#[test]
fn no_statement_panics_and_every_module_validates() {
    let seeds: Vec<String> = include_str!("../../../tests/data/ekuiper-expr.jsonl")
        .lines()
        .chain(include_str!("../../../tests/data/ekuiper-stream.jsonl").lines())
        .map(|line| {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            case["sql"].as_str().unwrap().to_owned()
        })
        .collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below.max(1)
    };
    let mut modules = 0;
    for round in 0..6_000 {
        let seed = &seeds[round % seeds.len()];
        let mut words: Vec<String> = seed
            .split_inclusive([' ', '(', ')', ',', '.'])
            .map(str::to_owned)
            .collect();
        for _ in 0..random(4) {
            let at = random(words.len());
            match random(4) {
                0 => drop(words.remove(at)),
                1 => {
                    let other = &seeds[random(seeds.len())];
                    let other: Vec<&str> = other.split_inclusive([' ', '(', ')', ',']).collect();
                    words.insert(at, other[random(other.len())].to_owned());
                }
                2 => {
                    words[at] = [
                        "'", "\"", "`", "->", "[", ":", "*", "é", "-", "NOT ", "9e999 ",
                    ][random(11)]
                    .to_owned()
                }
                _ => {
                    let copy = words[random(words.len())].clone();
                    words.insert(at, copy);
                }
            }
            if words.is_empty() {
                words.push(" ".to_owned());
            }
        }
        let sql = words.concat();
        match compile(&sql, &Options::default()) {
            Ok(compiled) => {
                modules += 1;
                if let Err(error) = Validator::new().validate_all(&compiled.wasm) {
                    panic!("{sql}: {error}");
                }
            }
            Err(error) => {
                assert!(sql.get(error.span.clone()).is_some(), "{sql}: {error:?}");
                let _ = error.excerpt(&sql);
            }
        }
    }
    assert!(modules > 1_000, "{modules}");
}
