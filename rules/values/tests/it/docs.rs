//! `docs/sql-functions.md` is made from the registry, so that it cannot say anything else.

use std::fmt::Write;
use std::path::Path;

use tidemill_values::{Function, Group, Nulls, Purity, functions};

const INTRODUCTION: &str = "\
# SQL functions

<!-- Made from the registry in rules/values; after a change there:
     TIDEMILL_WRITE_DOCS=1 cargo test -p tidemill-values --test it docs -->

Names may be written in any case. What stands in brackets may be left out, and where a row ends in … there may be more of the same.
NULL stands for `null` and for a column that is missing: both are the same. The column *of NULL* says what a function gives if one of
its arguments is NULL.

- `x` is a number, whole or float; `count`, `place`, `digits`, `rows` and the like are whole numbers, also written as a float without fraction, `3.0`.
- `text` may be any value: a number is taken as it is printed, an array or an object as its JSON.
- `date` is a datetime, a number (milliseconds since 1970) or a text such as `2024-05-01`, `2024/5/1 8:30`, `20240501`,
  `5/1/2024`, `2024-05-01T08:30:00.5+02:00` or the date of a mail header; without an offset it is in UTC.
- `value` may be anything.

An argument of another type is an error: the event becomes a dead letter that names the function's argument. A result may have at most
1 MiB and lie 192 deep in itself.

Whole numbers and floats are told apart, as everywhere in the dialect: `sum` and `avg` of whole numbers are whole numbers. A whole number
that leaves 64 bits wraps around.
";

