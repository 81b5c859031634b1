use super::*;
use crate::from_json;

fn value(json: &str) -> Value {
    match json.strip_prefix("ms:") {
        Some(ms) => Value::Datetime(ms.parse().unwrap()),
        None => from_json(json.as_bytes()).unwrap(),
    }
}

/// `left op right` gives the JSON, or an error that says so.
fn check(left: &str, symbol: &str, right: &str, expected: &str) {
    let op = BinaryOp::ALL
        .into_iter()
        .find(|op| op.symbol() == symbol)
        .unwrap();
    let given = binary(op, &value(left), &value(right));
    match expected.strip_prefix("error: ") {
        Some(text) => assert_eq!(given.unwrap_err().to_string(), text),
        None => assert_eq!(given, Ok(value(expected)), "{left} {symbol} {right}"),
    }
}

#[test]
fn whole_numbers_stay_whole_and_floats_win() {
    check("7", "/", "2", "3");
    check("-7", "/", "2", "-3");
    check("-7", "%", "2", "-1");
    check("7", "/", "2.0", "3.5");
    check("7.5", "%", "2", "1.5");
    check("3", "*", "4", "12");
    check("1", "+", "2.0", "3.0");
    check("9223372036854775807", "+", "1", "-9223372036854775808");
    check("-9223372036854775808", "/", "-1", "-9223372036854775808");
    check("-9223372036854775808", "%", "-1", "0");
    check("6", "&", "3", "2");
    check("6", "|", "3", "7");
    check("6", "^", "3", "5");
    check("true", "^", "true", "false");
}

#[test]
fn nothing_goes_through_arithmetic_and_makes_comparisons_false() {
    for symbol in ["+", "-", "*", "/", "%", "&", "|", "^"] {
        check("null", symbol, "1", "null");
        check("\"a\"", symbol, "null", "null");
    }
    for symbol in ["=", "!=", "<", "<=", ">", ">="] {
        check("null", symbol, "1", "false");
        check("1", symbol, "null", "false");
        check("null", symbol, "null", "false");
    }
}

#[test]
fn other_types_are_errors_that_name_both_sides() {
    check(
        "\"a\"",
        "+",
        "1",
        "error: cannot work out string \"a\" + bigint 1",
    );
    check(
        "1",
        "*",
        "\"val_a\"",
        "error: cannot work out bigint 1 * string \"val_a\"",
    );
    check(
        "6",
        "=",
        "\"x\"",
        "error: cannot work out bigint 6 = string \"x\"",
    );
    check(
        "true",
        "=",
        "1",
        "error: cannot work out boolean true = bigint 1",
    );
    check(
        "true",
        "<",
        "false",
        "error: cannot work out boolean true < boolean false",
    );
    check(
        "[1]",
        "=",
        "[1]",
        "error: cannot work out array [1] = array [1]",
    );
    check(
        "{}",
        "=",
        "1",
        "error: cannot work out struct {} = bigint 1",
    );
    check(
        "1.5",
        "&",
        "1",
        "error: cannot work out float 1.5 & bigint 1",
    );
    check(
        "1",
        "AND",
        "true",
        "error: cannot work out bigint 1 AND boolean true",
    );
    check("1", "/", "0", "error: division by zero");
    check("1.0", "%", "0", "error: division by zero");
    check(
        "ms:1",
        "+",
        "1",
        "error: cannot work out datetime 1 + bigint 1",
    );
}

#[test]
fn values_of_a_kind_are_compared() {
    check("3", "=", "3.0", "true");
    check("3", "!=", "3.5", "true");
    check("2", "<", "10", "true");
    check("\"2\"", "<", "\"10\"", "false");
    check("\"a\"", "<=", "\"a\"", "true");
    check("true", "!=", "false", "true");
    check("ms:1000", ">", "ms:999", "true");
    check("ms:0", "=", "\"1970-01-01\"", "true");
    check("1", "=", "ms:1", "true");
    check(
        "ms:0",
        "=",
        "\"x\"",
        "error: cannot work out datetime 0 = string \"x\"",
    );
    check("9007199254740993", ">", "9007199254740992.0", "true");
    check("9007199254740993", "=", "9007199254740992.0", "false");
    check("18446744073709551615", ">", "18446744073709551614", "true");
    check(
        "18446744073709551615",
        "=",
        "18446744073709551616.0",
        "false",
    );
    check(
        "-9223372036854775808",
        "=",
        "-9223372036854775808.0",
        "true",
    );
    check("9223372036854775807", "<", "9223372036854775808", "true");
}

