//! The columns that a statement reads, as far as its text tells: which declared fields are looked at, and
//! names that no message can have.

use super::calls::is_meta;
use super::{Compiler, Stream};
use crate::ast::{Expr, Item, Node, Span};
use crate::error::SqlError;
use tidemill_values::FieldType;

/// The column under which a message stands that is one value without columns.
const SELF: &str = "self";

/// A name that stands for a column, or may.
struct Named<'a> {
    /// The stream in front of it.
    stream: Option<usize>,
    name: &'a str,
    span: &'a Span,
    /// `true` if an alias has that name, too.
    is_alias: bool,
}

impl<'a> Compiler<'a> {
    /// Refuses names of columns that are known to be none.
    pub(super) fn refuse_unknown_columns(&self) -> Result<(), SqlError> {
        for named in self.columns().iter().filter(|named| !named.is_alias) {
            self.refuse_beside_self(named)?;
        }
        for (by, _) in &self.select.order {
            let mut named = Vec::new();
            self.columns_in(by, None, &mut named);
            for named in named.iter().filter(|named| !named.is_alias) {
                self.refuse_order_by(named)?;
            }
        }
        Ok(())
    }

    /// A message that is one value has no other column.
    fn refuse_beside_self(&self, named: &Named<'_>) -> Result<(), SqlError> {
        let mut streams = self.streams_of(named).peekable();
        let format = streams.peek().and_then(|stream| stream.bare.clone());
        let (Some(format), true) = (format, streams.all(|stream| stream.bare.is_some())) else {
            return Ok(());
        };
        if named.name.eq_ignore_ascii_case(SELF) {
            return Ok(());
        }
        let message = format!(
            "there is no column {}: a message that is {format:?} is one value, which a statement calls {SELF}",
            named.name
        );
        Err(SqlError::new(named.span, message))
    }

    /// Refuses to order by a name that is neither in the list nor a declared column, where all
    /// columns are declared.
    fn refuse_order_by(&self, named: &Named<'_>) -> Result<(), SqlError> {
        let is_declared = |stream: &&Stream| {
            let mut fields = stream.fields.iter();
            fields.any(|(field, _)| field.eq_ignore_ascii_case(named.name))
        };
        let all_known = self.streams_of(named).all(|stream| stream.complete);
        if !all_known || self.streams_of(named).any(|stream| is_declared(&stream)) {
            return Ok(());
        }
        let declared = self.streams_of(named).flat_map(|stream| &stream.fields);
        let aliases = self.aliases.iter().map(|alias| alias.name);
        let mut known: Vec<&str> = declared.map(|(field, _)| field.as_str()).collect();
        known.extend(aliases.filter(|_| named.stream.is_none()));
        let message = format!(
            "ORDER BY {}: it is neither a name of the SELECT list nor a column that is declared; there are {}",
            named.name,
            known.join(", ")
        );
        Err(SqlError::new(named.span, message))
    }

    fn streams_of(&self, named: &Named<'_>) -> impl Iterator<Item = &Stream> {
        let only = named.stream;
        let numbered = self.streams.iter().enumerate();
        let wanted = numbered.filter(move |(number, _)| only.is_none_or(|only| only == *number));
        wanted.map(|(_, stream)| stream)
    }

    /// The declared fields of a stream that the statement looks at: what stands in the others makes no
    /// difference to it.
    pub(super) fn fields_read(&self, stream: usize) -> Vec<(&str, FieldType)> {
        let fields = self.streams.get(stream).map(|stream| &*stream.fields);
        let fields = fields.unwrap_or_default().iter();
        let (all, columns) = (self.reads_whole_rows(), self.columns());
        let is_read = |field: &str| {
            // Points in it lead into a column.
            let column = field.split('.').next().unwrap_or(field);
            let mut named = columns.iter();
            named.any(|named| {
                named.stream.is_none_or(|only| only == stream)
                    && (named.name.eq_ignore_ascii_case(field)
                        || named.name.eq_ignore_ascii_case(column))
            })
        };
        let read = fields.filter(|(field, _)| all || is_read(field));
        read.map(|(field, ty)| (field.as_str(), *ty)).collect()
    }

    /// Returns `true` if some part of the statement takes all columns at once.
    fn reads_whole_rows(&self) -> bool {
        fn takes_all(expr: &Expr) -> bool {
            match &expr.node {
                Node::Star(_) => true,
                Node::Call(call) if call.name == "count" => call
                    .args
                    .iter()
                    .chain(&call.filter)
                    .any(|arg| !matches!(arg.node, Node::Star(_)) && takes_all(arg)),
                // It compares rows.
                Node::Call(call) if call.name == "deduplicate" => true,
                node if is_meta(node) => false,
                node => {
                    let mut any = false;
                    node.each(&mut |child| any |= takes_all(child));
                    any
                }
            }
        }
        let is_star = |item: &Item| matches!(item, Item::Star { .. });
        self.select.items.iter().any(is_star) || self.everything().into_iter().any(takes_all)
    }

    /// All names of columns in the statement.
    fn columns(&self) -> Vec<Named<'a>> {
        let mut found = Vec::new();
        for item in &self.select.items {
            // Its own name means a column in there.
            if let Item::Value { expr, alias, .. } = item {
                self.columns_in(expr, alias.as_deref(), &mut found);
            }
        }
        let values = self.select.items.iter().filter_map(|item| match item {
            Item::Value { expr, .. } => Some(expr),
            Item::Star { .. } => None,
        });
        let values: Vec<&Expr> = values.collect();
        for expr in self.everything() {
            if !values.iter().any(|value| std::ptr::eq(*value, expr)) {
                self.columns_in(expr, None, &mut found);
            }
        }
        found
    }

    fn columns_in(&self, expr: &'a Expr, own: Option<&str>, found: &mut Vec<Named<'a>>) {
        match &expr.node {
            Node::Column { stream, name } => {
                let number = stream.as_deref().and_then(|stream| self.stream(stream));
                // A name that is no stream's is a column with fields.
                let name = match (number, stream) {
                    (None, Some(column)) => column,
                    _ => name,
                };
                let mut aliases = self.aliases.iter();
                let is_alias = number.is_none()
                    && own != Some(name)
                    && aliases.any(|alias| alias.name == name);
                found.push(Named {
                    stream: number,
                    name,
                    span: &expr.span,
                    is_alias,
                });
            }
            node if is_meta(node) => {}
            node => node.each(&mut |child| self.columns_in(child, own, found)),
        }
    }
}
