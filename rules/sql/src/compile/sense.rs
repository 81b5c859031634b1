//! Statements that can be worked out and cannot mean what they say: each is an error that names what
//! would be right.

use std::collections::BTreeMap;

use tidemill_values::{FnError, NeverRight, Value, check_known, lookup};

use super::expression::too_costly;
use super::{Compiler, calls};
use crate::ast::{Call, Expr, Item, Literal, Node, Op, WindowKind};
use crate::error::SqlError;

impl<'a> Compiler<'a> {
    /// Refuses what can only be a slip of the pen.
    pub(super) fn check_sense(&mut self) -> Result<(), SqlError> {
        self.refuse_same_names()?;
        self.refuse_unknown_columns()?;
        for expr in self.everything() {
            let mut found = Ok(());
            expr.walk(&mut |expr| {
                if found.is_ok() {
                    found = refuse_null(expr)
                        .and_then(|()| refuse_arguments(expr))
                        .and_then(|()| self.refuse_settings(expr));
                }
            });
            found?;
        }
        let mut conditions = Vec::new();
        for expr in self.everything() {
            expr.walk(&mut |expr| {
                if let Node::Call(call) = &expr.node {
                    conditions.extend(call.filter.iter().map(|filter| ("FILTER", filter)));
                    let when = call.over.iter().filter_map(|over| over.when.as_ref());
                    conditions.extend(when.map(|when| ("WHEN", when)));
                }
            });
        }
        let select = self.select;
        conditions.extend(select.filter.iter().map(|filter| ("WHERE", filter)));
        conditions.extend(select.having.iter().map(|having| ("HAVING", having)));
        if let Some(window) = &select.window {
            conditions.extend(window.filter.iter().map(|filter| ("FILTER", filter)));
            let when = window.over.iter().filter_map(|over| over.when.as_ref());
            conditions.extend(when.map(|when| ("WHEN", when)));
        }
        for (clause, condition) in conditions {
            self.refuse_constant(clause, condition)?;
        }
        for (by, _) in &select.order {
            let is_given = by.any(&|node| matches!(node, Node::Param(_)));
            if !is_given && self.constant(by)?.is_some() {
                let message =
                    "ORDER BY a constant puts nothing in order; write the name of a column";
                return Err(SqlError::new(&by.span, message));
            }
        }
        match &select.limit_span {
            Some(span) if select.limit == Some(0) => {
                let message =
                    "LIMIT 0 sends nothing; leave it out, or write how many rows are to go out";
                Err(SqlError::new(span, message))
            }
            _ => Ok(()),
        }
    }

    /// Constant arguments of a function with which no event could get a value of it.
    fn refuse_settings(&mut self, expr: &'a Expr) -> Result<(), SqlError> {
        let Node::Call(called) = &expr.node else {
            return Ok(());
        };
        let Some(function) = lookup(&called.name) else {
            return Ok(());
        };
        let known = called.args.iter().map(|arg| self.constant(arg));
        let known: Vec<Option<Value>> = known.collect::<Result<_, _>>()?;
        let checked = check_known(function, &known, &mut self.folding_budget);
        checked.map_err(|NeverRight { place, error }| {
            if error == FnError::OutOfFuel {
                return too_costly(function.name, expr);
            }
            let arg = place.and_then(|place| called.args.get(place));
            let span = arg.map_or(&expr.span, |arg| &arg.span);
            SqlError::new(
                span,
                format!("{} can give nothing here: {error}", function.name),
            )
        })
    }

