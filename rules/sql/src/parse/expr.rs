//! Expressions: operators by how tightly they bind, what stands behind a value, and functions.

use super::{Parser, is_reserved, too_deep};
use crate::ast::{Call, Expr, Literal, Node, Op, Over};
use crate::error::SqlError;
use crate::lex::Kind;

/// Binding power of comparisons.
const COMPARISON: u8 = 4;
/// Binding power of NOT.
const NOT: u8 = 3;

impl Parser {
    pub(super) fn expr(&mut self) -> Result<Expr, SqlError> {
        self.binary(0)
    }

    /// An expression of operators that bind at least as tightly as `least`.
    fn binary(&mut self, least: u8) -> Result<Expr, SqlError> {
        self.depth += 1;
        if self.depth > super::DEPTH_MAX {
            return Err(too_deep(&self.span()));
        }
        let start = self.span().start;
        let mut left = self.unary()?;
        loop {
            let (op, binds) = match self.operator() {
                Some(found) if found.1 >= least => found,
                _ if COMPARISON >= least => match self.test(&left, start)? {
                    Some(test) => {
                        left = test;
                        continue;
                    }
                    None => break,
                },
                _ => break,
            };
            self.advance();
            let right = self.binary(binds + 1)?;
            left = self.node(Node::Binary(op, Box::new(left), Box::new(right)), start)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operator(&self) -> Option<(Op, u8)> {
        Some(match self.peek() {
            Kind::Word(word) if word.eq_ignore_ascii_case("or") => (Op::Or, 1),
            Kind::Word(word) if word.eq_ignore_ascii_case("and") => (Op::And, 2),
            Kind::Symbol(symbol) => match *symbol {
                "=" => (Op::Eq, COMPARISON),
                "!=" | "<>" => (Op::Ne, COMPARISON),
                "<" => (Op::Lt, COMPARISON),
                "<=" => (Op::Le, COMPARISON),
                ">" => (Op::Gt, COMPARISON),
                ">=" => (Op::Ge, COMPARISON),
                "+" => (Op::Add, 5),
                "-" => (Op::Sub, 5),
                "|" => (Op::BitOr, 5),
                "^" => (Op::BitXor, 5),
                "*" => (Op::Mul, 6),
                "/" => (Op::Div, 6),
                "%" => (Op::Rem, 6),
                "&" => (Op::BitAnd, 6),
                _ => return None,
            },
            _ => return None,
        })
    }

    /// `IN`, `BETWEEN`, `LIKE`, `IS NULL`, with or without a NOT.
    fn test(&mut self, left: &Expr, start: usize) -> Result<Option<Expr>, SqlError> {
        let is_test = |kind: &Kind| {
            let words = ["in", "between", "like"];
            matches!(kind, Kind::Word(word) if words.iter().any(|w| word.eq_ignore_ascii_case(w)))
        };
        let negated = self.is_word("not") && is_test(self.peek_after(1));
        if !negated && !is_test(self.peek()) && !self.is_word("is") {
            return Ok(None);
        }
        if negated {
            self.advance();
        }
        let left = Box::new(left.clone());
        let (node, negated) = if self.eat_word("is") {
            let negated = self.eat_word("not");
            self.expect_word("null")?;
            (Node::IsNull(left), negated)
        } else if self.eat_word("in") {
            (self.members(left)?, negated)
        } else if self.eat_word("between") {
            let low = Box::new(self.binary(COMPARISON + 1)?);
            self.expect_word("and")?;
            let high = Box::new(self.binary(COMPARISON + 1)?);
            (Node::Between(left, low, high), negated)
        } else {
            self.expect_word("like")?;
            let pattern = Box::new(self.binary(COMPARISON + 1)?);
            (Node::Like(left, pattern), negated)
        };
        let test = self.node(node, start)?;
        if negated {
            self.node(Node::Not(Box::new(test)), start).map(Some)
        } else {
            Ok(Some(test))
        }
    }

    fn members(&mut self, left: Box<Expr>) -> Result<Node, SqlError> {
        if !self.eat("(") {
            let list = self.binary(COMPARISON + 1)?;
            return Ok(Node::InValue(left, Box::new(list)));
        }
        let members = self.list(Self::expr)?;
        self.expect(")")?;
        Ok(Node::InList(left, members))
    }

    fn unary(&mut self) -> Result<Expr, SqlError> {
        let start = self.span().start;
        if self.eat_word("not") {
            let inner = self.binary(NOT + 1)?;
            return self.node(Node::Not(Box::new(inner)), start);
        }
        if self.eat("-") {
            self.depth += 1;
            if self.depth > super::DEPTH_MAX {
                return Err(too_deep(&self.span()));
            }
            let inner = self.unary()?;
            self.depth -= 1;
            let node = match inner.node {
                Node::Literal(Literal::Int(value)) if value != i64::MIN => {
                    Node::Literal(Literal::Int(-value))
                }
                Node::Literal(Literal::Wide(value)) if value == i64::MIN.unsigned_abs() => {
                    Node::Literal(Literal::Int(i64::MIN))
                }
                Node::Literal(Literal::Float(value)) => Node::Literal(Literal::Float(-value)),
                _ => Node::Negate(Box::new(inner)),
            };
            return self.node(node, start);
        }
        if self.eat("+") {
            return self.unary();
        }
        let value = self.primary()?;
        self.behind(value, start)
    }

    /// Reads the accesses behind a value: `->name`, `.name`, `[i]`, `[a:b]`.
    fn behind(&mut self, mut value: Expr, start: usize) -> Result<Expr, SqlError> {
        loop {
            let node = if self.eat("->") {
                if self.eat("[") {
                    self.subscript(value)?
                } else {
                    Node::Field(Box::new(value), self.member()?)
                }
            } else if self.is(".") && !matches!(value.node, Node::Literal(_)) {
                self.advance();
                Node::Field(Box::new(value), self.member()?)
            } else if self.eat("[") {
                self.subscript(value)?
            } else {
                return Ok(value);
            };
            value = self.node(node, start)?;
        }
    }

    /// The name behind an arrow or a point: any word will do there.
    fn member(&mut self) -> Result<String, SqlError> {
        match self.peek().clone() {
            Kind::Word(name) | Kind::Quoted(name) => {
                self.advance();
                Ok(name)
            }
            _ => Err(self.unexpected("the name of a field")),
        }
    }

    fn subscript(&mut self, value: Expr) -> Result<Node, SqlError> {
        let value = Box::new(value);
        if self.eat("]") {
            // All of it, as eKuiper has it.
            return Ok(Node::Slice(value, None, None));
        }
        let low = if self.is(":") {
            None
        } else {
            Some(Box::new(self.bound()?))
        };
        if self.eat(":") {
            let high = if self.is("]") {
                None
            } else {
                Some(Box::new(self.bound()?))
            };
            self.expect("]")?;
            return Ok(Node::Slice(value, low, high));
        }
        if let Kind::Param(name) = self.peek().clone() {
            // `a[x:y]` without a blank is a range to `y`, not a parameter.
            let span = self.span();
            self.advance();
            self.expect("]")?;
            let high = Expr::new(
                Node::Column { stream: None, name },
                span.start + 1..span.end,
            );
            return Ok(Node::Slice(value, low, Some(Box::new(high))));
        }
        self.expect("]")?;
        match low {
            Some(index) => Ok(Node::Index(value, index)),
            None => Err(self.unexpected("an index")),
        }
    }

    /// A bound of a range; `:y` alone is the upper one.
    fn bound(&mut self) -> Result<Expr, SqlError> {
        if let Kind::Param(name) = self.peek().clone() {
            let span = self.span();
            self.advance();
            return Ok(Expr::new(
                Node::Column { stream: None, name },
                span.start + 1..span.end,
            ));
        }
        self.expr()
    }

    fn primary(&mut self) -> Result<Expr, SqlError> {
        let start = self.span().start;
        let node = match self.peek().clone() {
            Kind::Int(value) => self.literal(Literal::Int(value)),
            Kind::Wide(value) => self.literal(Literal::Wide(value)),
            Kind::Float(value) => self.literal(Literal::Float(value)),
            Kind::Text(value) => self.literal(Literal::Text(value)),
            Kind::Param(name) => {
                self.advance();
                Node::Param(name)
            }
            Kind::Symbol("(") => {
                self.advance();
                let inner = self.expr()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Kind::Symbol("*") => {
                self.advance();
                Node::Star(None)
            }
            Kind::Quoted(name) => {
                self.advance();
                self.column(name)?
            }
            Kind::Word(word) => return self.word(&word),
            _ => return Err(self.unexpected("an expression")),
        };
        self.node(node, start)
    }

    fn literal(&mut self, literal: Literal) -> Node {
        self.advance();
        Node::Literal(literal)
    }

    fn word(&mut self, word: &str) -> Result<Expr, SqlError> {
        let start = self.span().start;
        let is_call = matches!(self.peek_after(1), Kind::Symbol("("));
        let node = match word.to_ascii_lowercase().as_str() {
            "true" if !is_call => self.literal(Literal::Bool(true)),
            "false" if !is_call => self.literal(Literal::Bool(false)),
            "null" | "nil" if !is_call => self.literal(Literal::Null),
            "case" => self.case()?,
            name if is_call && !matches!(name, "and" | "or" | "in" | "when" | "then" | "else") => {
                Node::Call(Box::new(self.call(name.to_owned())?))
            }
            name if is_reserved(name) => return Err(self.reserved(word)),
            _ => {
                self.advance();
                self.column(word.to_owned())?
            }
        };
        self.node(node, start)
    }

    /// A column, or `stream.column`; whether the first word is a stream is left to the plan.
    fn column(&mut self, name: String) -> Result<Node, SqlError> {
        if !self.is(".") {
            return Ok(Node::Column { stream: None, name });
        }
        self.advance();
        if self.eat("*") {
            return Ok(Node::Star(Some(name)));
        }
        Ok(Node::Column {
            stream: Some(name),
            name: self.member()?,
        })
    }

    fn case(&mut self) -> Result<Node, SqlError> {
        self.expect_word("case")?;
        let operand = if self.is_word("when") {
            None
        } else {
            Some(Box::new(self.expr()?))
        };
        let mut arms = Vec::new();
        while self.eat_word("when") {
            let when = self.expr()?;
            self.expect_word("then")?;
            arms.push((when, self.expr()?));
        }
        if arms.is_empty() {
            return Err(self.unexpected("WHEN"));
        }
        let otherwise = if self.eat_word("else") {
            Some(Box::new(self.expr()?))
        } else {
            None
        };
        self.expect_word("end")?;
        Ok(Node::Case {
            operand,
            arms,
            otherwise,
        })
    }

    fn call(&mut self, name: String) -> Result<Call, SqlError> {
        let name_span = self.span();
        self.advance();
        self.expect("(")?;
        let mut args = Vec::new();
        if self.is_word("distinct") && !matches!(self.peek_after(1), Kind::Symbol("," | ")")) {
            let message = format!(
                "DISTINCT stands behind SELECT alone; how many different values there are is \
                 cardinality(array_distinct(collect(x))) instead of {name}(DISTINCT x)"
            );
            return Err(SqlError::new(&self.span(), message));
        }
        if !self.is(")") {
            args = self.list(Self::expr)?;
        }
        self.expect(")")?;
        let filter = if self.is_word("filter") {
            Some(self.filter()?)
        } else {
            None
        };
        let over = if self.is_word("over") {
            Some(self.over()?)
        } else {
            None
        };
        Ok(Call {
            name,
            name_span,
            args,
            filter,
            over,
        })
    }

    /// `FILTER (WHERE …)`.
    pub(super) fn filter(&mut self) -> Result<Expr, SqlError> {
        self.expect_word("filter")?;
        self.expect("(")?;
        self.expect_word("where")?;
        let filter = self.expr()?;
        self.expect(")")?;
        Ok(filter)
    }

    /// `OVER (PARTITION BY … ORDER BY … WHEN …)`.
    pub(super) fn over(&mut self) -> Result<Over, SqlError> {
        let start = self.span().start;
        self.expect_word("over")?;
        self.expect("(")?;
        let mut over = Over::default();
        if self.eat_word("partition") {
            self.expect_word("by")?;
            over.partition = self.list(Self::expr)?;
        }
        if self.eat_word("order") {
            self.expect_word("by")?;
            over.order = self.list(Self::order_by)?;
        }
        if self.eat_word("when") {
            over.when = Some(self.expr()?);
        }
        self.expect(")")?;
        over.span = self.since(start);
        Ok(over)
    }
}
