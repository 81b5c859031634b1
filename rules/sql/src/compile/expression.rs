//! Expressions as handles on the stack. What is constant is worked out here and not in the function.

use tidemill_abi::{import, limit::FUEL_STATEMENT, value, value::op};
use tidemill_values::{
    BinaryOp, Cache, Context, FnError, Kind, Map, Purity, Value, binary, call, lookup, negate,
};
use wasm_encoder::{Instruction, ValType};

use super::condition::negated_op;
use super::names::Meaning;
use super::{Compiler, Scope};
use crate::ast::{Expr, Literal, Node, Op};
use crate::error::SqlError;

impl<'a> Compiler<'a> {
    pub(super) fn expression(&mut self, scope: &mut Scope, expr: &'a Expr) -> Result<(), SqlError> {
        self.written(expr, |compiler| compiler.value(scope, expr))
    }

    fn value(&mut self, scope: &mut Scope, expr: &'a Expr) -> Result<(), SqlError> {
        if let Some(constant) = self.constant(expr)? {
            let handle = self.module.constant(constant);
            scope.body.i32(handle);
            return Ok(());
        }
        match &expr.node {
            Node::Literal(_) | Node::Param(_) => {}
            Node::Column { stream, name } => self.column(scope, stream.as_deref(), name)?,
            Node::Star(stream) => {
                let stream = self.star_stream(stream.as_deref(), expr)?;
                scope.body.i32(stream);
                self.module.call(&mut scope.body, import::V_ROW);
            }
            Node::Negate(a) => self.operator(scope, op::NEGATE, &[Some(a)])?,
            Node::IsNull(a) => self.operator(scope, op::IS_NULL, &[Some(a)])?,
            Node::Not(a) => match negated_op(&a.node) {
                Some(op) => self.test(scope, op, &a.node)?,
                None => self.operator(scope, op::NOT, &[Some(a)])?,
            },
            Node::Binary(Op::And | Op::Or, ..) => self.truth(scope, expr)?,
            Node::Binary(op, a, b) => {
                self.operator(scope, binary_op(*op) as i32, &[Some(a), Some(b)])?;
            }
            Node::InList(..) | Node::InValue(..) => self.test(scope, op::IN, &expr.node)?,
            Node::Between(..) => self.test(scope, op::BETWEEN, &expr.node)?,
            Node::Like(..) => self.test(scope, op::LIKE, &expr.node)?,
            Node::Field(a, name) => {
                scope.body.i32(op::FIELD);
                self.expression(scope, a)?;
                self.text(scope, name);
                self.finish_op(scope, 2);
            }
            Node::Index(a, b) => self.operator(scope, op::INDEX, &[Some(a), Some(b)])?,
            Node::Slice(a, low, high) => {
                self.operator(
                    scope,
                    op::SLICE,
                    &[Some(a), low.as_deref(), high.as_deref()],
                )?;
            }
            Node::Case {
                operand,
                arms,
                otherwise,
            } => self.case(scope, operand.as_deref(), arms, otherwise.as_deref())?,
            Node::Call(call) => self.function(scope, call, expr)?,
        }
        Ok(())
    }

