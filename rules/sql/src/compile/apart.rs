//! Memories of groups: a function that remembers and looks at a group, `lag(avg(a))`, looks back at the same
//! group. Where OVER names no partition, what GROUP BY names is one: else each group would look back at
//! whatever group stood in front of it.

use std::collections::BTreeSet;

use super::calls::{is_aggregate, is_analytic};
use crate::ast::{Expr, Item, Node, Over, Select};

/// Parts the memories of functions that look at a group by what the statement groups by.
pub(super) fn part_by_groups(select: &mut Select) {
    if select.group.is_empty() {
        return;
    }
    let of_groups = aliases_of_groups(&select.items);
    let looks_at_group = |expr: &Expr| is_of_group(expr, &of_groups);
    let mut waiting: Vec<&mut Expr> = Vec::new();
    for item in &mut select.items {
        match item {
            Item::Value { expr, .. } => waiting.push(expr),
            Item::Star { replace, .. } => waiting.extend(replace.iter_mut().map(|(_, expr)| expr)),
        }
    }
    waiting.extend(&mut select.having);
    waiting.extend(select.order.iter_mut().map(|(by, _)| by));
    while let Some(expr) = waiting.pop() {
        let remembers = is_analytic(&expr.node);
        if let Node::Call(call) = &mut expr.node
            && remembers
            && call.args.iter().any(looks_at_group)
        {
            let span = call.name_span.clone();
            let over = call.over.get_or_insert_with(|| Over {
                partition: Vec::new(),
                order: Vec::new(),
                when: None,
                span,
            });
            if over.partition.is_empty() {
                over.partition.clone_from(&select.group);
            }
        }
        expr.node.each_mut(&mut |child| waiting.push(child));
    }
}

/// Aliases that stand for something about a group, in lower case: also by way of others.
fn aliases_of_groups(items: &[Item]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    loop {
        let before = found.len();
        for item in items {
            if let Item::Value {
                expr,
                alias: Some(alias),
                ..
            } = item
                && is_of_group(expr, &found)
            {
                found.insert(alias.to_lowercase());
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

fn is_of_group(expr: &Expr, aliases: &BTreeSet<String>) -> bool {
    expr.any(&|node| match node {
        Node::Column { stream: None, name } => aliases.contains(&name.to_lowercase()),
        node => is_aggregate(node),
    })
}
