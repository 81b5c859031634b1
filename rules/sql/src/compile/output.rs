//! The row that goes out: items of the select list, stars with what they leave out, and functions that
//! make several rows of one.

use tidemill_abi::{import, value, value::op, value::walk};
use tidemill_values::Value;
use wasm_encoder::{Instruction, ValType};

use super::calls::{again, is_multi_row};
use super::expression::stream_number;
use super::names::output_name;
use super::{Compiler, Scope};
use crate::ast::{Call, Expr, Item, Node, Over};
use crate::error::SqlError;
use crate::module::{Body, Local};

impl<'a> Compiler<'a> {
    /// Writes one row of output: the aliases that others use, then the items.
    pub(super) fn row_out(&mut self, scope: &mut Scope) -> Result<(), SqlError> {
        let outputs: Vec<&'a Expr> = self.outputs().collect();
        self.lets(scope, &outputs)?;
        self.items(scope)
    }

    /// The items and what the row is put in order by.
    pub(super) fn items(&mut self, scope: &mut Scope) -> Result<(), SqlError> {
        let unnested = self.unnested(scope)?;
        let alone =
            unnested.is_some() && self.select.window.is_none() && self.select.distinct.is_none();
        let limited = self.select.limit.filter(|_| alone);
        let sent = limited.map(|limit| (scope.body.local(ValType::I32), limit));
        if let Some((list, _)) = &unnested {
            scope.body.i32(walk::LIST);
            scope.body.get(*list);
            self.module.call(&mut scope.body, import::V_OPEN);
            self.next(&mut scope.body);
        }
        let mut unnamed = 0;
        for item in &self.select.items {
            match item {
                Item::Star {
                    stream,
                    except,
                    replace,
                    span,
                } => {
                    let at = Expr::new(Node::Star(None), span.clone());
                    let stream = self.star_stream(stream.as_deref(), &at)?;
                    self.star(scope, stream, except, replace)?;
                }
                Item::Value {
                    expr,
                    alias,
                    invisible,
                } => {
                    let name = output_name(expr, alias.as_deref(), &mut unnamed);
                    match self.same_columns(expr, alias.as_deref()) {
                        Some(streams) => self.first_of(scope, &streams, &name)?,
                        None => self.item(scope, expr, alias.as_deref(), &name, *invisible)?,
                    }
                }
            }
        }
        if let Some((_, name)) = &unnested {
            // Its columns are laid over those of the row.
            scope.body.i32(op::ELEMENT);
            self.finish_op(scope, 0);
            self.text(scope, name);
            self.module.call(&mut scope.body, import::V_MERGE);
        }
        for (by, descending) in &self.select.order {
            self.expression(scope, by)?;
            scope.body.i32(i32::from(*descending));
            self.module.call(&mut scope.body, import::V_ORDER);
        }
        if alone {
            self.send_row(&mut scope.body, sent)
        } else {
            self.module.call(&mut scope.body, import::V_EMIT)
        }
        if unnested.is_some() {
            again(&mut scope.body);
        }
        Ok(())
    }

    /// Sends the row by itself, as long as not so many were sent as LIMIT says.
    fn send_row(&mut self, body: &mut Body, sent: Option<(Local, u64)>) {
        if let Some((sent, limit)) = sent {
            body.get(sent);
            body.i32(i32::try_from(limit).unwrap_or(i32::MAX));
            body.push(Instruction::I32LtS);
            body.begin_if(None);
        }
        self.module.call(body, import::V_EMIT);
        self.flush(body, None);
        if let Some((sent, _)) = sent {
            body.get(sent);
            body.i32(1);
            body.push(Instruction::I32Add);
            body.set(sent);
            body.end();
        }
    }

    /// The streams of all items that are columns of one name without an alias, if there are several such
    /// items: there can be only one column of that name, and the first stream that has it gives it. An
    /// empty list stands for all streams.
    fn same_columns(&self, expr: &Expr, alias: Option<&str>) -> Option<Vec<usize>> {
        let Node::Column { name, .. } = &expr.node else {
            return None;
        };
        if alias.is_some() || self.streams.len() < 2 {
            return None;
        }
        let items = self.select.items.iter();
        let same = items.filter_map(|item| match item {
            Item::Value {
                expr,
                alias: None,
                invisible: false,
            } => match &expr.node {
                Node::Column {
                    stream,
                    name: other,
                } if other == name => Some(stream.as_deref()),
                _ => None,
            },
            _ => None,
        });
        let same: Vec<Option<&str>> = same.collect();
        if same.len() < 2 || self.aliases.iter().any(|alias| alias.name == name) {
            return None;
        }
        let named: Option<Vec<usize>> = same
            .iter()
            .map(|stream| stream.and_then(|stream| self.stream(stream)))
            .collect();
        let mut streams = named.unwrap_or_default();
        streams.sort_unstable();
        streams.dedup();
        if streams.len() == self.streams.len() {
            streams.clear();
        }
        Some(streams)
    }

    /// Sets a column to the value of the first of the streams that has it.
    fn first_of(
        &mut self,
        scope: &mut Scope,
        streams: &[usize],
        name: &str,
    ) -> Result<(), SqlError> {
        self.text(scope, name);
        if streams.is_empty() {
            scope.body.i32(stream_number(None));
            self.text(scope, name);
            self.module.call(&mut scope.body, import::V_COL);
        } else {
            for stream in streams {
                scope.body.i32(stream_number(Some(*stream)));
                self.text(scope, name);
                self.module.call(&mut scope.body, import::V_COL);
                self.module.call(&mut scope.body, import::V_ARG);
            }
            self.call_function(scope, "coalesce", streams.len());
        }
        self.module.call(&mut scope.body, import::V_SET);
        Ok(())
    }