#[test]
fn floats_beyond_the_largest_are_nothing() {
    check("1e308", "*", "10", "null");
    check("-1e308", "-", "1e308", "null");
    check("1e300", "/", "1e-300", "null");
    check("18446744073709551615", "+", "1", "18446744073709552000");
}

#[test]
fn nothing_counts_as_false_in_logic() {
    check("true", "AND", "null", "false");
    check("null", "OR", "true", "true");
    check("null", "AND", "null", "false");
    check("false", "OR", "true", "true");
    assert_eq!(not(&Value::Null), Ok(Value::Bool(true)));
    assert_eq!(not(&Value::Bool(true)), Ok(Value::Bool(false)));
    assert!(not(&Value::Int(0)).is_err());
    assert_eq!(negate(&Value::Int(i64::MIN)), Ok(Value::Int(i64::MIN)));
    assert_eq!(negate(&Value::Float(1.5)), Ok(Value::Float(-1.5)));
    assert_eq!(negate(&Value::Null), Ok(Value::Null));
    assert!(negate(&Value::from("a")).is_err());
}

#[test]
fn membership_follows_the_tables() {
    let check = |left: &str, set: &str, negated, expected| {
        let given = contains(&value(left), &value(set), negated).ok();
        assert_eq!(given, expected, "{left} in {set}");
    };
    check("34", "[33, 34]", false, Some(true));
    check("34", "[33, 34.0]", true, Some(false));
    check("\"hello\"", "[\"ello\", \"world\"]", true, Some(true));
    check("null", "[\"ello\"]", false, Some(false));
    check("null", "[\"ello\"]", true, Some(false));
    check("\"hello\"", "null", false, Some(false));
    check("\"hello\"", "null", true, Some(true));
    check("34", "[35, null]", true, Some(true));
    check("34", "[]", true, Some(true));
    check("34", "[34, \"a\"]", false, Some(true)); // the first one is enough
    check("34", "[\"a\", 34]", false, None);
}

#[test]
fn between_includes_its_ends() {
    let check = |of: &str, low: &str, high: &str, expected: Option<(bool, bool)>| {
        let run = |negated| between(&value(of), &value(low), &value(high), negated).ok();
        let given = run(false).zip(run(true));
        assert_eq!(given, expected, "{of} between {low} and {high}");
    };
    check("1", "1", "3", Some((true, false)));
    check("3.0", "1", "3", Some((true, false)));
    check("4", "1", "3", Some((false, true)));
    check("null", "1", "3", Some((false, false)));
    check("2", "null", "3", Some((false, false)));
    check("\"b\"", "\"a\"", "\"c\"", Some((true, false)));
    check("\"b\"", "1", "3", None);
}

#[test]
fn patterns_match_whole_texts() {
    let check = |text: &str, pattern: &str, expected| {
        let given = like(&Value::from(text), &Value::from(pattern), false);
        assert_eq!(given, Ok(expected), "{text} like {pattern}");
        let given = like(&Value::from(text), &Value::from(pattern), true);
        assert_eq!(given, Ok(!expected), "{text} not like {pattern}");
    };
    check("hello", "hello", true);
    check("hello", "hell", false);
    check("hello", "h%", true);
    check("hello", "%l%o", true);
    check("hello", "%x%", false);
    check("hello", "h_llo", true);
    check("中国", "__", true);
    check("中国", "___", false);
    check("", "%", true);
    check("", "_", false);
    check("a%b", "a\\%b", true);
    check("axb", "a\\%b", false);
    check("a\\", "a\\", true);
    check("aab", "%ab", true);
    check("mississippi", "m%iss%pi", true);
    check("Hello", "hello", false);
    check("a.c", "abc", false);
    assert_eq!(like(&Value::Null, &Value::from("a"), false), Ok(false));
    assert_eq!(like(&Value::Null, &Value::from("a"), true), Ok(false));
    assert!(like(&Value::Int(1), &Value::from("a"), false).is_err());
    assert!(like(&Value::from("a"), &Value::Int(1), false).is_err());
}

