//! The picture at the top of the README, made of the rule and the event that stand below it and of what comes out when
//! they run: `TIDEMILL_WRITE_DOCS=1` writes it anew.

use std::fmt::Write;

use serde_json::Value;
use tidemill_tests::run;

use super::blocks::{Kind, blocks};
use super::root;

const PLACE: &str = "docs/tidemill.svg";

/// Colours for a light page, and for a dark one.
const STYLE: &str = "\
    text { font: 13px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #1f2328; }\n\
    .head { font: bold 16px system-ui, 'DejaVu Sans', sans-serif; }\n\
    .note { font: 12.5px system-ui, 'DejaVu Sans', sans-serif; fill: #59636e; }\n\
    .table { fill: #59636e; }\n\
    rect { fill: #f6f8fa; stroke: #d1d9e0; }\n\
    .disk { fill: #ddf4ff; stroke: #54aeff; }\n\
    .way { fill: none; stroke: #0969da; stroke-width: 2; }\n\
    .back { fill: none; stroke: #1a7f37; stroke-width: 2; stroke-dasharray: 5 4; }\n\
    .tip { fill: #0969da; }\n\
    .tip.done { fill: #1a7f37; }\n\
    @media (prefers-color-scheme: dark) {\n\
      text { fill: #f0f6fc; }\n\
      .note, .table { fill: #9198a1; }\n\
      rect { fill: #151b23; stroke: #3d444d; }\n\
      .disk { fill: #121d2f; stroke: #1f6feb; }\n\
      .way { stroke: #4493f8; }\n\
      .back { stroke: #3fb950; }\n\
      .tip { fill: #4493f8; }\n\
      .tip.done { fill: #3fb950; }\n\
    }\n";

/// A step on the way of an event.
struct Step<'a> {
    head: &'a str,
    class: &'a str,
    width: usize,
    lines: Vec<String>,
    notes: [&'a str; 2],
}

const TOP: usize = 36;
const GAP: usize = 44;
const LINE: usize = 17;

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

fn text(svg: &mut String, class: &str, x: usize, y: usize, text: &str) {
    let class = match class {
        "" => String::new(),
        class => format!(" class=\"{class}\""),
    };
    let text = escaped(text);
    writeln!(
        svg,
        "<text{class} x=\"{x}\" y=\"{y}\" xml:space=\"preserve\">{text}</text>"
    )
    .unwrap();
}

fn draw(steps: &[Step<'_>]) -> String {
    let width = steps.iter().map(|step| step.width + GAP).sum::<usize>() - GAP + 2;
    let box_height = |step: &Step<'_>| step.lines.len() * LINE + 22;
    let tallest = steps.iter().map(box_height).max().unwrap();
    let (middle, bottom) = (TOP + tallest / 2, TOP + tallest);
    let height = bottom + 96;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <title>An event, the rule that it triggers, the commit, and what is sent</title>\n<style>\n{STYLE}</style>\n"
    );
    let mut x = 1;
    let mut feet = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let (own, tall) = (step.width, box_height(step));
        let top = middle - tall / 2;
        text(&mut svg, "head", x + 4, top - 14, step.head);
        let class = match step.class {
            "" => String::new(),
            class => format!(" class=\"{class}\""),
        };
        writeln!(
            svg,
            "<rect{class} x=\"{x}\" y=\"{top}\" width=\"{own}\" height=\"{tall}\" rx=\"8\"/>"
        )
        .unwrap();
        for (line, number) in step.lines.iter().zip(1..) {
            let class = if line.starts_with('[') { "table" } else { "" };
            text(&mut svg, class, x + 12, top + 8 + number * LINE, line);
        }
        for (note, below) in step.notes.iter().zip([20, 37]) {
            text(&mut svg, "note", x + 4, top + tall + below, note);
        }
        feet.push((x + own / 2, top + tall + 50));
        x += own;
        if index + 1 < steps.len() {
            let tip = x + GAP - 6;
            writeln!(
                svg,
                "<path class=\"way\" d=\"M{} {middle}H{}\"/>",
                x + 6,
                tip - 8
            )
            .unwrap();
            writeln!(
                svg,
                "<path class=\"tip\" d=\"M{tip} {middle}l-10 -6v12z\"/>"
            )
            .unwrap();
        }
        x += GAP;
    }
    // Back from the commit to whoever sent the event.
    let ((from, high), (to, end), low) = (feet[2], feet[0], bottom + 76);
    writeln!(
        svg,
        "<path class=\"back\" d=\"M{from} {high}V{low}H{to}V{}\"/>",
        end + 8
    )
    .unwrap();
    writeln!(
        svg,
        "<path class=\"tip done\" d=\"M{to} {end}l-6 10h12z\"/>"
    )
    .unwrap();
    let words = "acknowledged once that is on disk: nothing is lost, nothing counts twice";
    text(&mut svg, "note", to + 14, low - 8, words);
    svg.push_str("</svg>\n");
    svg
}

