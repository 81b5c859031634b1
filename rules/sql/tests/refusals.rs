//! Statements that name what cannot be there, or ask functions for what they can never give, and options of
//! streams that would do nothing: refused with the place, before any event comes.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is what it is for"
)]
use std::collections::BTreeMap;

use tidemill_sql::{Options, Stream, compile};
use tidemill_values::Value;

#[track_caller]
fn refused_with(options: &Options, sql: &str, place: &str, what: &str) {
    let error = compile(sql, options).expect_err(sql);
    assert_eq!(&sql[error.span.clone()], place, "{sql}: {error}");
    assert!(error.message.contains(what), "{sql}: {error}");
}

#[track_caller]
fn refused(sql: &str, place: &str, what: &str) {
    refused_with(&Options::default(), sql, place, what);
}

#[track_caller]
fn built(sql: &str) {
    if let Err(error) = compile(sql, &Options::default()) {
        panic!("{sql}: {error}\n{}", error.excerpt(sql));
    }
}

const DECLARED: &str = "CREATE STREAM demo (device STRING, t FLOAT) WITH (DATASOURCE=\"d\"); ";

#[test]
fn rows_are_put_in_order_by_what_they_have() {
    let window = "FROM demo GROUP BY TUMBLINGWINDOW(ss, 1)";
    refused(
        &format!("{DECLARED}SELECT device, t AS x {window} ORDER BY temp DESC"),
        "temp",
        "neither a name of the SELECT list nor a column that is declared; there are device, t, x",
    );
    refused(
        &format!("{DECLARED}SELECT device {window} ORDER BY upper(demo.name)"),
        "demo.name",
        "there are device, t",
    );
    for by in [
        "t",
        "T",
        "x DESC",
        "upper(device), x",
        "demo.t",
        "window_end()",
        "count(*)",
    ] {
        built(&format!(
            "{DECLARED}SELECT t + 1 AS x {window} ORDER BY {by}"
        ));
    }
    // Of what is not declared nothing is known.
    built(&format!("SELECT device {window} ORDER BY temp"));
    let open = "CREATE STREAM demo () WITH (DATASOURCE=\"d\"); ";
    built(&format!("{open}SELECT device {window} ORDER BY temp"));
    // Fields of a rule's own file are types of some columns.
    let options = Options {
        streams: vec![Stream {
            name: "demo".to_owned(),
            fields: vec![("t".to_owned(), tidemill_values::FieldType::Float)],
            ..Stream::default()
        }],
        ..Options::default()
    };
    assert!(compile(&format!("SELECT device {window} ORDER BY temp"), &options).is_ok());
}

#[test]
fn arguments_with_which_a_function_gives_nothing_ever_are_refused() {
    for (call, place, what) in [
        ("regexp_matches(a, '(')", "'('", "is no pattern"),
        (
            "date_calc(a, '1 hour')",
            "'1 hour'",
            "a duration such as 1h30m or -10s",
        ),
        ("convert_tz(a, 'Mars')", "'Mars'", "no time zone is called"),
        ("cast(a, 'number')", "'number'", "the name of a type"),
        ("lpad(a, -1)", "-1", "a whole number from 0 on"),
        ("substring(a, 3, 1)", "1", "from `start` on"),
        ("decode(a, 'base63')", "'base63'", "'base64' or 'hex'"),
        ("unpack(a, 'int17')", "'int17'", "argument 2"),
        ("json_path_query(a, '$[')", "'$['", "is no JSON path"),
        ("lag(a, 0)", "0", "1 to 1,000"),
        ("sqrt(0 - 4)", "0 - 4", "a number from 0 on"),
        (
            "parse_json('{')",
            "parse_json('{')",
            "can give nothing here",
        ),
        ("lpad(a, :n)", ":n", "a whole number from 0 on"),
    ] {
        let mut options = Options::default();
        if call.contains(":n") {
            options.params = BTreeMap::from([("n".to_owned(), Value::Int(-3))]);
        }
        for sql in [
            format!("SELECT {call} AS x FROM demo"),
            format!("SELECT b FROM demo WHERE {call} = 1"),
            format!("SELECT CASE WHEN b THEN {call} ELSE 0 END AS x FROM demo"),
        ] {
            refused_with(&options, &sql, place, what);
        }
    }
    for call in [
        "split_value(a, '/', 40)",
        "substring(a, 40)",
        "decode(a, 'hex')",
        "cast(a, 'datetime')",
        "unpack(a, 'uint16be', 900)",
        "regexp_matches(a, b)",
        "date_calc(a, b)",
        "sqrt(a)",
    ] {
        built(&format!("SELECT {call} AS x FROM demo"));
    }
}

