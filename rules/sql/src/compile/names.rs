//! Meanings of names: aliases before columns, streams before objects; and the names of columns that
//! have no alias.

use std::collections::BTreeSet;

use tidemill_values::{Value, lookup};

use super::naming::At;
use super::{Compiler, Level, Scope, calls};
use crate::ast::{Expr, Item, Node, Select};
use crate::error::SqlError;

/// Most expressions that are written out: an alias of aliases doubles with each of them. So many
/// would be no module of a statement.
const WRITTEN_MAX: usize = 64 * 1024;

/// Greatest depth of expressions in each other once aliases are written out: writing them recurses.
const WRITTEN_DEPTH_MAX: usize = 200;

/// A select item with a name of its own, which others may use.
#[derive(Debug, Clone)]
pub(super) struct Alias<'a> {
    pub(super) name: &'a str,
    pub(super) expr: &'a Expr,
    /// `true` if an aggregate is in it.
    pub(super) aggregates: bool,
}

/// Meaning of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    Alias(usize),
    /// A column of a stream, of whichever has it where there is no number.
    Column(Option<usize>),
    /// A field of a column: the first word is no stream.
    FieldOf,
}

pub(super) fn aliases(select: &Select) -> Vec<Alias<'_>> {
    let items = select.items.iter();
    items
        .filter_map(|item| match item {
            Item::Value {
                expr,
                alias: Some(name),
                ..
            } => Some(Alias {
                name,
                expr,
                aggregates: expr.any(&calls::is_aggregate),
            }),
            _ => None,
        })
        .collect()
}

impl<'a> Compiler<'a> {
    /// The meaning of a column's name here.
    pub(super) fn meaning(&self, scope: &Scope, stream: Option<&str>, name: &str) -> Meaning {
        match stream {
            Some(stream) => match self.stream(stream) {
                Some(number) => Meaning::Column(Some(number)),
                None => Meaning::FieldOf,
            },
            None => match self.alias(scope, name) {
                Some(number) => Meaning::Alias(number),
                None => Meaning::Column(None),
            },
        }
    }

    /// The stream of that name.
    pub(super) fn stream(&self, name: &str) -> Option<usize> {
        let mut streams = self.streams.iter();
        streams.position(|stream| stream.name.eq_ignore_ascii_case(name))
    }

    pub(super) fn alias(&self, scope: &Scope, name: &str) -> Option<usize> {
        self.alias_where((scope.level, scope.plain), &scope.open, name)
    }

    /// The alias that a name means at a place.
    pub(super) fn alias_at(&self, at: &At, name: &str) -> Option<usize> {
        self.alias_where((at.level, at.plain), &at.open, name)
    }

    fn alias_where(
        &self,
        (level, plain): (Level, bool),
        open: &[usize],
        name: &str,
    ) -> Option<usize> {
        let number = self.aliases.iter().position(|alias| alias.name == name)?;
        let alias = self.aliases.get(number)?;
        let column_meant = open.contains(&number)
            || (alias.aggregates && level != Level::Group)
            || (plain && mentions(alias.expr, name));
        (!column_meant).then_some(number)
    }

    /// Refuses an alias that is made of itself by way of others.
    pub(super) fn refuse_circles(&self) -> Result<(), SqlError> {
        let made_of: Vec<Vec<usize>> = (0..self.aliases.len()).map(|n| self.made_of(n)).collect();
        let mut fine = BTreeSet::new();
        for number in 0..made_of.len() {
            // The way from one alias to the next, each with how many of its parts were looked at.
            let mut way = vec![(number, 0)];
            while let Some((at, looked_at)) = way.last_mut() {
                let part = made_of.get(*at).and_then(|parts| parts.get(*looked_at));
                *looked_at += 1;
                match part {
                    None => {
                        fine.insert(*at);
                        way.pop();
                    }
                    Some(part) if fine.contains(part) => {}
                    Some(part) if way.iter().any(|(before, _)| before == part) => {
                        let Some(alias) = self.aliases.get(*part) else {
                            return Ok(());
                        };
                        let name = alias.name;
                        let message = format!("{name} is made of aliases that are made of {name}");
                        return Err(SqlError::new(&alias.expr.span, message));
                    }
                    Some(part) => way.push((*part, 0)),
                }
            }
        }
        Ok(())
    }

    /// The other aliases in the expression of one.
    fn made_of(&self, number: usize) -> Vec<usize> {
        let mut found = Vec::new();
        if let Some(alias) = self.aliases.get(number) {
            alias.expr.walk(&mut |expr| {
                if let Node::Column { stream: None, name } = &expr.node {
                    let mut aliases = self.aliases.iter();
                    found.extend(aliases.position(|other| other.name == name));
                }
            });
        }
        found.retain(|other| *other != number);
        found
    }