/// The picture of a page whose first rule is tried on the event that it echoes.
fn picture(page: &str) -> String {
    let shown = blocks(page);
    let rule = shown
        .iter()
        .find(|block| block.kind() == Kind::Rule)
        .unwrap();
    let event = page
        .split("echo '")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rule.toml"), rule.text).unwrap();
    std::fs::write(folder.path().join("events.jsonl"), format!("{event}\n")).unwrap();
    let ran = run(
        folder.path(),
        &["rule", "test", "rule.toml", "--events", "events.jsonl"],
    );
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let event: Value = serde_json::from_str(event).unwrap();
    let sent: Value = serde_json::from_str(&ran.out).unwrap();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let uncommented = |line: &str| line.split(" #").next().unwrap().trim_end().to_owned();
    let rule: Vec<String> = rule.text.lines().map(uncommented).collect();
    let topic = rule
        .iter()
        .find_map(|line| line.strip_prefix("topic = "))
        .unwrap();
    let key = word(&sent["key"]);
    let topic = topic.trim_matches('"').replace("{key}", &key);
    draw(&[
        Step {
            head: "Event",
            class: "",
            width: 186,
            lines: vec![word(&event["topic"]), event["payload"].to_string()],
            notes: ["a sensor publishes it", "over MQTT"],
        },
        Step {
            head: "Rule",
            class: "",
            width: 216,
            lines: rule,
            notes: [
                "a text file; SQL, a stock function,",
                "or WebAssembly of any language",
            ],
        },
        Step {
            head: "Commit",
            class: "disk",
            width: 216,
            lines: vec![
                format!("event   {}", word(&event["topic"])),
                format!("state   {key}"),
                format!("result  {topic}"),
            ],
            notes: [
                "one record: all of it or none,",
                "crash and power cut included",
            ],
        },
        Step {
            head: "Destination",
            class: "",
            width: 186,
            lines: vec![topic, sent["payload"].to_string()],
            notes: ["a broker or HTTP; it waits on", "disk while that is away"],
        },
    ])
}

#[test]
fn the_picture_of_the_readme_is_what_its_rule_does() {
    let page = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(page.contains(&format!("]({PLACE})")));
    let picture = self::picture(&page);
    if std::env::var_os("TIDEMILL_WRITE_DOCS").is_some() {
        std::fs::write(root().join(PLACE), &picture).unwrap();
    }
    let shown = std::fs::read_to_string(root().join(PLACE)).unwrap_or_default();
    assert!(
        shown == picture,
        "TIDEMILL_WRITE_DOCS=1 cargo test -p tidemill-tests docs:: draws it anew"
    );
    let other = self::picture(
        &page
            .replace("limit = 50", "limit = 60")
            .replace("out/{key}", "hot/{key}"),
    );
    assert!(other.contains(">hot/d1<") && !other.contains(">out/d1<"));
}
