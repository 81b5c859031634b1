//! Columns that a window keeps of its rows: those that the statement names. Whoever works on such a row once
//! more, as a dead letter, finds all that the statement looks at.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::Compiler;
use super::calls::{is_aggregate, is_meta};
use super::names::mentions;
use crate::ast::{Expr, Item, Node};

/// Places that are looked at in the rows of a stream, as JSON pointers; `None` where whole rows are.
type Places = Option<BTreeSet<String>>;

/// Places and properties that are looked at in the rows of a window.
struct Looks {
    streams: Vec<Places>,
    /// User properties of the messages.
    meta: bool,
}

impl Looks {
    fn whole(&mut self, stream: Option<usize>) {
        for (number, places) in self.streams.iter_mut().enumerate() {
            if stream.is_none_or(|stream| stream == number) {
                *places = None;
            }
        }
    }

    fn at(&mut self, stream: Option<usize>, pointer: &str) {
        for (number, places) in self.streams.iter_mut().enumerate() {
            if let Some(places) = places
                && stream.is_none_or(|stream| stream == number)
            {
                places.insert(pointer.to_owned());
            }
        }
    }
}

impl<'a> Compiler<'a> {
    /// Says in the manifest what is kept of the rows, where that is not all.
    pub(super) fn describe_kept(&self, part: &mut Map<String, Json>) {
        let looks = self.looks();
        if looks.streams.iter().any(Option::is_some) {
            let streams = looks.streams.into_iter();
            let streams: Vec<Json> = streams
                .map(|places| places.map(Vec::from_iter).into())
                .collect();
            part.insert("keeps".to_owned(), streams.into());
        }
        if !looks.meta {
            part.insert("keeps_meta".to_owned(), false.into());
        }
    }

    fn looks(&self) -> Looks {
        let mut looks = Looks {
            streams: vec![Some(BTreeSet::new()); self.streams.len()],
            meta: false,
        };
        for item in &self.select.items {
            if let Item::Star { stream, .. } = item {
                looks.whole(stream.as_deref().and_then(|name| self.stream(name)));
            }
        }
        let outputs: Vec<&Expr> = self.outputs().collect();
        for expr in self.everything() {
            let of_groups = outputs.iter().any(|output| std::ptr::eq(*output, expr));
            self.look(expr, !of_groups, &mut looks);
        }
        for (number, stream) in self.streams.iter().enumerate() {
            let time = stream.timestamp.iter();
            time.for_each(|pointer| looks.at(Some(number), pointer));
        }
        if let Some(key) = &self.options.key_pointer {
            looks.at(None, key);
        }
        looks
    }

    /// Notes what an expression looks at, which is about single rows or about groups.
    fn look(&self, expr: &'a Expr, of_rows: bool, looks: &mut Looks) {
        if let Some((stream, path)) = self.place(expr) {
            let (name, _) = path.split();
            if stream.is_some() || !self.is_only_alias(name, of_rows) {
                looks.at(stream, &path.pointer());
            }
            return;
        }
        match &expr.node {
            Node::Star(stream) => {
                looks.whole(stream.as_deref().and_then(|name| self.stream(name)));
            }
            node if is_meta(node) => looks.meta = true,
            Node::Call(call) if call.name == "count" => {
                let counted = call.args.iter();
                let counted = counted.filter(|arg| !matches!(arg.node, Node::Star(_)));
                let parts = counted.chain(&call.filter);
                parts.for_each(|part| self.look(part, true, looks));
            }
            node => {
                if matches!(node, Node::Call(call) if call.name == "deduplicate") {
                    looks.whole(None);
                }
                let of_rows = of_rows || is_aggregate(node);
                node.each(&mut |child| self.look(child, of_rows, looks));
            }
        }
    }

    /// Returns `true` if a name stands for an alias, and nowhere for a column: in the alias itself
    /// it would, and where rows are looked at so would that of one that is made of aggregates.
    fn is_only_alias(&self, name: &str, of_rows: bool) -> bool {
        let mut aliases = self.aliases.iter();
        aliases.any(|alias| {
            alias.name == name && !(alias.aggregates && of_rows) && !mentions(alias.expr, name)
        })
    }
}
