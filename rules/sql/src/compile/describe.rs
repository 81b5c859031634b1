//! Description of a statement: for the host, in the manifest, and for people, as a plan.

use serde_json::{Map, Value as Json, json};

use super::{Compiler, Stream};
use crate::ast::Span;

impl Compiler<'_> {
    /// Facts on streams and values that the host needs.
    pub(super) fn sql_part(&self) -> Map<String, Json> {
        let mut part = Map::new();
        let declared = self.streams.len() > 1 || self.streams.iter().any(|s| !s.fields.is_empty());
        if declared {
            let stream = |(number, stream): (usize, &Stream)| {
                let fields = self.fields_read(number).into_iter();
                let fields: Map<String, Json> = fields
                    .map(|(name, ty)| (name.to_owned(), ty.name().into()))
                    .collect();
                if stream.strict {
                    json!({"name": stream.name, "fields": fields, "strict": true})
                } else {
                    json!({"name": stream.name, "fields": fields})
                }
            };
            let streams: Vec<Json> = self.streams.iter().enumerate().map(stream).collect();
            part.insert("streams".to_owned(), streams.into());
        }
        let select = self.select;
        let window = select.window.as_ref();
        let apart = window.is_some_and(|window| self.partition(window).is_some());
        if window.is_some() && select.group.len() == 1 && !apart && !self.options.keyed {
            part.insert("group_keys".to_owned(), true.into());
        }
        if self.apart {
            part.insert("apart".to_owned(), true.into());
        }
        if window.is_some() && self.folding.is_none() {
            self.describe_kept(&mut part);
        }
        // By that name a statement sees a payload that is no object.
        if self.module.names("self") {
            part.insert("self".to_owned(), true.into());
        }
        if self.options.nulls {
            part.insert("nulls".to_owned(), true.into());
        }
        part
    }

    pub(super) fn describe(&self, plan: &mut Vec<(&'static str, String)>, sql: &str) {
        let text = |span: &Span| sql.get(span.clone()).unwrap_or_default().to_owned();
        for stream in &self.streams {
            let mut line = format!("{} from {}", stream.name, stream.filters.join(", "));
            if let Some(timestamp) = &stream.timestamp {
                line.push_str(&format!(", time from {timestamp}"));
            }
            plan.push(("reads", line));
        }
        for join in &self.select.joins {
            let on = join
                .on
                .as_ref()
                .map_or_else(String::new, |on| format!(" on {}", text(&on.span)));
            let kind = format!("{:?}", join.kind).to_lowercase();
            plan.push(("join", format!("{kind} {}{on}", join.source.name)));
        }
        if let Some(filter) = &self.select.filter {
            plan.push(("where", text(&filter.span)));
        }
        for by in &self.select.group {
            plan.push(("group by", text(&by.span)));
        }
        if let Some(having) = &self.select.having {
            plan.push(("having", text(&having.span)));
        }
        for (by, descending) in &self.select.order {
            let way = if *descending { " desc" } else { "" };
            plan.push(("order by", text(&by.span) + way));
        }
        if let Some(limit) = self.select.limit {
            plan.push(("limit", limit.to_string()));
        }
    }
}
