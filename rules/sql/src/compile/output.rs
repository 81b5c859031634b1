//! The row that goes out: items of the select list, stars with what they leave out, and functions that
//! make several rows of one.

use tidemill_abi::{import, value, value::op, value::walk};
use tidemill_values::Value;

use super::calls::{again, is_multi_row};
use super::names::output_name;
use super::{Compiler, Scope};
use crate::ast::{Expr, Item, Node};
use crate::error::SqlError;
use crate::module::Local;

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
                    self.item(scope, expr, alias.as_deref(), &name, *invisible)?;
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
        self.module.call(&mut scope.body, import::V_EMIT);
        if unnested.is_some() {
            if self.select.window.is_none() {
                // Without a window each row is sent for itself.
                self.flush(&mut scope.body, None);
            }
            again(&mut scope.body);
        }
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

    fn star(
        &mut self,
        scope: &mut Scope,
        stream: i32,
        except: &'a [String],
        replace: &'a [(String, Expr)],
    ) -> Result<(), SqlError> {
        let left_out: Vec<Value> = except
            .iter()
            .map(|name| Value::text(name.as_str()))
            .collect();
        let except = match left_out.is_empty() {
            true => value::NULL,
            false => self.module.constant(Value::list(left_out)),
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
        let number = alias.and_then(|alias| self.aliases.iter().position(|a| a.name == alias));
        if invisible {
            let done = number.is_some_and(|number| scope.lets.contains_key(&number));
            if !done {
                self.expression(scope, expr)?;
                scope.body.push(wasm_encoder::Instruction::Drop);
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
