use super::path::Path;
use crate::{Budget, from_json, to_json};

const STORE: &str = r#"{
    "book": [
        {"title": "A", "price": 8.95, "tags": ["x"], "isbn": null},
        {"title": "B", "price": 12.99, "isbn": "0-553"},
        {"title": "C", "price": 22, "sold": false}
    ],
    "bicycle": {"price": 19.95},
    "limit": 10,
    "a.b": {"c d": 1}
}"#;

fn check(path: &str, expected: &str) {
    let root = from_json(STORE.as_bytes()).unwrap();
    let given = match Path::parse(path) {
        Err(error) => format!("path: {error}"),
        Ok(path) => path
            .query(&root, &mut { Budget::PLENTY })
            .map_or_else(|error| format!("query: {error}"), |value| to_json(&value)),
    };
    assert_eq!(given, expected, "{path}");
}

#[test]
fn names_and_places_lead_to_one_value() {
    check("$.book[0].title", r#""A""#);
    check("$['a.b']['c d']", "1");
    check(r#"$["book"][-1]["price"]"#, "22");
    check("$.book[7]", "null");
    check("$.limit", "10");
    check(" $.limit ", "10");
    check("$.none", r#"query: the path has no "none" to go on with"#);
    check(
        "$.limit[0]",
        "query: the path has no element 0 to go on with",
    );
    check(
        "$.book.title",
        r#"query: the path has no "title" to go on with"#,
    );
}

#[test]
fn others_lead_to_all_that_fit() {
    check("$.book[*].title", r#"["A","B","C"]"#);
    check("$.book[0,2].title", r#"["A","C"]"#);
    check("$.bicycle.*", "[19.95]");
    check("$.book[1:].title", r#"["B","C"]"#);
    check("$.book[:-1].title", r#"["A","B"]"#);
    check("$.book[::2].title", r#"["A","C"]"#);
    check("$.book[::-1].title", r#"["C","B","A"]"#);
    check("$.book[5:1].title", "[]");
    check("$..price", "[8.95,12.99,22,19.95]");
    check(
        "$..[0]",
        r#"[{"title":"A","price":8.95,"tags":["x"],"isbn":null},"x"]"#,
    );
    check("$.book[*].tags[0]", r#"["x"]"#);
    check("$['limit', 'bicycle']", r#"[10,{"price":19.95}]"#);
    check(
        "$.none[*]",
        r#"query: the path has no "none" to go on with"#,
    );
}

#[test]
fn filters_keep_what_fulfils_them() {
    check("$.book[? @.price > 10].title", r#"["B","C"]"#);
    check("$.book[?(@.price < $.limit)].title", r#"["A"]"#);
    check("$.book[?(@.isbn)].title", r#"["B"]"#);
    check("$.book[?(!@.isbn)].title", r#"["A","C"]"#);
    check("$.book[? @.isbn == null].title", r#"["A"]"#);
    check("$.book[? @.sold == false].title", r#"["C"]"#);
    check(
        "$.book[? @.title == 'B' || @.title == \"C\"].price",
        "[12.99,22]",
    );
    check("$.book[? @.price > 10 && @.price < 20].title", r#"["B"]"#);
    check("$.book[? @.price * 2 - 1 == 43].title", r#"["C"]"#);
    check("$.book[? @.price % 2 == 0 ].title", r#"["C"]"#);
    check("$.book[? @.title > 1].title", "[]");
    check("$.book[? @.title != 'A'].title", r#"["B","C"]"#);
    check("$.book[? @.tags[0] == 'x'].title", r#"["A"]"#);
    check("$.book[? @.price == -1].title", "[]");
    check("$.book[? (@.price > 10) == true].title", r#"["B","C"]"#);
}

#[test]
fn what_is_no_path_says_where() {
    check("", "path: expected `$` at character 1");
    check("$.", "path: expected a name or `*` at character 3");
    check("$x", "path: expected `.`, `[` or the end at character 2");
    check(
        "$[",
        "path: expected a name in quotes, a number, `*`, `?` or a slice at character 3",
    );
    check("$[0", "path: expected `]` at character 4");
    check(
        "$['a",
        "path: expected a text that ends with its quote at character 3",
    );
    check(
        "$[99999999999999999999]",
        "path: expected a number at character 23",
    );
    check(
        "$[? @.a >]",
        "path: expected a path, a number, a text in quotes, `true`, `false` or `null` at character 10",
    );
    check("$[? (@.a]", "path: expected `)` at character 9");
    check(&"$".repeat(1_001), "path: more than 1000 bytes");
    check(
        &format!("$[? {}1]", "(".repeat(100)),
        "path: nested more than 16 deep",
    );
    check(
        &format!("$[? {}1]", "!".repeat(100)),
        "path: nested more than 16 deep",
    );
    check(
        &format!("$[? 1{}]", "+1".repeat(100)),
        "path: nested more than 16 deep",
    );
    check(
        &format!("${}0", "[? @".repeat(100)),
        "path: nested more than 16 deep",
    );
}

#[test]
fn a_query_does_not_look_at_places_without_end() {
    let nested = |inner: String, _| format!("[{inner},{inner}]");
    let root = (0..10).fold("1".to_owned(), nested);
    let root = from_json(root.as_bytes()).unwrap();
    let path = Path::parse("$..*..*..*..*").unwrap();
    let error = path.query(&root, &mut { Budget::PLENTY }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the path looks at more than 100000 places"
    );
}
