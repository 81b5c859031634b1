//! Functions: those of the registry by number, those that only the compiler knows, and what stands
//! behind a call: FILTER and OVER.

use tidemill_abi::{import, value, value::op};
use tidemill_values::{Function, Kind, lookup, nearest};
use wasm_encoder::Instruction;

use super::expression::stream_number;
use super::{Compiler, Level, Scope};
use crate::ast::{Call, Expr, Node, Over};
use crate::error::{SqlError, did_you_mean};
use crate::module::Body;

/// Functions that ask about window and event, and need no argument: name, operation, argument of
/// that.
const ASKING: [(&str, i32, i32); 8] = [
    ("window_start", op::WINDOW_START, 0),
    ("window_end", op::WINDOW_END, 0),
    ("window_trigger", op::WINDOW_TRIGGER, 0),
    ("event_time", op::EVENT_TIME, 0),
    ("last_hit_count", op::HIT_COUNT, 0),
    ("last_hit_time", op::HIT_TIME, 0),
    ("last_agg_hit_count", op::HIT_COUNT, 1),
    ("last_agg_hit_time", op::HIT_TIME, 1),
];

/// Returns `true` if the node is a call of an aggregate.
pub(super) fn is_aggregate(node: &Node) -> bool {
    matches!(node, Node::Call(call) if lookup(&call.name).is_some_and(|f| f.kind == Kind::Aggregate))
}

/// Returns `true` if the node is a call of a function that remembers.
pub(super) fn is_analytic(node: &Node) -> bool {
    matches!(node, Node::Call(call) if lookup(&call.name).is_some_and(|f| f.kind == Kind::Analytic))
}

/// Returns `true` if the node is a call of a function that tells of events before this one.
pub(super) fn remembers(node: &Node) -> bool {
    let counts = |call: &Call| call.name.starts_with("last_") && call.name.contains("_hit_");
    is_analytic(node) || matches!(node, Node::Call(call) if counts(call))
}

/// Returns `true` if the node is a function that makes several rows of one.
pub(super) fn is_multi_row(node: &Node) -> bool {
    matches!(node, Node::Call(call) if call.name == "unnest")
}

/// Returns `true` if the node asks about the message beside its payload: its argument is no column.
pub(super) fn is_meta(node: &Node) -> bool {
    matches!(node, Node::Call(call) if matches!(call.name.as_str(), "meta" | "mqtt"))
}

/// Returns `true` if the argument names the topic of the message, or of that of a stream.
fn is_topic(arg: &Expr) -> bool {
    matches!(&arg.node, Node::Column { name, .. } if name.eq_ignore_ascii_case("topic"))
}

impl<'a> Compiler<'a> {
    pub(super) fn has_aggregates(&self) -> bool {
        self.outputs().any(|expr| expr.any(&is_aggregate))
    }

    /// Returns `true` if the rows that go out are about groups as a whole, not about single rows. A
    /// condition on a whole window does not make it so: it lets all rows pass, or none.
    pub(super) fn sends_aggregates(&self) -> bool {
        self.selected().any(|expr| expr.any(&is_aggregate))
    }

    /// Returns `true` if WHERE asks about the window as a whole.
    pub(super) fn filters_by_aggregates(&self) -> bool {
        let filter = self.select.filter.as_ref();
        filter.is_some_and(|filter| filter.any(&is_aggregate))
    }

