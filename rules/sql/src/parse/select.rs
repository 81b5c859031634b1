//! The clauses of a query.

use super::{Parser, is_reserved};
use crate::ast::{Expr, Item, Join, JoinKind, Node, Select, Source, Span};
use crate::error::SqlError;
use crate::lex::Kind;

/// Streams of one query.
const STREAMS_MAX: usize = 8;

impl Parser {
    pub(super) fn select(&mut self) -> Result<Select, SqlError> {
        self.expect_word("select")?;
        let distinct = self.distinct();
        let items = self.list(Self::item)?;
        self.expect_word("from")?;
        let from = self.source()?;
        let mut joins = Vec::new();
        while let Some(kind) = self.join_kind()? {
            let source = self.source()?;
            if joins.len() + 2 > STREAMS_MAX {
                let message = format!("a query reads at most {STREAMS_MAX} streams");
                return Err(SqlError::new(&source.span, message));
            }
            let on = if self.eat_word("on") {
                Some(self.expr()?)
            } else {
                None
            };
            joins.push(Join { kind, source, on });
        }
        let filter = if self.eat_word("where") {
            Some(self.expr()?)
        } else {
            None
        };
        let (mut group, mut window) = (Vec::new(), None);
        if self.eat_word("group") {
            self.expect_word("by")?;
            loop {
                match self.window()? {
                    Some(found) if window.is_some() => {
                        return Err(SqlError::new(&found.span, "a query has one window"));
                    }
                    Some(found) => window = Some(found),
                    None => group.push(self.expr()?),
                }
                if !self.eat(",") {
                    break;
                }
            }
        }
        let having = if self.eat_word("having") {
            Some(self.expr()?)
        } else {
            None
        };
        let mut order = Vec::new();
        if self.eat_word("order") {
            self.expect_word("by")?;
            order = self.list(Self::order_by)?;
        }
        let (mut limit, mut limit_span) = (None, None);
        if self.eat_word("limit") {
            limit_span = Some(self.span());
            limit = Some(self.whole("how many rows")?);
        }
        Ok(Select {
            distinct,
            items,
            from,
            joins,
            filter,
            group,
            window,
            having,
            order,
            limit,
            limit_span,
        })
    }

    /// DISTINCT, which may also be the name of a column.
    fn distinct(&mut self) -> Option<Span> {
        let span = self.span();
        let is_column = match self.peek_after(1) {
            Kind::Symbol(symbol) => !matches!(*symbol, "*" | "-" | "("),
            Kind::Word(word) => {
                is_reserved(word) && !matches!(word.to_ascii_lowercase().as_str(), "case" | "not")
            }
            Kind::End => true,
            _ => false,
        };
        (!is_column && self.eat_word("distinct")).then_some(span)
    }

    /// Reads an expression to order by, with `true` for downwards.
    pub(super) fn order_by(&mut self) -> Result<(Expr, bool), SqlError> {
        let by = self.expr()?;
        let descending = self.eat_word("desc");
        if !descending {
            self.eat_word("asc");
        }
        Ok((by, descending))
    }

    /// A whole number that is not negative.
    pub(super) fn whole(&mut self, what: &str) -> Result<u64, SqlError> {
        match self.peek() {
            Kind::Int(number) if *number >= 0 => {
                let number = number.unsigned_abs();
                self.advance();
                Ok(number)
            }
            _ => Err(self.unexpected(&format!("{what}, a whole number"))),
        }
    }

    fn item(&mut self) -> Result<Item, SqlError> {
        let start = self.span().start;
        let expr = self.expr()?;
        if let Node::Star(stream) = expr.node {
            return self.star(stream, start);
        }
        let alias = if self.eat_word("as") {
            Some(self.alias()?)
        } else {
            match self.peek() {
                Kind::Word(word) if !is_reserved(word) => Some(self.name("an alias")?),
                Kind::Quoted(_) => Some(self.name("an alias")?),
                _ => None,
            }
        };
        Ok(Item::Value {
            expr,
            alias,
            invisible: self.eat_word("invisible"),
        })
    }

    /// The name behind AS: also a keyword, as no expression can stand there.
    fn alias(&mut self) -> Result<String, SqlError> {
        match self.peek().clone() {
            Kind::Word(name) | Kind::Quoted(name) => {
                self.advance();
                Ok(name)
            }
            _ => self.name("an alias"),
        }
    }

    fn star(&mut self, stream: Option<String>, start: usize) -> Result<Item, SqlError> {
        let mut except = Vec::new();
        let mut replace: Vec<(String, Expr)> = Vec::new();
        loop {
            if self.eat_word("except") {
                self.expect("(")?;
                except.extend(self.list(|parser| parser.name("a column"))?);
                self.expect(")")?;
            } else if self.eat_word("replace") {
                self.expect("(")?;
                replace.extend(self.list(|parser| {
                    let expr = parser.expr()?;
                    parser.expect_word("as")?;
                    Ok((parser.alias()?, expr))
                })?);
                self.expect(")")?;
            } else {
                break;
            }
        }
        Ok(Item::Star {
            stream,
            except,
            replace,
            span: self.since(start),
        })
    }

    fn source(&mut self) -> Result<Source, SqlError> {
        let start = self.span().start;
        let stream = match self.peek().clone() {
            // A topic may stand here as text: FROM "sensors/+/env" AS s.
            Kind::Text(topic) => {
                self.advance();
                topic
            }
            _ => self.topic()?,
        };
        let span = self.since(start);
        let named = self.eat_word("as");
        let name = match self.peek() {
            Kind::Word(word) if !is_reserved(word) => Some(self.name("a name")?),
            Kind::Quoted(_) => Some(self.name("a name")?),
            _ if named => return Err(self.unexpected("a name for the stream")),
            _ => None,
        };
        Ok(Source {
            name: name.unwrap_or_else(|| stream.clone()),
            stream,
            span,
        })
    }

    /// The name of a stream, or a topic filter as it is: `sensors/+/env`.
    fn topic(&mut self) -> Result<String, SqlError> {
        let mut topic = String::new();
        loop {
            let part = ["/", "+", "#"].into_iter().find(|part| self.eat(part));
            match part {
                Some(part) => topic.push_str(part),
                None if topic.is_empty() || topic.ends_with('/') => {
                    topic.push_str(&self.name("the name of a stream")?);
                }
                None => return Ok(topic),
            }
        }
    }

    fn join_kind(&mut self) -> Result<Option<JoinKind>, SqlError> {
        let kinds = [
            ("inner", JoinKind::Inner),
            ("left", JoinKind::Left),
            ("right", JoinKind::Right),
            ("full", JoinKind::Full),
            ("cross", JoinKind::Cross),
        ];
        if self.eat_word("join") {
            return Ok(Some(JoinKind::Inner));
        }
        let Some((_, kind)) = kinds.into_iter().find(|(word, _)| self.is_word(word)) else {
            return Ok(None);
        };
        self.advance();
        self.eat_word("outer");
        self.expect_word("join")?;
        Ok(Some(kind))
    }
}