const CHAPTERS: &[(Group, &str, &str)] = &[
    (Group::Math, "Numbers", "\
A result that is no number, such as the arc sine of 2, or that is beyond the largest one, such as `exp(1000)`, is NULL. `round` and `trunc` go by the decimals
that a number is written with: `trunc(8.29, 2)` is 8.29. The same arguments give the same bits on every machine."),
    (Group::Text, "Text", "\
Characters are counted, from 0, not bytes. Patterns are regular expressions without look-around and back-references; matching takes
time in proportion to text and pattern, and where that could be seconds it is an error: `regexp_replace` of 2,000 gaps in 12 KB still works.
`\\d`, `\\w`, `\\s` and `(?i)` know ASCII only. A pattern may have 1,000 bytes."),
    (Group::Time, "Date and time", "\
`now` and its like give the event's time in UTC, not the machine's: a replay gives the same. A date written with an offset is read in
that offset: `hour('2024-05-01T08:00:00+02:00')` is 8; so `hour(convert_tz(ts, 'Europe/Berlin'))` is the hour in Berlin.

Patterns of `format_time`: `YYYY` or `yyyy` year, `YY` its last two digits, `M` `MM` `MMM` `MMMM` month, `d` `dd` day, `EEE` `EEEE` day of the
week, `HH` hour, `h` `hh` hour up to 12, `a` AM or PM, `m` `mm` minute, `s` `ss` second, `S` `SS` `SSS` … a point and digits of the second's
fraction, `z` zone, `Z` offset `+0200`, `X` `XX` `XXX` offset `+02` `+0200` `+02:00`, `G` era. Other letters stand for themselves, and so does
what stands between single quotes or behind a backslash.

Durations of `date_calc` are numbers with `h`, `m`, `s`, `ms`, `us` or `ns`, one after the other."),
    (Group::Conversion, "Conversion", ""),
    (Group::Hashing, "Hashing", "Of text in UTF-8, or of bytes; the result is text of small hexadecimal digits."),
    (Group::Json, "JSON paths", "\
`$` is the value, `.name` or `['name']` leads into an object, `[0]` and `[-1]` into an array, `*` to everything in either, `..` to everything
below, `[0, 2]` and `['a', 'b']` to several, `[1:3]` and `[::2]` to a slice, `[? @.weight > 1]` to what fulfils a condition. In a condition `@` is
the element, and there are `==` `!=` `<` `<=` `>` `>=`, `&&` `||` `!`, `+` `-` `*` `/` `%`, numbers, texts in quotes, `true`, `false`, `null` and
parentheses; a path alone asks whether there is anything but `false` and `null`. A path that may lead to several places gives an array; any other
is an error if it leads nowhere. The value is an array, an object, or text that is JSON."),
    (Group::Array, "Arrays", "Elements are the same if they are the same value: 3 and 3.0 are, 3 and '3' are not. An empty array is not NULL."),
    (Group::Object, "Objects", "Names keep their order."),
    (Group::Other, "Others", ""),
    (Group::Bytes, "Bytes", "\
Bytes come from `decode(text, 'base64')` or `'hex'`, from a column that is declared `bytea`, and from a payload that is or holds some. They go
out in base64; `encode(bytes, 'hex')` writes them otherwise. `bytes[0]` is the first of them, a whole number, `bytes[-1]` the last, `bytes[1:3]` the
two from the second on; `length`, `substring` and `reverse` count in bytes. A place is counted from 0, or below 0 from the end. A
number or byte that is not there is an error.

Types of `unpack` are `int8` and `uint8`, and `int` or `uint` with 16, 24, 32 or 64 bits and `float` with 16, 32 or 64 bits, each with its byte order
behind it: `be` for the highest byte first, `le` for the lowest. So `unpack(decode(data, 'base64'), 'int16be', 1) / 10.0` is a temperature in tenths of
a degree behind a byte of something else. An unsigned number beyond 63 bits is what it is in JSON; a float that is NaN or infinite is NULL."),
    (Group::Aggregate, "Aggregates", "\
They make one value of the rows of a window or a group; `FILTER (WHERE …)` behind one leaves rows out. Texts and numbers among the same rows
are an error."),
    (Group::Analytic, "Analytic functions", "\
They remember what was before. `OVER (PARTITION BY … WHEN …)` behind one gives each partition a memory of its own, and leaves rows out: for
those it gives what it gave, or no change. With `begin` and `reset`, two conditions, an accumulating function starts from
nothing at the row where `begin` holds and stops after the row where `reset` does."),
    (Group::Window, "Windows and rows", ""),
];

const DIFFERENCES: &str = "\
## Where eKuiper differs

Names and meanings are eKuiper's. Where its documentation and its code differ, or a result would surprise, Tidemill does this:

| function | here | eKuiper |
| --- | --- | --- |
| `indexof`, `substring` | count characters | bytes |
| `trunc` | cuts | rounds |
| `day_of_week` | 1 for Sunday, as documented | 0 for Sunday |
| `date_diff` | whole days, as documented | nanoseconds |
| `convert_tz` | text with the zone's offset | a date that carries the zone |
| date functions of NULL | NULL | an error |
| `from_unix_time(0)` | `1970-01-01 00:00:00` | NULL |
| `now`, dates without an offset | the event's time, UTC | the machine's time and zone |
| `keys`, `values`, `items`, `*` in a path | in the object's order | in any order |
| functions of an empty array or object | see it as such | most take it for NULL |
| `array_sort` | numbers by value | by what they look like as text |
| `array_contains` and its like | 3 and 3.0 are the same, and arrays and objects can be compared | they are not, and cannot |
| `sum`, `avg`, `min`, `max` of whole numbers and floats | by value; a sum or mean is a float | by the first row: an error, or fractions are cut |
| `median` of whole numbers with NULL among them | passes over NULL | an error |
| `percentile_cont` | between two rows in proportion, as in SQL | the mean of two neighbours |
| `acc_min`, `acc_max`, `acc_avg` of NULL | does not count | an error |
| `lag` | looks back 1,000 rows at most | any number |
| `newuuid` | random (version 4) | of time and network card (version 1) |
| `compress`, `decompress` | `zlib`, `gzip`, `flate` | also `zstd` |

There is no `delay`, `props` and `get_keyed_state`: a rule waits for nothing and sees only its event, its parameters and its own state.
`replace`, `nullif`, `greatest`, `least` and `year`, `hex` in `encode` and `decode`, and functions and places of bytes are not in eKuiper.
";

fn row(function: &Function) -> String {
    let nulls = match function.nulls {
        Nulls::Null if function.arity.max == Some(0) => "",
        Nulls::Null => "NULL",
        Nulls::False => "false",
        Nulls::Zero => "0",
        Nulls::MinusOne => "-1",
        Nulls::Seen(what) => what,
    };
    let call = format!("`{}({})`", function.name, function.arguments);
    let nulls = nulls.replace("`NULL`", "NULL");
    let gives = function.gives.replace("`NULL`", "NULL");
    format!("| {call} | {gives} | {nulls} |\n")
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (group, title, notes) in CHAPTERS {
        write!(page, "\n## {title}\n").unwrap();
        if !notes.is_empty() {
            write!(page, "\n{notes}\n").unwrap();
        }
        page.push_str("\n| function | gives | of NULL |\n| --- | --- | --- |\n");
        page.extend(
            functions()
                .filter(|function| function.group == *group)
                .map(row),
        );
    }
    write!(page, "\n{DIFFERENCES}").unwrap();
    page
}

#[test]
fn the_page_says_what_the_registry_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sql-functions.md");
    let page = page();
    if std::env::var_os("TIDEMILL_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/sql-functions.md is out of date: TIDEMILL_WRITE_DOCS=1 cargo test -p tidemill-values --test it docs"
    );
}

#[test]
fn every_chapter_is_there() {
    let shown: usize = CHAPTERS
        .iter()
        .map(|(group, ..)| {
            functions()
                .filter(|function| function.group == *group)
                .count()
        })
        .sum();
    assert_eq!(shown, functions().count());
}

#[test]
fn what_draws_or_asks_is_not_called_pure() {
    let impure: Vec<&str> = functions()
        .filter(|function| function.purity != Purity::Pure)
        .filter(|function| !matches!(function.group, Group::Analytic | Group::Window))
        .map(|function| function.name)
        .collect();
    assert_eq!(
        impure,
        [
            "rand",
            "now",
            "current_timestamp",
            "local_time",
            "local_timestamp",
            "cur_date",
            "current_date",
            "cur_time",
            "current_time",
            "tstamp",
            "array_shuffle",
            "newuuid",
            "meta",
            "mqtt",
            "rule_id",
            "rule_start",
        ]
    );
}

/// The table of prices, as docs/abi.md has it: functions that cost the same in one row.
fn prices() -> String {
    let mut rows: Vec<(tidemill_values::Price, Vec<&str>)> = Vec::new();
    for function in functions().filter(|function| function.price.fuel(&[]) > 0) {
        match rows.iter_mut().find(|(price, _)| *price == function.price) {
            Some((_, names)) => names.push(function.name),
            None => rows.push((function.price, vec![function.name])),
        }
    }
    rows.sort_by_key(|(price, names)| (price.flat, price.element, price.weight, names.len()));
    let mut table = "| functions | a call | an element or name | 16 bytes | 16 bytes of arrays and objects |\n|---|---|---|---|---|\n".to_owned();
    for (price, names) in rows {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        table += &format!(
            "| {} | {} | {} | {} | {} |\n",
            names.join(", "),
            price.flat,
            price.element,
            price.weight,
            price.deep
        );
    }
    table
}

#[test]
fn the_page_says_what_functions_cost() {
    let page = include_str!("../../../../docs/abi.md");
    let table = prices();
    assert!(page.contains(&table), "docs/abi.md should say:\n{table}");
}
