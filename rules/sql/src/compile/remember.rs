//! Functions that remember see every event, whatever WHERE and windows make of it: they are worked out
//! first. Where a window keeps rows, what they gave is noted with the row and read when it fires. Only
//! those that look at a whole group or at the window are worked out at the firing, for each group before
//! HAVING.

use tidemill_abi::{import, limit::NOTES_MAX, value, value::op};
use tidemill_values::{Function, lookup};
use wasm_encoder::Instruction;

use super::calls::{count, is_aggregate, is_analytic};
use super::expression::stream_number;
use super::names::output_name;
use super::naming::At;
use super::{Compiler, Level, Scope};
use crate::ast::{Call, Expr, Item, Node, Span};
use crate::error::SqlError;

/// A value that is kept with the rows of a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Note {
    /// The place of its function.
    pub(super) place: i32,
    /// The stream whose rows have it.
    stream: i32,
}

/// A place in the statement where a function that remembers stands.
#[derive(Debug, Clone)]
pub(super) struct Step {
    span: Span,
    /// The number under which it keeps what it remembers: its own place, or that of an earlier function
    /// that means the same.
    pub(super) slot: i32,
    /// Its meaning, as a name.
    pub(super) name: String,
}

impl<'a> Compiler<'a> {
    /// Works out the functions that remember in everything that goes out or decides what does.
    pub(super) fn step_for_output(&mut self, scope: &mut Scope) -> Result<(), SqlError> {
        let select = self.select;
        for item in &select.items {
            match item {
                Item::Value { expr, alias, .. } => {
                    let mut aliases = self.aliases.iter();
                    let number = aliases.position(|known| Some(known.name) == alias.as_deref());
                    // Its own name means a column in there.
                    scope.open.extend(number);
                    self.step(scope, expr)?;
                    scope.open.clear();
                }
                Item::Star { replace, .. } => {
                    for (_, expr) in replace {
                        self.step(scope, expr)?;
                    }
                }
            }
        }
        for group in &select.group {
            self.step_plainly(scope, group)?;
        }
        let order = select.order.iter().map(|(by, _)| by);
        for expr in select.having.iter().chain(order) {
            self.step(scope, expr)?;
        }
        Ok(())
    }

    /// The same for an expression in which an alias of a column means the column.
    pub(super) fn step_plainly(
        &mut self,
        scope: &mut Scope,
        expr: &'a Expr,
    ) -> Result<(), SqlError> {
        let plain = std::mem::replace(&mut scope.plain, true);
        let done = self.step(scope, expr);
        scope.plain = plain;
        done
    }

