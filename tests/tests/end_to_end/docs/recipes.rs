//! The recipes: each is short, whole, tried on events, and can be found. That what they show comes out is tested with
//! the other pages.

use super::blocks::{Kind, blocks};
use super::links::anchor;
use super::root;

/// The most lines that a rule of a recipe has: what somebody types who has no better way.
const LINES_MAX: usize = 15;

#[test]
fn each_recipe_is_a_short_rule_with_events_and_what_comes_out() {
    let page = std::fs::read_to_string(root().join("docs/recipes.md")).unwrap();
    let (intro, rest) = page.split_once("\n## ").unwrap();
    let recipes: Vec<&str> = rest.split("\n## ").collect();
    assert!(recipes.len() >= 20, "{}", recipes.len());
    for recipe in recipes {
        let (title, text) = recipe.split_once('\n').unwrap();
        let link = format!("(#{})", anchor(title));
        assert!(intro.contains(&link), "the table has no {title}");
        let words = text.trim_start().lines().next().unwrap();
        let is_searchable = words.starts_with('*') && words.ends_with(".*") && words.contains(", ");
        assert!(is_searchable, "{title}: other names come first: {words}");
        let blocks = blocks(text);
        let rules: Vec<_> = blocks
            .iter()
            .filter(|block| block.kind() == Kind::Rule)
            .collect();
        for rule in &rules {
            let lines = rule.text.lines().count();
            assert!(rule.text.starts_with("name = "), "{title}");
            assert!(lines <= LINES_MAX, "{title}: {lines} lines");
        }
        let results = blocks.iter().filter(|block| block.kind() == Kind::Results);
        let shown = results
            .filter(|block| block.text.contains("\"port\":"))
            .count();
        assert!(
            !rules.is_empty() && shown == rules.len(),
            "{title}: {shown} results"
        );
        assert!(
            blocks.iter().any(|block| block.kind() == Kind::Events),
            "{title}"
        );
    }
}