#[test]
fn a_hostile_pattern_takes_no_more_than_its_length_times_the_texts() {
    let text = Value::from("a".repeat(20_000));
    let pattern = Value::from("%a".repeat(1_000) + "b");
    assert_eq!(like(&text, &pattern, false), Ok(false));
}

#[test]
fn a_pattern_matches_what_it_says() {
    /// By the words of the description, with all the time in the world.
    fn simply(text: &[char], pattern: &[char]) -> bool {
        match (pattern, text) {
            ([], text) => text.is_empty(),
            (['%', rest @ ..], text) => (0..=text.len()).any(|taken| simply(&text[taken..], rest)),
            ([_, ..], []) => false,
            (['_', rest @ ..], [_, text @ ..]) => simply(text, rest),
            (['\\', quoted, rest @ ..], [found, text @ ..]) => {
                quoted == found && simply(text, rest)
            }
            ([wanted, rest @ ..], [found, text @ ..]) => wanted == found && simply(text, rest),
        }
    }
    let mut seed = 7_u64;
    let mut draw = |letters: &[char], most: u64| -> Vec<char> {
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed >> 33
        };
        let count = next() % (most + 1);
        (0..count)
            .map(|_| letters[next() as usize % letters.len()])
            .collect()
    };
    let mut hits = 0;
    for _ in 0..20_000 {
        let (text, pattern) = (
            draw(&['a', 'b', 'é', '\\'], 8),
            draw(&['a', 'b', 'é', '%', '_', '\\'], 7),
        );
        let expected = simply(&text, &pattern);
        let (text, pattern): (String, String) = (text.iter().collect(), pattern.iter().collect());
        let given = like(&Value::from(&*text), &Value::from(&*pattern), false);
        assert_eq!(given, Ok(expected), "{text} like {pattern}");
        hits += usize::from(expected);
    }
    assert!(hits > 1_000, "{hits}");
    // Parts that are longer than a word of the machine.
    let long = "ab".repeat(100);
    for (pattern, expected) in [
        (format!("%{}%", "_".repeat(200)), true),
        (format!("%{}%", "_".repeat(201)), false),
        (format!("%{}a%", "a_".repeat(99)), true),
        (format!("%{}c%", "_".repeat(100)), false),
    ] {
        let given = like(&Value::from(&*long), &Value::from(&*pattern), false);
        assert_eq!(given, Ok(expected), "{pattern}");
    }
}

