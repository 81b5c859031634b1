//! Room in the state of a rule: columns that windows keep, and what is said where there is too little.

use super::*;

fn statement(sql: &str, more: &str) -> Bench {
    let manifest = format!(
        "name = \"w\"\n[on]\nmqtt = [\"s/#\"]\n{more}\n[function]\nsql = '''{sql}'''\n\
         [ports.out]\nto = \"local\"\ntopic = \"out\"\n"
    );
    Bench::new(&[(manifest, "(module)")])
}

/// A payload of 900 bytes with two columns that somebody wants.
fn payload(n: u64) -> String {
    let rest = "x".repeat(820);
    let text = format!(
        "{{\"device\":\"d{}\",\"load\":{n}.5,\"rest\":\"{rest}\"",
        n % 5
    );
    let blanks = " ".repeat(899 - text.len());
    format!("{text}{blanks}}}")
}

fn held(bench: &Bench) -> usize {
    bench.mill.rules[0].keys.bytes()
}

#[test]
fn a_window_keeps_the_columns_that_are_used_and_no_others() {
    let used = "SELECT device, median(load) AS m FROM input WHERE load > 0 \
                GROUP BY device, TUMBLINGWINDOW(ss, 100) ORDER BY device";
    let all = used.replace(
        "median(load) AS m",
        "median(load) AS m, last_value(*, true) AS last",
    );
    let mut benches = [statement(used, ""), statement(&all, "")];
    for bench in &mut benches {
        for n in 0..50 {
            bench.at(n * 10).event("s/a", &payload(n));
        }
    }
    let [few, whole] = &benches;
    assert!(
        held(few) * 3 <= held(whole),
        "{} {}",
        held(few),
        held(whole)
    );
    let [few, _] = &mut benches;
    few.at(100_000).expect(&[
        r#"100000 out {"device":"d0","m":23}"#,
        r#"100000 out {"device":"d1","m":24}"#,
        r#"100000 out {"device":"d2","m":25}"#,
        r#"100000 out {"device":"d3","m":26}"#,
        r#"100000 out {"device":"d4","m":27}"#,
    ]);
}

#[test]
fn names_in_another_case_and_inside_of_objects_are_kept() {
    let sql = "SELECT a.b.c AS c, x->y AS y, x IS NULL AS none, z FROM input \
               GROUP BY TUMBLINGWINDOW(ss, 1) LIMIT 9";
    let mut bench = statement(sql, "");
    for payload in [
        r#"{"a":{"b":{"c":1,"d":2},"e":3},"x":{"y":4,"v":5},"z":6,"w":7}"#,
        r#"{"A":{"B":{"C":1}},"X":{"Y":4},"Z":6,"Z":7}"#,
        r#"{"a":5,"x":[1],"Z":null,"z":8}"#,
        r#"{"a":{"b":[1]},"x":"text","Z":9}"#,
    ] {
        bench.event("s/a", payload);
    }
    bench.at(1_000).expect(&[
        r#"1000 out {"c":1,"y":4,"none":false,"z":6}"#,
        r#"1000 out {"c":1,"y":4,"none":false,"z":7}"#,
        r#"1000 out {"none":false,"z":8}"#,
        r#"1000 out {"none":false,"z":9}"#,
    ]);
}

#[test]
fn rows_without_the_columns_that_an_edit_asks_for_are_given_up_and_counted() {
    let of = |column: &str| {
        let sql = format!("SELECT median({column}) AS m FROM input GROUP BY TUMBLINGWINDOW(ss, 1)");
        let manifest = format!(
            "name = \"w\"\n[on]\nmqtt = [\"s/#\"]\n[function]\nsql = '''{sql}'''\n\
             [ports.out]\nto = \"local\"\ntopic = \"out\"\n"
        );
        [(manifest, "(module)")]
    };
    let mut bench = Bench::new(&of("a"));
    bench
        .event("s/a", r#"{"a":1,"b":10}"#)
        .event("s/a", r#"{"a":3,"b":10}"#);
    // The same columns under another name: nothing is lost.
    bench.deploy(&of(" a "));
    assert_eq!(bench.ledger("w").windows_dropped, 0);
    bench.deploy(&of("b"));
    assert_eq!(bench.ledger("w").windows_given_up, 1);
    bench.at(500).event("s/a", r#"{"a":5,"b":20}"#);
    bench.at(1_000).expect(&[r#"1000 out {"m":20}"#]);
}

fn losses(bench: &mut Bench) -> Vec<String> {
    let mut out = Vec::new();
    bench.mill.tell_losses(bench.now, &mut out);
    let told = out.iter().filter_map(|output| match output {
        Output::NoRoom { what, .. } => Some(what.to_string()),
        _ => None,
    });
    told.collect()
}

#[test]
fn rows_and_keys_that_have_no_room_are_told_with_the_limit() {
    let sql = "SELECT median(load) AS m FROM input GROUP BY TUMBLINGWINDOW(hh, 1)";
    let mut bench = statement(sql, "[limits]\nstate_bytes = 4096");
    for n in 0..100 {
        bench.event("s/a", &payload(n));
    }
    let dropped = bench.ledger("w").rows_dropped;
    assert!(dropped > 0);
    let told = losses(&mut bench);
    let expected =
        format!("{dropped} rows of windows had no room; limits.state_bytes is 4096: raise");
    assert!(
        told.len() == 1 && told[0].starts_with(&expected),
        "{told:?}"
    );
    bench.event("s/a", &payload(1));
    assert_eq!(losses(&mut bench), [""; 0]);
    bench.at(600_000);
    assert_eq!(losses(&mut bench).len(), 1);
    assert_eq!(losses(&mut bench), [""; 0]);

    let sql = "SELECT device, count(*) AS n FROM input GROUP BY device, TUMBLINGWINDOW(hh, 1)";
    let mut bench = statement(sql, "[limits]\nkeys = 3");
    for n in 0..5 {
        bench.event("s/a", &payload(n));
    }
    let told = losses(&mut bench);
    let expected = "2 keys, partitions or sources had no room; limits.keys is 3: raise";
    assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?}");
}