    /// Works out the functions that remember in an expression and in the aliases that it uses, inner ones
    /// first.
    pub(super) fn step(&mut self, scope: &mut Scope, expr: &'a Expr) -> Result<(), SqlError> {
        if scope.level == Level::Group && is_aggregate(&expr.node) {
            // Expressions in there are about its rows, which had them noted when they came.
            return Ok(());
        }
        let mut children = Vec::new();
        expr.node.each(&mut |child| children.push(child));
        for child in children {
            self.step(scope, child)?;
        }
        match &expr.node {
            Node::Column { stream: None, name } => {
                let Some(number) = self.alias(scope, name) else {
                    return Ok(());
                };
                // Once is enough, however many others are made of it.
                if !scope.looked_into.insert(number) {
                    return Ok(());
                }
                let Some(alias) = self.aliases.get(number).cloned() else {
                    return Ok(());
                };
                scope.open.push(number);
                let plain = std::mem::replace(&mut scope.plain, false);
                let done = self.step(scope, alias.expr);
                scope.plain = plain;
                scope.open.pop();
                done
            }
            Node::Call(call) if self.steps_first(scope, expr) => {
                let (place, slot) = self.step_place(scope, expr)?;
                let Some(function) =
                    lookup(&call.name).filter(|_| !scope.steps.contains_key(&place))
                else {
                    return Ok(());
                };
                let stream = self.only_stream(expr);
                // Of those that mean the same one is worked out, and once.
                if let Some((local, _)) = scope.steps.get(&slot).copied() {
                    scope.steps.insert(place, (local, stream));
                    return Ok(());
                }
                self.analytic(scope, call, function, expr)?;
                let local = self.keep(scope);
                scope.steps.insert(slot, (local, stream));
                scope.steps.insert(place, (local, stream));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Returns `true` if it is a function that remembers and can be computed from what is at hand:
    /// the event alone, or the group that fires.
    fn steps_first(&self, scope: &Scope, expr: &Expr) -> bool {
        let Node::Call(call) = &expr.node else {
            return false;
        };
        is_analytic(&expr.node)
            && call.name != "changed_cols"
            && !call.name.starts_with("last_")
            && (scope.level == Level::Group || self.of_event(scope, expr, &mut Vec::new()))
    }

    /// Returns `true` if nothing in the expression is about a group or a window.
    pub(super) fn of_event<'e>(
        &'e self,
        scope: &Scope,
        expr: &'e Expr,
        known: &mut Vec<usize>,
    ) -> bool {
        const OF_WINDOW: [&str; 7] = [
            "last_agg_hit_count",
            "last_agg_hit_time",
            "window_start",
            "window_end",
            "window_trigger",
            "row_number",
            "changed_cols",
        ];
        let mut all = true;
        // One alias after the other: a row of them may be longer than the stack is deep.
        let mut waiting = vec![expr];
        while let Some(expr) = waiting.pop() {
            expr.walk(&mut |expr| match &expr.node {
                Node::Call(call) => {
                    let of_window = OF_WINDOW.contains(&call.name.as_str());
                    all &= !is_aggregate(&expr.node) && !of_window;
                }
                Node::Column { stream: None, name } => {
                    let mut aliases = self.aliases.iter();
                    let number = aliases.position(|alias| alias.name == name);
                    let number = number.filter(|number| !scope.open.contains(number));
                    // Once is enough.
                    let fresh = number.filter(|number| !known.contains(number));
                    if let Some(number) = fresh {
                        known.push(number);
                        waiting.extend(self.aliases.get(number).map(|alias| alias.expr));
                    }
                }
                _ => {}
            });
        }
        all
    }

    /// A function that remembers.
    pub(super) fn analytic(
        &mut self,
        scope: &mut Scope,
        call: &'a Call,
        function: &'static Function,
        expr: &'a Expr,
    ) -> Result<(), SqlError> {
        if let Some(filter) = &call.filter {
            let message = "FILTER stands behind an aggregate; here write OVER (WHEN …)";
            return Err(SqlError::new(&filter.span, message));
        }
        let (place, slot) = self.step_place(scope, expr)?;
        if self.stepped(scope, place) {
            return Ok(());
        }
        if scope.level == Level::Fold {
            let message = format!(
                "{} remembers, and cannot stand inside of an aggregate",
                call.name
            );
            return Err(SqlError::new(&call.name_span, message));
        }
        let given = match function.name {
            "changed_cols" => self.changed_columns(scope, call)?,
            _ => {
                self.arguments(scope, &call.args)?;
                count(call.args.len())
            }
        };
        let over = call.over.as_ref();
        if let Some(over) = over {
            self.refuse_order(over)?;
        }
        let partition = over.map_or(&[][..], |over| &over.partition);
        self.arguments(scope, partition)?;
        scope.body.i32(i32::from(function.number));
        scope.body.i32(slot);
        scope.body.i32(given);
        scope.body.i32(count(partition.len()));
        match over.and_then(|over| over.when.as_ref()) {
            Some(when) => {
                let always = std::mem::replace(&mut scope.always, false);
                self.condition(scope, when)?;
                scope.always = always;
            }
            None => scope.body.i32(1),
        }
        self.module.call(&mut scope.body, import::V_STEP);
        Ok(())
    }

    /// The columns that `changed_cols` looks at are handed over as one object, since it needs their names.
    fn changed_columns(&mut self, scope: &mut Scope, call: &'a Call) -> Result<i32, SqlError> {
        let (settings, columns) = call.args.split_at(call.args.len().min(2));
        self.arguments(scope, settings)?;
        let mut pairs = 0;
        for column in columns {
            match &column.node {
                Node::Star(_) => {
                    scope.body.i32(value::NULL);
                    self.module.call(&mut scope.body, import::V_ARG);
                }
                _ => {
                    let name = output_name(column, None, &mut 0);
                    self.text(scope, &name);
                    self.module.call(&mut scope.body, import::V_ARG);
                }
            }
            self.expression(scope, column)?;
            self.module.call(&mut scope.body, import::V_ARG);
            pairs += 2;
        }
        scope.body.i32(op::OBJECT);
        scope.body.i32(pairs);
        self.finish_op(scope, 1);
        self.module.call(&mut scope.body, import::V_ARG);
        Ok(3)
    }

    /// The number of a function's place in the statement, and the number under which it keeps what it
    /// remembers. Of those that mean the same the first keeps it for all; one that is worked out where it
    /// stands, and more than once for an event, has its own.
    pub(super) fn step_place(
        &mut self,
        scope: &Scope,
        expr: &'a Expr,
    ) -> Result<(i32, i32), SqlError> {
        let known = self.steps.iter().position(|known| known.span == expr.span);
        if let Some((place, step)) = known.and_then(|at| Some((at, self.steps.get(at)?))) {
            return Ok((count(place), step.slot));
        }
        let place = count(self.steps.len());
        let mut name = self.name_of(&At::of(scope), expr)?;
        let mut alike = self.steps.iter().filter(|step| step.name == name);
        let mut slot = alike.next().map_or(place, |step| step.slot);
        if matches!(&expr.node, Node::Call(call) if call.name == "changed_cols") {
            let first = name.clone();
            let mut number = 1;
            while self.steps.iter().any(|step| step.name == name) {
                number += 1;
                name = format!("{first} #{number}");
            }
            slot = place;
        }
        let span = expr.span.clone();
        self.steps.push(Step { span, slot, name });
        Ok((place, slot))
    }

    /// The stream that all columns in the expression are said to be of.
    fn only_stream(&self, expr: &Expr) -> i32 {
        let mut streams = Vec::new();
        expr.walk(&mut |expr| {
            if let Node::Column { stream, .. } = &expr.node {
                streams.push(stream.as_deref().and_then(|name| self.stream(name)));
            }
        });
        streams.dedup();
        match &*streams {
            [only] => stream_number(*only),
            _ => stream_number(None),
        }
    }

    /// The value of a function that was worked out before, on the stack.
    pub(super) fn stepped(&mut self, scope: &mut Scope, place: i32) -> bool {
        if let Some((local, _)) = scope.steps.get(&place) {
            let local = *local;
            scope.body.get(local);
            return true;
        }
        let mut notes = (0..).zip(&self.notes);
        let Some((number, note)) = notes.find(|(_, note)| note.place == place) else {
            return false;
        };
        let stream = note.stream;
        scope.body.i32(op::NOTED);
        scope.body.i32(number);
        scope.body.i32(stream);
        self.finish_op(scope, 2);
        true
    }

    /// Notes with the row what was worked out so far.
    pub(super) fn note_steps(&mut self, scope: &mut Scope) -> Result<(), SqlError> {
        if scope.steps.len() > NOTES_MAX {
            let message =
                format!("in a window at most {NOTES_MAX} functions that remember can stand");
            return Err(SqlError::new(&(0..0), message));
        }
        for (number, (place, (local, stream))) in (0..).zip(scope.steps.clone()) {
            scope.body.i32(op::NOTE);
            scope.body.get(local);
            scope.body.i32(number);
            self.finish_op(scope, 2);
            scope.body.push(Instruction::Drop);
            self.notes.push(Note { place, stream });
        }
        Ok(())
    }
}
