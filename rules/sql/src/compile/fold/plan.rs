//! Decision whether a window can be folded, and the meaning of its slots.

use tidemill_values::FieldType;

use crate::ast::{Call, Expr, Item, Node, Window, WindowKind};
use crate::compile::path::{Path, declares};
use crate::compile::{Compiler, calls};

/// Slots of one pane, by the ABI.
const SLOTS_MAX: usize = 200;

/// Layout of a folded window: the meaning of each slot.
#[derive(Debug, Clone, Default)]
pub(in crate::compile) struct Folding {
    /// The column of GROUP BY.
    pub(super) key: Option<String>,
    /// `true` if that column is declared a text.
    pub(super) text_key: bool,
    pub(super) columns: Vec<Column>,
    /// Rows that passed WHERE, where that is not simply all.
    pub(super) rows: Option<i32>,
    pub(super) slots: i32,
}

/// Slots of a column.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) path: Path,
    pub(super) kind: ColumnKind,
    /// Slot for the number of values, below 0 once one was a float.
    pub(super) count: i32,
    pub(super) sum: Option<i32>,
    pub(super) min: Option<Extreme>,
    pub(super) max: Option<Extreme>,
    /// The part of a sum of whole numbers beyond its own slot, where the column is not declared a float.
    pub(super) high: Option<i32>,
}

/// Type of a column's values, as far as it is known before they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnKind {
    /// Declared to be floats.
    Float,
    /// Declared to be whole numbers.
    Whole,
    /// Not declared.
    Any,
}

/// Slots of the smallest or largest value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extreme {
    pub(super) value: i32,
    /// Its type and last digits, where the column is not declared a float; see `tidemill_values::Extreme`.
    pub(super) mark: Option<i32>,
}

impl Column {
    /// Returns `true` if more is asked of it than the number of its values.
    pub(super) fn is_worked_out(&self) -> bool {
        self.sum.is_some() || self.min.is_some() || self.max.is_some()
    }
}

impl Folding {
    /// Slots of one pane.
    pub(in crate::compile) fn slots(&self) -> i32 {
        self.slots
    }

    /// The meaning of each slot, by names that another statement has for the same.
    pub(in crate::compile) fn slot_names(
        &self,
        name_of: impl Fn(&str) -> String,
    ) -> Vec<Option<String>> {
        let mut names = vec![None; usize::try_from(self.slots).unwrap_or(0)];
        let mut put = |slot: Option<i32>, name: String| {
            let slot = slot.and_then(|slot| usize::try_from(slot).ok());
            if let Some(place) = slot.and_then(|slot| names.get_mut(slot)) {
                *place = Some(name);
            }
        };
        if let Some(key) = &self.key {
            let what = if self.text_key { "text" } else { "type" };
            put(Some(0), format!("{what} of {}", name_of(key)));
        }
        put(self.rows, "count(*)".to_owned());
        for column in &self.columns {
            // Those of a column that is declared a float are other numbers.
            let name = name_of(&column.path.dotted());
            let name = match column.kind {
                ColumnKind::Any => name,
                ColumnKind::Whole => format!("{name} bigint"),
                ColumnKind::Float => format!("{name} float"),
            };
            put(Some(column.count), format!("count({name})"));
            put(column.sum, format!("sum({name})"));
            for (extreme, what) in [(column.min, "min"), (column.max, "max")] {
                put(extreme.map(|e| e.value), format!("{what}({name})"));
                let mark = extreme.and_then(|e| e.mark);
                put(mark, format!("type of {what}({name})"));
            }
            put(column.high, format!("steps of sum({name})"));
        }
        names
    }
}

impl<'a> Compiler<'a> {
    /// The layout of the folded window; `None` if it cannot be folded.
    pub(super) fn folding(&self, window: &Window) -> Option<Folding> {
        let select = self.select;
        let kind = matches!(
            window.kind,
            WindowKind::Tumbling { .. } | WindowKind::Hopping { .. }
        );
        let plain = kind
            && self.streams.len() == 1
            && window.filter.is_none()
            && window.over.iter().all(|over| over.when.is_none())
            && select.order.is_empty()
            && select.limit.is_none()
            && select.distinct.is_none()
            && select
                .items
                .iter()
                .all(|item| matches!(item, Item::Value { .. }))
            && !self.filters_by_aggregates()
            && self.has_aggregates()
            && (self.sends_aggregates() || !select.group.is_empty());
        if !plain {
            return None;
        }
        let mut folding = Folding::default();
        let partition = self.partition(window);
        match &*select.group {
            [] => folding.key = partition.map(str::to_owned),
            // The key is taken: groups inside of it need their rows.
            _ if self.options.keyed => return None,
            [only] => match &only.node {
                Node::Column { stream, name }
                    if self.is_column(stream.as_deref(), name)
                        && partition.is_none_or(|by| by == name) =>
                {
                    folding.key = Some(name.clone());
                }
                _ => return None,
            },
            _ => return None,
        }
        folding.slots += i32::from(folding.key.is_some());
        if let Some(declared) = folding.key.as_deref().and_then(|key| self.declared(key)) {
            // A key is a text: what is declared to be one comes out as it went in.
            if declared != FieldType::String {
                return None;
            }
            folding.text_key = true;
        }
        if let Some(filter) = &select.filter {
            // State that WHERE remembers is the rule's: with a key each group would have a memory
            // of its own. A hopping window calls once for each pane, and would remember each event
            // as often.
            let grouped = folding.key.is_some() && partition.is_none();
            let often = matches!(window.kind, WindowKind::Hopping { .. });
            if (grouped || often) && filter.any(&calls::remembers) {
                return None;
            }
            folding.rows = Some(folding.slots);
            folding.slots += 1;
        }
        for expr in self.outputs() {
            self.fold_in(&mut folding, expr)?;
        }
        let slots = usize::try_from(folding.slots).ok()?;
        let inputs = folding.columns.len() * 2 + 2;
        (slots <= SLOTS_MAX && inputs <= crate::module::INPUTS_MAX).then_some(folding)
    }