    /// The expressions that are worked out for what goes out.
    pub(super) fn outputs(&self) -> impl Iterator<Item = &'a Expr> {
        let select = self.select;
        let order = select.order.iter().map(|(by, _)| by);
        self.selected().chain(&select.having).chain(order)
    }

    /// The expressions of the select list.
    pub(super) fn selected(&self) -> impl Iterator<Item = &'a Expr> {
        use crate::ast::Item;
        let select = self.select;
        select.items.iter().flat_map(|item| {
            let (value, replaced) = match item {
                Item::Value { expr, .. } => (Some(expr), None),
                Item::Star { replace, .. } => (None, Some(replace.iter().map(|(_, expr)| expr))),
            };
            value.into_iter().chain(replaced.into_iter().flatten())
        })
    }

    pub(super) fn function(
        &mut self,
        scope: &mut Scope,
        call: &'a Call,
        expr: &'a Expr,
    ) -> Result<(), SqlError> {
        if is_meta(&expr.node) {
            return self.meta(scope, call);
        }
        if let Some((_, op, which)) = ASKING.iter().find(|(name, ..)| *name == call.name) {
            self.no_arguments(call)?;
            let of_window = *op == op::EVENT_TIME
                && scope.level == Level::Group
                && self.select.window.is_some();
            scope.body.i32(if of_window { op::WINDOW_END } else { *op });
            scope.body.i32(value::NULL);
            scope.body.i32(*which);
            self.finish_op(scope, 2);
            return Ok(());
        }
        if call.name == "row_number" {
            if let Some(over) = &call.over {
                let message =
                    "row_number() OVER (…) can only be an item of its own of the select list";
                return Err(SqlError::new(&over.span, message));
            }
            self.no_arguments(call)?;
            scope.body.i32(op::ROW_NUMBER);
            self.finish_op(scope, 0);
            return Ok(());
        }
        if is_multi_row(&expr.node) {
            let message = "unnest makes several rows of one: it can only be an item of its own of the select list";
            return Err(SqlError::new(&call.name_span, message));
        }
        let function = self.known(call)?;
        match function.kind {
            Kind::Scalar => {
                self.no_tail(call, true)?;
                self.arguments(scope, &call.args)?;
                self.call_function(scope, function.name, call.args.len());
                Ok(())
            }
            Kind::Aggregate => self.aggregate(scope, call, function),
            Kind::Analytic => self.analytic(scope, call, function, expr),
            Kind::MultiRow | Kind::Window => {
                let message = format!("{} is not supported here", call.name);
                Err(SqlError::new(&call.name_span, message))
            }
        }
    }

    /// Calls a function of the registry on the last arguments.
    pub(super) fn call_function(&mut self, scope: &mut Scope, name: &str, args: usize) {
        let number = lookup(name).map_or(-1, |function| i32::from(function.number));
        scope.body.i32(number);
        scope.body.i32(count(args));
        self.module.call(&mut scope.body, import::V_CALL);
    }

    /// The function of the registry, with as many arguments as it takes.
    fn known(&self, call: &Call) -> Result<&'static Function, SqlError> {
        let Some(function) = lookup(&call.name) else {
            let near = did_you_mean(&nearest(&call.name));
            let message = format!("there is no function {}{near}", call.name);
            return Err(SqlError::new(&call.name_span, message));
        };
        let has_star = call
            .args
            .iter()
            .any(|arg| matches!(arg.node, Node::Star(_)));
        if has_star || function.arity.takes(call.args.len()) {
            return Ok(function);
        }
        let message = format!(
            "{}({}) takes {}, not {}",
            function.name,
            function.arguments,
            function.arity,
            call.args.len()
        );
        Err(SqlError::new(&call.name_span, message))
    }

    fn no_arguments(&self, call: &Call) -> Result<(), SqlError> {
        self.no_tail(call, true)?;
        match call.args.first() {
            None => Ok(()),
            Some(arg) => {
                let message = format!("{} takes no argument", call.name);
                Err(SqlError::new(&arg.span, message))
            }
        }
    }

    /// FILTER belongs to aggregates, OVER to functions that remember.
    fn no_tail(&self, call: &Call, no_filter: bool) -> Result<(), SqlError> {
        if let Some(filter) = call.filter.as_ref().filter(|_| no_filter) {
            let message = "FILTER stands behind an aggregate such as count or avg";
            return Err(SqlError::new(&filter.span, message));
        }
        match &call.over {
            None => Ok(()),
            Some(over) => {
                let message =
                    "OVER stands behind a function that remembers, such as lag or acc_sum";
                Err(SqlError::new(&over.span, message))
            }
        }
    }

    /// ORDER BY inside of OVER is for rows that are numbered.
    pub(super) fn refuse_order(&self, over: &Over) -> Result<(), SqlError> {
        match over.order.first() {
            None => Ok(()),
            Some((by, _)) => {
                let message = "ORDER BY stands in the OVER of row_number alone";
                Err(SqlError::new(&by.span, message))
            }
        }
    }

    /// Hands arguments over; a star is the whole row.
    pub(super) fn arguments(
        &mut self,
        scope: &mut Scope,
        args: &'a [Expr],
    ) -> Result<(), SqlError> {
        for arg in args {
            self.expression(scope, arg)?;
            self.module.call(&mut scope.body, import::V_ARG);
        }
        Ok(())
    }

    fn meta(&mut self, scope: &mut Scope, call: &'a Call) -> Result<(), SqlError> {
        self.no_tail(call, true)?;
        match &*call.args {
            [arg] if call.name == "mqtt" && !is_topic(arg) => {
                let message = "mqtt() knows topic; ask for a user property by meta(user.name)";
                Err(SqlError::new(&arg.span, message))
            }
            [arg] => self.meta_name(scope, arg),
            _ => {
                let message = format!(
                    "{} takes one name: {}(topic), or meta(user.name) for a user property",
                    call.name, call.name
                );
                Err(SqlError::new(&call.name_span, message))
            }
        }
    }

    fn meta_name(&mut self, scope: &mut Scope, arg: &'a Expr) -> Result<(), SqlError> {
        match &arg.node {
            Node::Column { stream, name } => {
                let number = stream.as_deref().and_then(|stream| self.stream(stream));
                let is_nested = stream.is_some() && number.is_none();
                if is_nested {
                    scope.body.i32(op::FIELD);
                }
                scope.body.i32(stream_number(number));
                let first = stream.as_deref().filter(|_| is_nested).unwrap_or(name);
                self.text(scope, first);
                self.module.call(&mut scope.body, import::V_META);
                if is_nested {
                    self.text(scope, name);
                    self.finish_op(scope, 2);
                }
                Ok(())
            }
            Node::Field(inner, name) => {
                scope.body.i32(op::FIELD);
                self.meta_name(scope, inner)?;
                self.text(scope, name);
                self.finish_op(scope, 2);
                Ok(())
            }
            Node::Star(stream) => {
                let stream = self.star_stream(stream.as_deref(), arg)?;
                scope.body.i32(stream);
                self.text(scope, "*");
                self.module.call(&mut scope.body, import::V_META);
                Ok(())
            }
            _ => Err(SqlError::new(
                &arg.span,
                "expected a name: meta(topic), or meta(user.name) for a user property",
            )),
        }
    }

    /// An aggregate over the rows of the group.
    fn aggregate(
        &mut self,
        scope: &mut Scope,
        call: &'a Call,
        function: &'static Function,
    ) -> Result<(), SqlError> {
        self.no_tail(call, false)?;
        if scope.level == Level::Fold {
            let message = format!(
                "{} is an aggregate inside of another; work the inner one out as an alias of another rule",
                call.name
            );
            return Err(SqlError::new(&call.name_span, message));
        }
        if self.folded(scope, call) {
            return Ok(());
        }
        if let Some(total) = scope.totals.get(&call.name_span.start) {
            let total = *total;
            scope.body.get(total);
            return Ok(());
        }
        let level = std::mem::replace(&mut scope.level, Level::Fold);
        let always = std::mem::replace(&mut scope.always, false);
        let typed = std::mem::replace(&mut scope.typed, false);
        open(&mut self.module, &mut scope.body, value::walk::ROWS);
        self.next(&mut scope.body);
        if let Some(filter) = &call.filter {
            self.condition(scope, filter)?;
            scope.body.push(Instruction::I32Eqz);
            scope.body.push(Instruction::BrIf(0));
        }
        let mut given = 0;
        if function.name == "deduplicate" {
            // It gives back rows, which it is handed in front of its arguments.
            scope.body.i32(value::ANY_STREAM);
            self.module.call(&mut scope.body, import::V_ROW);
            self.module.call(&mut scope.body, import::V_ARG);
            given += 1;
        }
        for arg in &call.args {
            match (&arg.node, function.name) {
                (Node::Star(_), "count") => scope.body.i32(value::TRUE),
                _ => self.expression(scope, arg)?,
            }
            self.module.call(&mut scope.body, import::V_ARG);
            given += 1;
        }
        scope.body.i32(given);
        self.module.call(&mut scope.body, import::V_GATHER);
        again(&mut scope.body);
        scope.body.i32(i32::from(function.number));
        scope.body.i32(given);
        self.module.call(&mut scope.body, import::V_FOLD);
        (scope.level, scope.always, scope.typed) = (level, always, typed);
        Ok(())
    }

    /// `loop`: goes on to the next element, or leaves. What stands in it is ended by [`again`].
    pub(super) fn next(&mut self, body: &mut Body) {
        body.push(Instruction::Block(crate::module::block(None)));
        body.push(Instruction::Loop(crate::module::block(None)));
        self.module.call(body, import::V_NEXT);
        body.push(Instruction::I32Eqz);
        body.push(Instruction::BrIf(1));
    }
}

/// Begins to go through something.
pub(super) fn open(module: &mut crate::module::Module, body: &mut Body, what: i32) {
    body.i32(what);
    body.i32(0);
    module.call(body, import::V_OPEN);
}

/// The end of a loop that [`Compiler::next`] began.
pub(super) fn again(body: &mut Body) {
    body.push(Instruction::Br(0));
    body.end();
    body.end();
}

pub(super) fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