    /// Works out the aliases that `exprs` use and that are not worked out yet, those first that others
    /// are made of.
    pub(super) fn lets(&mut self, scope: &mut Scope, exprs: &[&'a Expr]) -> Result<(), SqlError> {
        let mut wanted = Vec::new();
        for expr in exprs {
            self.used(scope, expr, &mut Vec::new(), &mut wanted)?;
        }
        for number in wanted {
            if scope.lets.contains_key(&number) {
                continue;
            }
            self.written_out(scope, number)?;
            let local = self.keep(scope);
            scope.lets.insert(number, local);
        }
        Ok(())
    }

    /// The aliases in an expression, each behind those that it uses itself; `around` are those that it
    /// is made for.
    fn used(
        &self,
        scope: &Scope,
        expr: &'a Expr,
        around: &mut Vec<usize>,
        wanted: &mut Vec<usize>,
    ) -> Result<(), SqlError> {
        if around.len() > WRITTEN_DEPTH_MAX {
            let message =
                format!("aliases are made of each other in a row of more than {WRITTEN_DEPTH_MAX}");
            return Err(SqlError::new(&expr.span, message));
        }
        let mut names = Vec::new();
        names_in(expr, scope.level, &mut names);
        for name in names {
            let Some(number) = self.alias(scope, name) else {
                continue;
            };
            if wanted.contains(&number) || around.contains(&number) {
                continue;
            }
            if let Some(alias) = self.aliases.get(number) {
                around.push(number);
                self.used(scope, alias.expr, around, wanted)?;
                around.pop();
            }
            wanted.push(number);
        }
        Ok(())
    }

    /// The value of an alias, on the stack.
    pub(super) fn alias_value(&mut self, scope: &mut Scope, number: usize) -> Result<(), SqlError> {
        if scope.level != Level::Fold
            && let Some(local) = scope.lets.get(&number)
        {
            let local = *local;
            scope.body.get(local);
            return Ok(());
        }
        self.written_out(scope, number)
    }

    fn written_out(&mut self, scope: &mut Scope, number: usize) -> Result<(), SqlError> {
        let Some(alias) = self.aliases.get(number).cloned() else {
            return Ok(());
        };
        scope.open.push(number);
        let plain = std::mem::replace(&mut scope.plain, false);
        let result = self.expression(scope, alias.expr);
        scope.plain = plain;
        scope.open.pop();
        result
    }

    /// Writes one more expression, unless there are too many of them or too many around it.
    pub(super) fn written<T>(
        &mut self,
        expr: &Expr,
        write: impl FnOnce(&mut Self) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        self.written += 1;
        self.depth += 1;
        if self.depth > WRITTEN_DEPTH_MAX {
            let message = format!(
                "with its aliases written out this is nested deeper than {WRITTEN_DEPTH_MAX} levels"
            );
            return Err(SqlError::new(&expr.span, message));
        }
        if self.written > WRITTEN_MAX {
            let message = "with its aliases written out the statement is too long: they are made of \
                           each other, again and again";
            return Err(SqlError::new(&expr.span, message));
        }
        let written = write(self)?;
        self.depth -= 1;
        Ok(written)
    }

    /// A parameter's value.
    pub(super) fn param(&mut self, name: &str, expr: &Expr) -> Result<Value, SqlError> {
        match self.options.params.get(name) {
            Some(value) => {
                self.params_used.insert(name.to_owned());
                Ok(value.clone())
            }
            None => {
                let message =
                    format!("there is no parameter {name}; give it under [params]: {name} = 50");
                Err(SqlError::new(&expr.span, message))
            }
        }
    }
}

/// Returns `true` if a column of that name is in the expression.
pub(super) fn mentions(expr: &Expr, name: &str) -> bool {
    expr.any(&|node| matches!(node, Node::Column { stream: None, name: found } if found == name))
}

/// The plain names in an expression; those inside of aggregates mean columns and aliases of rows, which
/// are written out where they stand.
fn names_in<'e>(expr: &'e Expr, level: Level, names: &mut Vec<&'e str>) {
    match &expr.node {
        Node::Column { stream: None, name } => names.push(name),
        node if level == Level::Group && calls::is_aggregate(node) => {}
        node if calls::is_meta(node) => {}
        node => node.each(&mut |child| names_in(child, level, names)),
    }
}

/// The name of a column that has no alias; `unnamed` counts those that nothing gives a name.
pub(super) fn output_name(expr: &Expr, alias: Option<&str>, unnamed: &mut usize) -> String {
    if let Some(alias) = alias {
        return alias.to_owned();
    }
    match &expr.node {
        Node::Column { name, .. } => name.clone(),
        Node::Call(call) => match lookup(&call.name) {
            Some(function) => function.name.to_owned(),
            None => call.name.clone(),
        },
        _ => {
            *unnamed += 1;
            format!("kuiper_field_{}", *unnamed - 1)
        }
    }
}
