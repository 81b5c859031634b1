//! Links from page to page: the file is there, and so is the heading.

use std::collections::BTreeSet;
use std::path::Path;

use super::{pages, root};

/// The name by which a heading is linked to.
pub(super) fn anchor(heading: &str) -> String {
    let kept = heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .collect::<String>();
    kept.replace(' ', "-")
}

/// All lines outside of fenced blocks.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut is_inside = false;
    page.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        is_inside ^= is_fence;
        !is_inside && !is_fence
    })
}

fn anchors(page: &str) -> BTreeSet<String> {
    let headings = prose(page).filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
    headings.map(anchor).collect()
}

fn targets(page: &str) -> impl Iterator<Item = &str> {
    let links = prose(page).flat_map(|line| line.split("](").skip(1));
    links.filter_map(|rest| rest.split(')').next())
}

#[test]
fn links_of_the_pages_lead_somewhere() {
    let mut wrong = String::new();
    let mut checked = 0;
    for name in pages() {
        let page = std::fs::read_to_string(root().join(&name)).unwrap();
        let folder = Path::new(&name).parent().unwrap();
        for target in targets(&page).filter(|target| !target.contains("://")) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let there = match file {
                "" => root().join(&name),
                file => root().join(folder).join(file),
            };
            let is_there = there.exists()
                && (heading.is_empty()
                    || std::fs::read_to_string(there)
                        .is_ok_and(|text| anchors(&text).contains(heading)));
            checked += 1;
            if !is_there {
                wrong.push_str(&format!("{name}: {target}\n"));
            }
        }
    }
    assert!(
        wrong.is_empty() && checked > 100,
        "{checked} links\n{wrong}"
    );
}

#[test]
fn headings_have_the_anchors_that_pages_are_shown_with() {
    for (heading, expected) in [
        ("An alarm after 5 minutes", "an-alarm-after-5-minutes"),
        (
            "`[broker]`: where sensors publish",
            "broker-where-sensors-publish",
        ),
        (
            "What is refused, tried again, or stands still",
            "what-is-refused-tried-again-or-stands-still",
        ),
    ] {
        assert_eq!(anchor(heading), expected);
    }
}