    /// All expressions of the statement.
    pub(super) fn everything(&self) -> Vec<&'a Expr> {
        let select = self.select;
        let mut all: Vec<&'a Expr> = self.outputs().collect();
        all.extend(select.filter.iter().chain(&select.group));
        all.extend(select.joins.iter().filter_map(|join| join.on.as_ref()));
        if let Some(window) = &select.window {
            all.extend(&window.filter);
            if let Some(over) = &window.over {
                all.extend(over.partition.iter().chain(&over.when));
            }
            if let WindowKind::State { begin, emit } = &window.kind {
                all.push(begin);
                all.extend(emit.as_deref());
            }
        }
        all
    }

    /// A condition without anything in it that an event or a parameter could change.
    fn refuse_constant(&mut self, clause: &str, condition: &'a Expr) -> Result<(), SqlError> {
        let is_given = condition.any(&|node| matches!(node, Node::Param(_)));
        let plain = matches!(condition.node, Node::Literal(Literal::Bool(true)));
        if is_given || plain {
            return Ok(());
        }
        let what = match self.constant(condition)? {
            None | Some(Value::Bool(true)) => return Ok(()),
            Some(Value::Bool(false) | Value::Null) => {
                "never holds: nothing would ever come out; leave it out, or compare a column"
                    .to_owned()
            }
            Some(other) => {
                format!(
                    "is {}, which is neither true nor false; compare it with something",
                    other.shown()
                )
            }
        };
        Err(SqlError::new(&condition.span, format!("{clause} {what}")))
    }

    /// Refuses two items of one name, of which one would be lost.
    fn refuse_same_names(&self) -> Result<(), SqlError> {
        let mut known = BTreeMap::new();
        for item in &self.select.items {
            let Item::Value {
                expr,
                alias: Some(alias),
                invisible: false,
            } = item
            else {
                continue;
            };
            if known.insert(alias.as_str(), ()).is_some() {
                let message = format!(
                    "two columns are called {alias}; give one of them another name behind AS"
                );
                return Err(SqlError::new(&expr.span, message));
            }
        }
        Ok(())
    }
}

/// A comparison with the literal NULL, which holds for nothing.
fn refuse_null(expr: &Expr) -> Result<(), SqlError> {
    let is_null = |expr: &Expr| matches!(expr.node, Node::Literal(Literal::Null));
    let message = match &expr.node {
        Node::Binary(op @ (Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge), a, b)
            if is_null(a) || is_null(b) =>
        {
            let right = match op {
                Op::Ne => "IS NOT NULL",
                _ => "IS NULL",
            };
            format!("a comparison with NULL never holds; write {right} behind what is asked about")
        }
        Node::Case {
            operand: Some(_),
            arms,
            ..
        } if arms.iter().any(|(when, _)| is_null(when)) => {
            "WHEN NULL never applies; write CASE WHEN … IS NULL THEN …".to_owned()
        }
        _ => return Ok(()),
    };
    Err(SqlError::new(&expr.span, message))
}

/// Constant arguments of aggregates that every window would fail over.
fn refuse_arguments(expr: &Expr) -> Result<(), SqlError> {
    let Node::Call(call) = &expr.node else {
        return Ok(());
    };
    if !calls::is_aggregate(&expr.node) {
        return Ok(());
    }
    let name = lookup(&call.name).map_or("", |function| function.name);
    let wanted = match name {
        "percentile_cont" | "percentile_disc" => "a share from 0 to 1, such as 0.95",
        "last_value" | "deduplicate" => "true or false",
        _ => return Ok(()),
    };
    let Some(second) = second_literal(call) else {
        return Ok(());
    };
    let fits = match (name, &second.node) {
        ("last_value" | "deduplicate", Node::Literal(Literal::Bool(_))) => true,
        ("last_value" | "deduplicate", _) => false,
        (_, Node::Literal(Literal::Int(0 | 1))) => true,
        (_, Node::Literal(Literal::Float(share))) => (0.0..=1.0).contains(share),
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        let message = format!("{name} takes {wanted} here");
        Err(SqlError::new(&second.span, message))
    }
}

/// The second argument, if it stands there as it is.
fn second_literal(call: &Call) -> Option<&Expr> {
    let second = call.args.get(1)?;
    let is_literal = match &second.node {
        Node::Literal(_) => true,
        Node::Negate(inner) => matches!(inner.node, Node::Literal(_)),
        _ => false,
    };
    is_literal.then_some(second)
}
