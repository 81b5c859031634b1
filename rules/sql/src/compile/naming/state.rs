//! Names of all that a statement keeps, as its manifest has them.

use serde_json::{Map, Value as Json, json};

use super::{At, quoted, stream_names};
use crate::ast::{Node, Window, WindowKind};
use crate::compile::{Compiler, Level, calls};
use crate::error::SqlError;

impl<'a> Compiler<'a> {
    /// The names of all that is kept.
    fn state_names(&mut self) -> Result<Map<String, Json>, SqlError> {
        let mut names = Map::new();
        let select = self.select;
        let mut put = |key: &str, list: Vec<Json>| {
            if !list.is_empty() {
                names.insert(key.to_owned(), list.into());
            }
        };
        let sources = self.streams.iter().map(|stream| stream.source.as_str());
        let mut streams = Vec::new();
        for name in stream_names(sources) {
            streams.push(Json::from(self.naming.cut(name, &select.from.span)?));
        }
        put("streams", streams);
        let own = (0..).zip(&self.steps);
        let own = own.map(|(place, step)| (step.slot == place).then_some(step.name.as_str()));
        put("steps", own.map(Json::from).collect());
        let notes = self.notes.iter().map(|note| {
            let place = usize::try_from(note.place).unwrap_or(usize::MAX);
            let step = self.steps.get(place);
            Json::from(step.map(|step| step.name.as_str()))
        });
        put("notes", notes.collect());
        let name_of = |name: &str| quoted(&self.naming.column(name));
        let slots = self
            .folding
            .iter()
            .flat_map(|folding| folding.slot_names(name_of));
        let mut named = Vec::new();
        for name in slots.collect::<Vec<_>>() {
            let name = name.map(|name| self.naming.cut(name, &(0..0)));
            named.push(Json::from(name.transpose()?));
        }
        put("slots", named);
        let hits = self.hits_names()?;
        put("hits", hits.into_iter().map(Json::from).collect());
        if let Some(window) = &select.window {
            let mut folds: Vec<String> = Vec::new();
            for expr in self.outputs().collect::<Vec<_>>() {
                let mut aggregates = Vec::new();
                expr.walk(&mut |expr| {
                    aggregates.extend(calls::is_aggregate(&expr.node).then_some(expr));
                });
                for aggregate in aggregates {
                    let name = self.name_of(&At::new(Level::Group, false), aggregate)?;
                    if !folds.contains(&name) {
                        folds.push(name);
                    }
                }
            }
            put("folds", folds.into_iter().map(Json::from).collect());
            let window = self.window_name(window)?;
            names.insert("window".to_owned(), window.into());
        }
        Ok(names)
    }

    /// The name of a window: all that decides on its rows and its end, besides its kind and
    /// lengths, which the host compares itself.
    fn window_name(&mut self, window: &'a Window) -> Result<String, SqlError> {
        let row = At::new(Level::Row, false);
        let mut parts = Vec::new();
        let filter = self.select.filter.as_ref();
        let folded = self.folding.is_some();
        if let Some(filter) = filter.filter(|_| folded || !self.filters_late(window)) {
            let filter = self.name_of(&At::new(Level::Row, true), filter)?;
            parts.push(format!("WHERE {filter}"));
        }
        if let Some(filter) = &window.filter {
            parts.push(format!("FILTER {}", self.name_of(&row, filter)?));
        }
        if let WindowKind::State { begin, emit } = &window.kind {
            parts.push(format!("BEGIN {}", self.name_of(&row, begin)?));
            if let Some(emit) = emit {
                parts.push(format!("END {}", self.name_of(&row, emit)?));
            }
        }
        let when = window.over.as_ref().and_then(|over| over.when.as_ref());
        if let Some(when) = when {
            parts.push(format!("WHEN {}", self.name_of(&row, when)?));
        }
        // Rows are kept with the types that their columns were declared to have. What is folded says so
        // for each column.
        let mut fields = Vec::new();
        for stream in self.streams.iter().filter(|_| !folded) {
            let stream_name = self.source_name(&stream.name);
            for (name, ty) in &stream.fields {
                fields.push(format!("{stream_name}.{} {}", quoted(name), ty.name()));
            }
        }
        fields.sort();
        if !fields.is_empty() {
            parts.push(format!("AS {}", fields.join(", ")));
        }
        self.naming.cut(parts.join(" "), &window.span)
    }

    /// The names of the conditions whose hits are counted, of rows and of groups.
    fn hits_names(&mut self) -> Result<Vec<Option<String>>, SqlError> {
        let select = self.select;
        let asked = |wanted: &str| {
            let mut all = self.outputs().chain(&select.filter);
            let window = select.window.iter();
            let conditions = window.flat_map(|window| match &window.kind {
                WindowKind::State { begin, emit } => [Some(&**begin), emit.as_deref()],
                _ => [
                    window.over.as_ref().and_then(|over| over.when.as_ref()),
                    None,
                ],
            });
            let found =
                |node: &Node| matches!(node, Node::Call(call) if call.name.starts_with(wanted));
            all.any(|expr| expr.any(&found)) || conditions.flatten().any(|expr| expr.any(&found))
        };
        let (of_rows, of_groups) = (asked("last_hit_"), asked("last_agg_hit_"));
        let rows = if !of_rows {
            None
        } else {
            let mut text = "hits".to_owned();
            if let Some(filter) = &select.filter {
                let filter = self.name_of(&At::new(Level::Row, true), filter)?;
                text = format!("{text} of WHERE {filter}");
            }
            if let Some(window) = &select.window {
                let window_name = self.window_name(window)?;
                text = format!("{text} in ({window_name})");
            }
            Some(self.naming.cut(text, &(0..0))?)
        };
        let groups = match (of_groups, &select.having) {
            (false, _) => None,
            (true, None) => Some("hits of groups".to_owned()),
            (true, Some(having)) => {
                let having = self.name_of(&At::new(Level::Group, false), having)?;
                Some(
                    self.naming
                        .cut(format!("hits of HAVING {having}"), &(0..0))?,
                )
            }
        };
        Ok(match (rows, groups) {
            (None, None) => Vec::new(),
            (rows, None) => vec![rows],
            (rows, groups) => vec![rows, groups],
        })
    }

    /// The manifest's part on the state, besides its size.
    pub(in crate::compile) fn state_json(&mut self) -> Result<Json, SqlError> {
        let mut names = self.state_names()?;
        // A statement keeps nothing else.
        names.insert("whole".to_owned(), true.into());
        Ok(match &self.folding {
            Some(folding) => json!({"slots": folding.slots(), "names": names}),
            None => json!({"names": names}),
        })
    }
}
