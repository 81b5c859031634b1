//! Payloads that are no plain JSON: read once for inputs, key and row, and paid for.

use super::*;

fn rule_of(name: &str, payload: &str, sql: &str) -> (String, &'static str) {
    let manifest = format!(
        "name = \"{name}\"\n[streams.input]\nmqtt = [\"s/#\"]\npayload = \"{payload}\"\n[function]\n\
         sql = '''{sql}'''\n[ports.out]\nto = \"local\"\ntopic = \"{name}\"\n"
    );
    (manifest, "(module)")
}

fn send(bench: &mut Bench, payload: &[u8]) {
    let event = Event::new(
        Topic::new("s/a").unwrap(),
        payload.to_vec(),
        bench.now.wall_ms,
    );
    bench.step(Input::Events(vec![event]));
}

/// `{"k": h'..', "v": n}` in CBOR.
fn bytes_key(key: &[u8], value: u8) -> Vec<u8> {
    let head = [0xa2, 0x61, b'k', 0x40 | u8::try_from(key.len()).unwrap()];
    [&head, key, &[0x61, b'v', value]].concat()
}

#[test]
fn groups_of_bytes_are_told_apart_however_the_window_is_kept() {
    // In slots, in rows by key, and in rows all together.
    for of in ["sum(v)", "max(v)", "sum(v) + 0 * row_number()"] {
        let sql = format!("SELECT k, {of} AS s FROM input GROUP BY k, TUMBLINGWINDOW(ss, 1)");
        let mut bench = Bench::new(&[rule_of("w", "cbor", &sql)]);
        // Neither is text, and the last has none at all.
        send(&mut bench, &bytes_key(&[0xff, 0x00], 1));
        send(&mut bench, &bytes_key(&[0xfe], 2));
        send(&mut bench, &[0xa1, 0x61, b'v', 3]);
        bench.at(1_000).expect(&[
            r#"1000 w {"s":3}"#,
            r#"1000 w {"k":"/g==","s":2}"#,
            r#"1000 w {"k":"/wA=","s":1}"#,
        ]);
    }
}

#[test]
fn what_is_read_before_a_call_is_paid_by_it() {
    // Neither statement asks for a row: they look at a number.
    let sql = "SELECT 1 AS x FROM input WHERE v > 5";
    let fuel = |payload: &str, message: &[u8]| {
        let mut bench = Bench::new(&[rule_of("w", payload, sql)]);
        send(&mut bench, message);
        assert_eq!(bench.said, "");
        bench.ledger("w").fuel
    };
    let long = |bytes: usize| {
        let text = [&[0x79, 0x10, 0x00][..], &vec![b'x'; bytes][..]].concat();
        [&[0xa2, 0x61, b'v', 1, 0x61, b't'], &text[..]].concat()
    };
    let short = fuel("cbor", &[0xa1, 0x61, b'v', 1]);
    let long = fuel("cbor", &long(4_096));
    assert_eq!(long - short, (4_096 + 5) * 10);
    // JSON is only looked through for the number.
    let padded = format!(r#"{{"v":1,"t":"{}"}}"#, "x".repeat(4_096));
    assert_eq!(fuel("json", br#"{"v":1}"#), fuel("json", padded.as_bytes()));
}

#[test]
fn a_row_is_not_paid_twice() {
    let mut bench = Bench::new(&[
        rule_of("row", "cbor", "SELECT t FROM input WHERE v > 5"),
        rule_of("number", "cbor", "SELECT 1 AS t FROM input WHERE v > 5"),
    ]);
    let text = [&[0x79, 0x10, 0x00][..], &[b'x'; 4_096][..]].concat();
    send(
        &mut bench,
        &[&[0xa2, 0x61, b'v', 9, 0x61, b't'], &text[..]].concat(),
    );
    assert_eq!(bench.said.lines().count(), 2, "{}", bench.said);
    let difference = bench.ledger("row").fuel - bench.ledger("number").fuel;
    // The emission is longer; it is written once and not read again, which would be 10 for each byte more.
    assert!(difference < 6 * 4_096, "{difference}");
}
