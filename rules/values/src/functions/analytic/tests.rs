use crate::{Budget, Value, from_json, lookup, step};

/// Steps of one function: arguments and result, with `-` in front if the row does not count.
fn check(name: &str, rows: &[(&str, &str)]) {
    let function = lookup(name).unwrap();
    let mut state = Value::Null;
    for (args, expected) in rows {
        let (args, counts) = match args.strip_prefix('-') {
            Some(args) => (args, false),
            None => (*args, true),
        };
        let args = from_json(args.as_bytes()).unwrap();
        let given = step(function, &state, args.as_list().unwrap(), counts, &mut {
            Budget::PLENTY
        });
        if *expected == "error" {
            assert!(given.is_err(), "{name}{args:?} gives {given:?}");
            continue;
        }
        let (after, value) = given.unwrap_or_else(|error| panic!("{name}{args:?}: {error}"));
        let expected = from_json(expected.as_bytes()).unwrap();
        assert_eq!(value, expected, "{name}{args:?} after {state:?}");
        // The state has to survive encoding and decoding.
        state = crate::decode(&crate::encode(&after).unwrap()).unwrap();
    }
}

#[test]
fn lag_gives_what_was_rows_ago() {
    check("lag", &[("[1]", "null"), ("[2]", "1"), ("[3]", "2")]);
    let twice = [
        (r#"["a1", 2, "a10"]"#, r#""a10""#),
        (r#"["a2", 2, "a10"]"#, r#""a10""#),
        (r#"["a1", 2, "a10"]"#, r#""a1""#),
        (r#"["a1", 2, "a10"]"#, r#""a2""#),
    ];
    check("lag", &twice);
    check("lag", &[("[1]", "null"), ("[null]", "1"), ("[3]", "1")]);
    check(
        "lag",
        &[
            ("[1, 1, 0, false]", "0"),
            ("[null, 1, 0, false]", "1"),
            ("[3, 1, 0, false]", "null"),
        ],
    );
    check(
        "lag",
        &[("[1]", "null"), ("-[2]", "1"), ("[3]", "1"), ("[4]", "3")],
    );
    check(
        "lag",
        &[
            ("[1, 0]", "error"),
            ("[1, 1001]", "error"),
            ("[1, \"x\"]", "error"),
            ("[1, 1, 0, 5]", "error"),
        ],
    );
    check("lag", &[("[]", "error")]);
}

#[test]
fn latest_gives_the_last_there_was() {
    check(
        "latest",
        &[
            ("[null, 5]", "5"),
            ("[1, 5]", "1"),
            ("[null, 5]", "1"),
            ("-[2, 5]", "1"),
            ("[3, 5]", "3"),
        ],
    );
    check(
        "latest",
        &[("[null]", "null"), ("-[1]", "null"), ("[2]", "2")],
    );
}

#[test]
fn changed_col_gives_what_is_new() {
    check(
        "changed_col",
        &[
            ("[true, 1]", "1"),
            ("[true, 1.0]", "null"),
            ("[true, null]", "null"),
            ("[true, 2]", "2"),
            ("-[true, 3]", "null"),
        ],
    );
    check(
        "changed_col",
        &[
            ("[false, null]", "null"),
            ("[false, 1]", "1"),
            ("[false, null]", "null"),
            ("[false, 1]", "1"),
        ],
    );
    let rows = [
        (
            r#"[true, {"a": "a1", "b": "b1"}]"#,
            r#"{"a": "a1", "b": "b1"}"#,
        ),
        (
            r#"[true, {"a": "a1", "c": "c1"}]"#,
            r#"{"a": "a1", "c": "c1"}"#,
        ),
        (r#"[true, {"c": "c1", "a": "a1"}]"#, "null"),
    ];
    check("changed_col", &rows);
    check("changed_col", &[("[1, 1]", "error")]);
}

#[test]
fn had_changed_looks_at_each() {
    check(
        "had_changed",
        &[
            ("[true, 1, \"a\"]", "true"),
            ("[true, 1, \"a\"]", "false"),
            ("[true, 1, \"b\"]", "true"),
            ("[true, null, \"b\"]", "false"),
            ("-[true, 2, \"c\"]", "false"),
            ("[true, 2, \"c\"]", "true"),
        ],
    );
    check(
        "had_changed",
        &[
            ("[false, 1]", "true"),
            ("[false, null]", "true"),
            ("[false, null]", "false"),
        ],
    );
    check(
        "had_changed",
        &[("[true]", "error"), ("[\"x\", 1]", "error")],
    );
}

#[test]
fn changed_cols_gives_new_columns() {
    let rows = [
        (
            r#"["", true, {"a": "a1", "b": "b1"}]"#,
            r#"{"a": "a1", "b": "b1"}"#,
        ),
        (
            r#"["", true, {"a": "a1", "b": "b2", "c": "c1"}]"#,
            r#"{"b": "b2", "c": "c1"}"#,
        ),
        (r#"["", true, {"a": "a1", "c": "c1", "b": null}]"#, "{}"),
        (
            r#"["t_", true, {"a": "a1", "b": "b2", "c": "c2"}]"#,
            r#"{"t_c": "c2"}"#,
        ),
        (r#"-["t_", true, {"a": "a2"}]"#, "{}"),
        (
            r#"["t_", false, {"a": null, "d": null}]"#,
            r#"{"t_a": null}"#,
        ),
    ];
    check("changed_cols", &rows);
    check(
        "changed_cols",
        &[
            (r#"["", true, 1]"#, "error"),
            (r#"[1, true, {}]"#, "error"),
            (r#"["", true]"#, "error"),
        ],
    );
}

#[test]
fn accumulating_functions_go_on() {
    check(
        "acc_sum",
        &[
            ("[3]", "3.0"),
            ("[6]", "9.0"),
            ("[null]", "9.0"),
            ("[0.5]", "9.5"),
            ("-[1]", "9.5"),
            ("[\"x\"]", "error"),
        ],
    );
    check(
        "acc_count",
        &[
            ("[3]", "1"),
            ("-[6]", "1"),
            ("[null]", "1"),
            ("[\"x\"]", "2"),
        ],
    );
    check(
        "acc_min",
        &[
            ("-[2]", "0.0"),
            ("[3]", "3.0"),
            ("-[2]", "3.0"),
            ("[1]", "1.0"),
            ("[5]", "1.0"),
        ],
    );
    check(
        "acc_max",
        &[
            ("[null]", "0.0"),
            ("[-3]", "-3.0"),
            ("[5]", "5.0"),
            ("[1]", "5.0"),
            ("[true]", "error"),
        ],
    );
    check(
        "acc_avg",
        &[
            ("[null]", "0.0"),
            ("[1]", "1.0"),
            ("[2]", "1.5"),
            ("[null]", "1.5"),
        ],
    );
    check(
        "acc_sum",
        &[
            ("[1, true]", "error"),
            ("[]", "error"),
            ("[1, 1, 1]", "error"),
        ],
    );
}

#[test]
fn accumulating_functions_begin_and_reset() {
    check(
        "acc_sum",
        &[
            ("[1, false, false]", "0.0"),
            ("[2, true, false]", "2.0"),
            ("[3, false, false]", "5.0"),
            ("[4, false, true]", "9.0"), // the last one that is taken in
            ("[5, false, false]", "0.0"),
            ("[6, true, true]", "6.0"),
            ("[7, true, false]", "7.0"),
        ],
    );
    check(
        "acc_count",
        &[("[1, true, true]", "1"), ("[1, false, false]", "0")],
    );
}

#[test]
fn hits_are_counted_before_they_happen() {
    check(
        "last_hit_count",
        &[("[]", "0"), ("-[]", "1"), ("[]", "1"), ("[]", "2")],
    );
    check(
        "last_agg_hit_count",
        &[("-[]", "0"), ("[]", "0"), ("-[]", "1")],
    );
    check(
        "last_hit_time",
        &[
            ("-[5]", "0"),
            ("[7]", "0"),
            ("-[9]", "7"),
            ("[10]", "7"),
            ("-[11]", "10"),
        ],
    );
    check(
        "last_agg_hit_time",
        &[("[7]", "0"), ("[8]", "7"), ("[]", "error")],
    );
}

#[test]
fn foreign_state_is_refused() {
    for (name, args) in [
        ("lag", "[1]"),
        ("had_changed", "[true, 1]"),
        ("changed_cols", r#"["", true, {}]"#),
        ("acc_sum", "[1]"),
        ("last_hit_count", "[]"),
        ("last_hit_time", "[1]"),
    ] {
        let args = from_json(args.as_bytes()).unwrap();
        let state = Value::from("foreign");
        let given = step(
            lookup(name).unwrap(),
            &state,
            args.as_list().unwrap(),
            true,
            &mut { Budget::PLENTY },
        );
        assert!(given.is_err(), "{name}");
    }
}