#[test]
fn an_option_of_a_stream_does_something_or_is_refused_by_its_name() {
    let with = |option: &str| format!("CREATE STREAM d () WITH ({option}); SELECT a FROM d");
    for (option, place, what) in [
        (
            "CONF_KEY=\"x\"",
            "CONF_KEY",
            "CONF_KEY does nothing here: the broker stands in",
        ),
        (
            "SHARED=\"true\"",
            "SHARED",
            "one subscription serves all rules",
        ),
        ("KEY=\"a\"", "KEY", "KEY does nothing here"),
        ("RETAIN_SIZE=\"5\"", "RETAIN_SIZE", "leave it out"),
        ("SCHEMAID=\"a\"", "SCHEMAID", "no schema is needed"),
        ("KIND=\"scan\"", "KIND", "no stream is a table"),
        ("VERSION=\"2\"", "VERSION", "a rule has a version"),
        ("EXTRA=\"2\"", "EXTRA", "EXTRA does nothing here"),
        ("TEMP=\"true\"", "TEMP", "goes with it"),
        (
            "LATENES=\"1s\"",
            "LATENES",
            "LATENES is no option; there are DATASOURCE",
        ),
        ("TYPE=\"file\"", "\"file\"", "the only type is \"mqtt\""),
        (
            "STRICT_VALIDATION=\"yes\"",
            "\"yes\"",
            "it is true or false",
        ),
    ] {
        refused(&with(option), place, what);
    }
    built(&with(
        "TYPE=\"mqtt\", STRICT_VALIDATION=FALSE, FORMAT=\"json\"",
    ));
    let options = Options {
        streams: vec![Stream {
            name: "d".to_owned(),
            ..Stream::default()
        }],
        ..Options::default()
    };
    refused_with(&options, &with("DATASOURCE=\"t\""), "d", "declared twice");
}

#[test]
fn a_message_that_is_one_value_has_no_columns() {
    let bare = |format: &str| format!("CREATE STREAM d () WITH (FORMAT=\"{format}\"); ");
    for format in ["number", "TEXT", "bytes", "binary", "lines"] {
        let stream = bare(format);
        for (sql, place) in [
            ("SELECT value FROM d", "value"),
            ("SELECT self FROM d WHERE value > 5", "value"),
            ("SELECT self->a AS x, d.room AS r FROM d", "d.room"),
            ("SELECT value AS value FROM d", "value"),
            (
                "SELECT avg(t) AS t FROM d GROUP BY TUMBLINGWINDOW(ss, 1)",
                "t",
            ),
            (
                "SELECT count(*) AS n FROM d GROUP BY room, TUMBLINGWINDOW(ss, 1)",
                "room",
            ),
        ] {
            let what = "is one value, which a statement calls self";
            let sql = format!("{stream}{sql}");
            refused(&sql, place, what);
        }
        for sql in [
            "SELECT * FROM d",
            "SELECT SELF AS v, meta(topic) AS t FROM d WHERE v > 5",
            "SELECT d.self AS x, x + 1 AS y FROM d",
            "SELECT avg(self) AS t FROM d GROUP BY meta(topic), TUMBLINGWINDOW(ss, 1) ORDER BY t",
        ] {
            built(&format!("{stream}{sql}"));
        }
    }
    for format in ["json", "cbor", "csv"] {
        built(&format!("{}SELECT value FROM d", bare(format)));
    }
    // Of a join with another stream the column may be that one's.
    let join = "SELECT value FROM d INNER JOIN e ON true GROUP BY TUMBLINGWINDOW(ss, 1)";
    built(&format!("{}{join}", bare("number")));
    let join = join.replace("SELECT value", "SELECT d.value");
    refused(&format!("{}{join}", bare("number")), "d.value", "one value");
}