    /// Returns `true` if the name is that of a column, and of no alias.
    pub(in crate::compile) fn is_column(&self, stream: Option<&str>, name: &str) -> bool {
        let alias = self.aliases.iter().any(|alias| alias.name == name);
        let known = stream.is_none_or(|stream| self.stream(stream).is_some());
        let declared = self.streams.iter().flat_map(|stream| &stream.fields);
        let mut declared = declared.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        known && !alias && declared.all(|(field, _)| field == name)
    }

    /// The type that a column is declared to have.
    pub(in crate::compile) fn declared(&self, name: &str) -> Option<FieldType> {
        let mut fields = self.streams.iter().flat_map(|stream| &stream.fields);
        fields.find(|(field, _)| field == name).map(|(_, ty)| *ty)
    }

    /// Makes room for what an expression needs; `None` where it needs rows.
    fn fold_in(&self, folding: &mut Folding, expr: &Expr) -> Option<()> {
        match &expr.node {
            Node::Call(call) if calls::is_aggregate(&expr.node) => self.fold_call(folding, call),
            Node::Column { stream, name } => {
                let is_key = folding.key.as_deref() == Some(name.as_str());
                let is_alias =
                    stream.is_none() && self.aliases.iter().any(|alias| alias.name == name);
                (is_key || is_alias).then_some(())
            }
            Node::Star(_) => None,
            Node::Call(call) => {
                let asks = ["window_start", "window_end", "event_time"];
                let scalar = tidemill_values::lookup(&call.name)
                    .is_some_and(|function| function.kind == tidemill_values::Kind::Scalar);
                if !asks.contains(&call.name.as_str()) && (!scalar || calls::is_meta(&expr.node)) {
                    return None;
                }
                call.args
                    .iter()
                    .try_for_each(|arg| self.fold_in(folding, arg))
            }
            node => {
                let mut fits = Some(());
                node.each(&mut |child| {
                    if fits.is_some() {
                        fits = self.fold_in(folding, child);
                    }
                });
                fits
            }
        }
    }

    fn fold_call(&self, folding: &mut Folding, call: &Call) -> Option<()> {
        if call.filter.is_some() || call.over.is_some() {
            return None;
        }
        let [arg] = &*call.args else {
            return None;
        };
        if matches!(arg.node, Node::Star(_)) {
            return (call.name == "count").then_some(());
        }
        let path = self.input_path(arg)?;
        let kind = match self.declared_at(&path) {
            Some(FieldType::Float) => ColumnKind::Float,
            Some(FieldType::Bigint) => ColumnKind::Whole,
            Some(_) => return None,
            // A type is declared for others: this one is found in whatever case.
            None if self.streams.iter().any(|stream| declares(stream, &path)) => return None,
            None => ColumnKind::Any,
        };
        let is_number = kind != ColumnKind::Any || self.is_judged_a_number(&path);
        let Folding { columns, slots, .. } = folding;
        let mut slot = || {
            *slots += 1;
            *slots - 1
        };
        let known = columns.iter().position(|column| column.path == path);
        let place = known.unwrap_or_else(|| {
            columns.push(Column {
                path,
                kind,
                count: slot(),
                sum: None,
                min: None,
                max: None,
                high: (kind != ColumnKind::Float).then(&mut slot),
            });
            columns.len() - 1
        });
        let column = columns.get_mut(place)?;
        let mut extreme = || Extreme {
            value: slot(),
            mark: (kind != ColumnKind::Float).then(&mut slot),
        };
        match call.name.as_str() {
            "count" => {}
            "sum" | "avg" => {
                column.sum.get_or_insert_with(slot);
            }
            "min" if is_number => {
                column.min.get_or_insert_with(&mut extreme);
            }
            "max" if is_number => {
                column.max.get_or_insert_with(&mut extreme);
            }
            _ => return None,
        }
        Some(())
    }
}