    /// An operator of up to three operands; `None` for one that is left out.
    pub(super) fn operator(
        &mut self,
        scope: &mut Scope,
        op: i32,
        operands: &[Option<&'a Expr>],
    ) -> Result<(), SqlError> {
        scope.body.i32(op);
        for operand in operands {
            match operand {
                Some(operand) => self.expression(scope, operand)?,
                None => scope.body.i32(value::ABSENT),
            }
        }
        self.finish_op(scope, operands.len());
        Ok(())
    }

    /// Calls the operator whose number and operands are on the stack.
    pub(super) fn finish_op(&mut self, scope: &mut Scope, operands: usize) {
        for _ in operands..3 {
            scope.body.i32(value::NULL);
        }
        self.module.call(&mut scope.body, import::V_OP);
    }

    pub(super) fn text(&mut self, scope: &mut Scope, text: &str) {
        let handle = self.module.text(text);
        scope.body.i32(handle);
    }

    fn column(
        &mut self,
        scope: &mut Scope,
        stream: Option<&str>,
        name: &str,
    ) -> Result<(), SqlError> {
        let number = match self.meaning(scope, stream, name) {
            Meaning::Alias(number) => return self.alias_value(scope, number),
            Meaning::Column(_) if self.folded_key(scope, name) => return Ok(()),
            Meaning::Column(number) => number,
            Meaning::FieldOf => {
                scope.body.i32(op::FIELD);
                self.column(scope, None, stream.unwrap_or_default())?;
                self.text(scope, name);
                self.finish_op(scope, 2);
                return Ok(());
            }
        };
        scope.body.i32(stream_number(number));
        self.text(scope, name);
        self.module.call(&mut scope.body, import::V_COL);
        Ok(())
    }

    /// The number of the stream before `.*`.
    pub(super) fn star_stream(&self, stream: Option<&str>, expr: &Expr) -> Result<i32, SqlError> {
        let Some(name) = stream else {
            return Ok(value::ANY_STREAM);
        };
        match self.stream(name) {
            Some(number) => Ok(stream_number(Some(number))),
            None => {
                let known: Vec<&str> = self.streams.iter().map(|s| s.name.as_str()).collect();
                let message = format!("there is no stream {name}, there is {}", known.join(", "));
                Err(SqlError::new(&expr.span, message))
            }
        }
    }

    /// AND and OR as a value.
    fn truth(&mut self, scope: &mut Scope, expr: &'a Expr) -> Result<(), SqlError> {
        self.condition(scope, expr)?;
        scope.body.i32(value::FALSE);
        scope.body.push(Instruction::I32Add);
        Ok(())
    }

    fn test(&mut self, scope: &mut Scope, op: i32, node: &'a Node) -> Result<(), SqlError> {
        match node {
            Node::InList(a, members) => {
                let members_are_constant = self.constants(members.iter())?;
                scope.body.i32(op);
                self.expression(scope, a)?;
                match members_are_constant {
                    Some(members) => {
                        let list = self.module.constant(Value::list(members));
                        scope.body.i32(list);
                    }
                    None => self.list(scope, members)?,
                }
                self.finish_op(scope, 2);
                Ok(())
            }
            Node::InValue(a, b) | Node::Like(a, b) => self.operator(scope, op, &[Some(a), Some(b)]),
            Node::Between(a, b, c) => self.operator(scope, op, &[Some(a), Some(b), Some(c)]),
            _ => Ok(()),
        }
    }

    /// A list of values.
    fn list(&mut self, scope: &mut Scope, members: &'a [Expr]) -> Result<(), SqlError> {
        for member in members {
            self.expression(scope, member)?;
            self.module.call(&mut scope.body, import::V_ARG);
        }
        scope.body.i32(op::LIST);
        scope
            .body
            .i32(i32::try_from(members.len()).unwrap_or(i32::MAX));
        self.finish_op(scope, 1);
        Ok(())
    }

    fn case(
        &mut self,
        scope: &mut Scope,
        operand: Option<&'a Expr>,
        arms: &'a [(Expr, Expr)],
        otherwise: Option<&'a Expr>,
    ) -> Result<(), SqlError> {
        let operand = match operand {
            Some(operand) => {
                self.expression(scope, operand)?;
                Some(self.keep(scope))
            }
            None => None,
        };
        let always = std::mem::replace(&mut scope.always, false);
        for (when, then) in arms {
            match operand {
                Some(operand) => {
                    scope.body.i32(op::CASE_EQUAL);
                    scope.body.get(operand);
                    self.expression(scope, when)?;
                    self.finish_op(scope, 2);
                    self.module.call(&mut scope.body, import::V_TRUE);
                }
                None => self.condition(scope, when)?,
            }
            scope.body.begin_if(Some(ValType::I32));
            self.expression(scope, then)?;
            scope.body.begin_else();
        }
        match otherwise {
            Some(otherwise) => self.expression(scope, otherwise)?,
            None => scope.body.i32(value::NULL),
        }
        for _ in arms {
            scope.body.end();
        }
        scope.always = always;
        Ok(())
    }

    /// The values of expressions that are all constant.
    pub(super) fn constants(
        &mut self,
        exprs: impl Iterator<Item = &'a Expr>,
    ) -> Result<Option<Vec<Value>>, SqlError> {
        let mut values = Vec::new();
        for expr in exprs {
            match self.constant(expr)? {
                Some(value) => values.push(value),
                None => return Ok(None),
            }
        }
        Ok(Some(values))
    }

    /// The value of an expression that no event can change. What fails is left to the event, which then
    /// becomes a dead letter with the reason.
    pub(super) fn constant(&mut self, expr: &'a Expr) -> Result<Option<Value>, SqlError> {
        // What is nested is asked for once more at each level.
        let paid = self.folding_budget.spend(LOOK_FUEL);
        paid.map_err(|_| too_costly("this expression", expr))?;
        Ok(match &expr.node {
            Node::Literal(literal) => Some(literal_value(literal)),
            Node::Param(name) => Some(self.param(name, expr)?),
            Node::Negate(a) => self.constant(a)?.and_then(|a| negate(&a).ok()),
            Node::Binary(op, a, b) => match (self.constant(a)?, self.constant(b)?) {
                (Some(a), Some(b)) => binary(binary_op(*op), &a, &b).ok().filter(is_small),
                _ => None,
            },
            Node::Call(called) => {
                let Some(function) = lookup(&called.name) else {
                    return Ok(None);
                };
                let is_plain = called.filter.is_none() && called.over.is_none();
                if function.kind != Kind::Scalar
                    || function.purity != Purity::Pure
                    || !is_plain
                    || !function.arity.takes(called.args.len())
                {
                    return Ok(None);
                }
                let Some(args) = self.constants(called.args.iter())? else {
                    return Ok(None);
                };
                let mut no_random = || 0;
                let mut context = Context {
                    now_ms: 0,
                    rule: "",
                    rule_start_ms: 0,
                    topic: "",
                    meta: &Map::new(),
                    random: &mut no_random,
                    cache: &mut Cache::default(),
                    budget: &mut self.folding_budget,
                };
                match call(function, &mut context, &args) {
                    Err(FnError::OutOfFuel) => return Err(too_costly(function.name, expr)),
                    result => result.ok().filter(is_small),
                }
            }
            _ => None,
        })
    }
}

/// Fuel of a look whether an expression is constant.
const LOOK_FUEL: u64 = 20;

/// Working out a constant takes more than a statement may take.
pub(super) fn too_costly(function: &str, expr: &Expr) -> SqlError {
    let message = format!(
        "working out {function} takes too long: the constants of a statement have {FUEL_STATEMENT} units of fuel in all"
    );
    SqlError::new(&expr.span, message)
}

/// Returns `true` if a constant may stand in the manifest.
fn is_small(value: &Value) -> bool {
    const CONSTANT_BYTES_MAX: usize = 256;
    // Bytes and moments have no form of their own in JSON.
    !matches!(
        value,
        Value::Bytes(_) | Value::Datetime(_) | Value::List(_) | Value::Map(_)
    ) && value.size() <= CONSTANT_BYTES_MAX
}

pub(super) fn stream_number(number: Option<usize>) -> i32 {
    number.map_or(value::ANY_STREAM, |number| {
        i32::try_from(number).unwrap_or(i32::MAX)
    })
}

pub(super) fn literal_value(literal: &Literal) -> Value {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Wide(value) => Value::whole(*value),
        Literal::Float(value) => Value::float(*value),
        Literal::Text(text) => Value::text(text.as_str()),
    }
}

fn binary_op(op: Op) -> BinaryOp {
    match op {
        Op::Or => BinaryOp::Or,
        Op::And => BinaryOp::And,
        Op::Eq => BinaryOp::Eq,
        Op::Ne => BinaryOp::Ne,
        Op::Lt => BinaryOp::Lt,
        Op::Le => BinaryOp::Le,
        Op::Gt => BinaryOp::Gt,
        Op::Ge => BinaryOp::Ge,
        Op::Add => BinaryOp::Add,
        Op::Sub => BinaryOp::Sub,
        Op::BitOr => BinaryOp::BitOr,
        Op::BitXor => BinaryOp::BitXor,
        Op::Mul => BinaryOp::Mul,
        Op::Div => BinaryOp::Div,
        Op::Rem => BinaryOp::Rem,
        Op::BitAnd => BinaryOp::BitAnd,
    }
}