    /// The list of the one item that makes several rows.
    fn unnested(&mut self, scope: &mut Scope) -> Result<Option<(Local, String)>, SqlError> {
        let mut found: Option<(Local, String)> = None;
        for item in &self.select.items {
            let Item::Value { expr, alias, .. } = item else {
                continue;
            };
            let Node::Call(call) = &expr.node else {
                continue;
            };
            if !is_multi_row(&expr.node) {
                continue;
            }
            let [list] = &*call.args else {
                let message = "unnest takes one argument, a list";
                return Err(SqlError::new(&call.name_span, message));
            };
            if found.is_some() {
                let message = "a statement has one function that makes several rows";
                return Err(SqlError::new(&call.name_span, message));
            }
            self.expression(scope, list)?;
            let name = output_name(expr, alias.as_deref(), &mut 0);
            found = Some((self.keep(scope), name));
        }
        Ok(found)
    }

    /// `row_number() OVER (PARTITION BY … ORDER BY …)`: the number is known once all rows are there.
    fn numbered(
        &mut self,
        scope: &mut Scope,
        call: &'a Call,
        over: &'a Over,
        name: &str,
    ) -> Result<(), SqlError> {
        const BITS: usize = 16;
        if let Some(when) = &over.when {
            let message = "row_number counts all rows: PARTITION BY and ORDER BY can stand here";
            return Err(SqlError::new(&when.span, message));
        }
        if let Some(arg) = call.args.first() {
            return Err(SqlError::new(&arg.span, "row_number takes no argument"));
        }
        if over.order.len() > BITS {
            let message = format!("rows are put in order by at most {BITS} expressions");
            return Err(SqlError::new(&over.span, message));
        }
        self.arguments(scope, &over.partition)?;
        let mut downwards = 0;
        for (place, (by, descending)) in over.order.iter().enumerate() {
            self.expression(scope, by)?;
            self.module.call(&mut scope.body, import::V_ARG);
            downwards |= i32::from(*descending) << place;
        }
        let counts = [over.partition.len(), over.order.len()];
        let counts = counts.map(|count| i32::try_from(count).unwrap_or(i32::MAX));
        scope.body.i32(op::NUMBER_ROWS);
        self.text(scope, name);
        scope.body.i32(counts[0]);
        scope.body.i32(counts[1] | (downwards << BITS));
        self.module.call(&mut scope.body, import::V_OP);
        scope.body.push(Instruction::Drop);
        Ok(())
    }

    fn star(
        &mut self,
        scope: &mut Scope,
        stream: i32,
        except: &'a [String],
        replace: &'a [(String, Expr)],
    ) -> Result<(), SqlError> {
        let replaced = replace.iter().map(|(name, _)| name);
        let left_out: Vec<Value> = except
            .iter()
            .chain(replaced)
            .map(|name| Value::text(name.as_str()))
            .collect();
        let except = if left_out.is_empty() {
            value::NULL
        } else {
            self.module.constant(Value::list(left_out))
        };
        scope.body.i32(stream);
        scope.body.i32(except);
        self.module.call(&mut scope.body, import::V_STAR);
        for (name, expr) in replace {
            self.text(scope, name);
            self.expression(scope, expr)?;
            self.module.call(&mut scope.body, import::V_SET);
        }
        Ok(())
    }

    fn item(
        &mut self,
        scope: &mut Scope,
        expr: &'a Expr,
        alias: Option<&str>,
        name: &str,
        invisible: bool,
    ) -> Result<(), SqlError> {
        if is_multi_row(&expr.node) {
            return Ok(());
        }
        let merges = matches!(&expr.node, Node::Call(call)
            if matches!(call.name.as_str(), "changed_cols" | "extract"));
        if merges {
            match &expr.node {
                Node::Call(call) if call.name == "extract" => match &*call.args {
                    [object] => self.expression(scope, object)?,
                    _ => {
                        let message = "extract takes one argument, an object";
                        return Err(SqlError::new(&call.name_span, message));
                    }
                },
                _ => self.expression(scope, expr)?,
            }
            self.text(scope, name);
            self.module.call(&mut scope.body, import::V_MERGE);
            return Ok(());
        }
        if let Node::Call(call) = &expr.node
            && call.name == "row_number"
            && let Some(over) = &call.over
        {
            return self.numbered(scope, call, over, name);
        }
        let number = alias.and_then(|alias| self.aliases.iter().position(|a| a.name == alias));
        if invisible {
            let done = number.is_some_and(|number| scope.lets.contains_key(&number));
            if !done {
                self.expression(scope, expr)?;
                scope.body.push(Instruction::Drop);
            }
            return Ok(());
        }
        self.text(scope, name);
        match number {
            Some(number) if scope.lets.contains_key(&number) => self.alias_value(scope, number)?,
            // Its own name means a column in there.
            Some(number) => {
                scope.open.push(number);
                let result = self.expression(scope, expr);
                scope.open.pop();
                result?;
            }
            None => self.expression(scope, expr)?,
        }
        self.module.call(&mut scope.body, import::V_SET);
        Ok(())
    }
}