#[test]
fn what_is_inside_is_found() {
    let object = value(r#"{"a": {"b": 1}, "Name": 2, "NAME": 3}"#);
    assert_eq!(field(&field(&object, "a"), "b"), Value::Int(1));
    assert_eq!(field(&object, "NAME"), Value::Int(3));
    assert_eq!(field(&object, "name"), Value::Int(3));
    assert_eq!(field(&object, "c"), Value::Null);
    assert_eq!(field(&Value::from("text"), "c"), Value::Null);
    assert_eq!(field(&Value::Null, "c"), Value::Null);
}

#[test]
fn places_count_from_either_end() {
    let check = |of: &str, place: &str, expected: Option<&str>| {
        let given = index(&value(of), &value(place)).ok();
        assert_eq!(given, expected.map(value), "{of}[{place}]");
    };
    check("[1, 2, 3]", "0", Some("1"));
    check("[1, 2, 3]", "-1", Some("3"));
    check("[1, 2, 3]", "1.9", Some("2"));
    check("[1, 2, 3]", "3", None);
    check("[1, 2, 3]", "-4", None);
    check("[1, 2, 3]", "-9223372036854775808", None);
    check("[1, 2, 3]", "\"0\"", None);
    check("[1, 2, 3]", "null", None);
    check("null", "0", Some("null"));
    check("\"abc\"", "0", None);
    check("{\"a\": 1}", "0", None);
}

#[test]
fn slices_end_before_their_end() {
    let check = |of: &str, start: Option<&str>, end: Option<&str>, expected: Option<&str>| {
        let (start_value, end_value) = (start.map(value), end.map(value));
        let given = slice(&value(of), start_value.as_ref(), end_value.as_ref()).ok();
        assert_eq!(given, expected.map(value), "{of}[{start:?}:{end:?}]");
    };
    let five = "[0, 1, 2, 3, 4]";
    check(five, Some("2"), None, Some("[2, 3, 4]"));
    check(five, None, Some("4"), Some("[0, 1, 2, 3]"));
    check(five, Some("0"), Some("1"), Some("[0]"));
    check(five, Some("1"), Some("5"), Some("[1, 2, 3, 4]"));
    check(five, Some("-2"), None, Some("[3, 4]"));
    check(five, Some("1"), Some("-1"), Some("[1, 2, 3]"));
    check(five, None, None, Some(five));
    check(five, Some("1"), Some("1"), Some("[]"));
    check(five, Some("5"), None, None);
    check(five, Some("1"), Some("6"), None);
    check(five, Some("3"), Some("2"), None);
    check(five, Some("-6"), None, None);
    check(five, Some("\"a\""), None, None);
    check("[]", None, None, Some("[]"));
    check("null", Some("1"), None, Some("null"));
    check("7", Some("1"), None, None);
}

#[test]
fn bytes_have_places_and_slices() {
    let bytes = Value::bytes(*b"\x00\xe6\x02");
    let at = |place: i64| index(&bytes, &Value::Int(place)).map_err(|error| error.to_string());
    assert_eq!(at(1), Ok(Value::Int(230)));
    assert_eq!(at(-1), Ok(Value::Int(2)));
    assert_eq!(at(3), Err("there is no byte 3, of 3 in all".to_owned()));
    assert_eq!(at(-4), Err("there is no byte -4, of 3 in all".to_owned()));
    let part =
        |start: i64, end: i64| slice(&bytes, Some(&Value::Int(start)), Some(&Value::Int(end))).ok();
    assert_eq!(part(1, 3), Some(Value::bytes(*b"\xe6\x02")));
    assert_eq!(part(0, -1), Some(Value::bytes(*b"\x00\xe6")));
    assert_eq!(part(1, 1), Some(Value::bytes(*b"")));
    assert_eq!(part(2, 1), None);
    assert_eq!(part(0, 4), None);
    assert_eq!(slice(&bytes, None, None), Ok(bytes.clone()));
}

#[test]
fn any_values_stand_in_one_order() {
    let mut values = [
        "null",
        "{}",
        "[2, 0]",
        "[10]",
        "[2]",
        r#"{"b": 1}"#,
        r#"{"b": 0, "a": 1}"#,
        "18446744073709551615",
        "\"b\"",
        "\"a\"",
        "ms:5",
        "9007199254740993",
        "9007199254740992.0",
        "9007199254740992",
        "-1.5",
        "true",
        "false",
        "1e300",
        "-1e300",
    ]
    .map(value)
    .to_vec();
    #[allow(clippy::disallowed_methods, reason = "it is a total order")]
    values.sort_by(total_order);
    let shown: Vec<String> = values.iter().map(crate::to_json).collect();
    assert_eq!(
        shown.join(" "),
        "false true -1e300 -1.5 9007199254740992 9007199254740992 9007199254740993 \
         18446744073709551615 1e300 5 \"a\" \"b\" [2] [2,0] [10] {} {\"b\":0,\"a\":1} {\"b\":1} null"
    );
    assert_eq!(values[8].type_name(), "float");
}

#[test]
fn rows_are_ordered_only_by_values_of_a_kind() {
    use std::cmp::Ordering;
    let check = |left: &str, right: &str, expected| {
        assert_eq!(
            order(&value(left), &value(right)).ok(),
            expected,
            "{left}, {right}"
        );
    };
    check("1", "2.5", Some(Ordering::Less));
    check("null", "2.5", Some(Ordering::Greater));
    check("null", "null", Some(Ordering::Equal));
    check("false", "true", Some(Ordering::Less));
    check("ms:5", "4", Some(Ordering::Greater));
    check("1", "\"a\"", None);
    check("[1]", "[1]", None);
}

#[test]
fn case_applies_as_equality_does() {
    assert_eq!(case_equal(&Value::Int(1), &Value::Float(1.0)), Ok(true));
    assert_eq!(case_equal(&Value::Null, &Value::Null), Ok(false));
    assert!(case_equal(&Value::Int(1), &Value::from("1")).is_err());
}

#[test]
fn operators_are_found_by_number() {
    for (number, op) in BinaryOp::ALL.into_iter().enumerate() {
        assert_eq!(op as usize, number);
        assert_eq!(BinaryOp::numbered(number as u8), Some(op));
    }
    assert_eq!(BinaryOp::numbered(16), None);
}
