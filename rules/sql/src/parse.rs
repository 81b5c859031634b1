//! Words to a tree. The grammar is eKuiper's, with the extensions of docs/sql.md; every error names
//! a place. What names mean is left to the plan.

mod expr;
mod select;
mod stream;
mod window;

use std::ops::Range;

use crate::ast::{Expr, Node, Select};
use crate::error::SqlError;
use crate::lex::{Kind, Token, tokens};

pub(crate) use stream::Declaration;

/// Deepest expression: what walks the tree recurses.
const DEPTH_MAX: u16 = 100;

/// A file: declarations of streams, then one query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct File {
    pub(crate) declarations: Vec<Declaration>,
    pub(crate) select: Select,
}

/// Reads a statement, with the declarations of streams that stand before it.
pub(crate) fn parse(sql: &str) -> Result<File, SqlError> {
    let mut parser = Parser {
        tokens: tokens(sql)?,
        at: 0,
        depth: 0,
    };
    let mut declarations = Vec::new();
    while parser.eat_word("create") {
        declarations.push(parser.declaration()?);
        while parser.eat(";") {}
    }
    let select = parser.select()?;
    while parser.eat(";") {}
    match parser.peek() {
        Kind::End => Ok(File {
            declarations,
            select,
        }),
        _ => Err(parser.unexpected("the end of the statement")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: u16,
}

impl Parser {
    fn peek(&self) -> &Kind {
        self.tokens.get(self.at).map_or(&Kind::End, |t| &t.kind)
    }

    fn peek_after(&self, more: usize) -> &Kind {
        let token = self.tokens.get(self.at + more);
        token.map_or(&Kind::End, |token| &token.kind)
    }

    /// The place of the next word.
    fn span(&self) -> Range<usize> {
        let token = self.tokens.get(self.at).or(self.tokens.last());
        token.map_or(0..0, |token| token.span.clone())
    }

    /// From `start` to the end of the last word that was taken.
    fn since(&self, start: usize) -> Range<usize> {
        let last = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        start..last.map_or(start, |token| token.span.end)
    }

    fn advance(&mut self) -> Kind {
        let kind = self.peek().clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        kind
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.peek(), Kind::Symbol(found) if *found == symbol)
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let found = self.is(symbol);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), SqlError> {
        if self.eat(symbol) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("{symbol:?}")))
        }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Kind::Word(found) if found.eq_ignore_ascii_case(word))
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    fn expect_word(&mut self, word: &str) -> Result<(), SqlError> {
        if self.eat_word(word) {
            Ok(())
        } else {
            Err(self.unexpected(&word.to_ascii_uppercase()))
        }
    }

    /// A name of a column, stream or alias.
    fn name(&mut self, what: &str) -> Result<String, SqlError> {
        match self.peek().clone() {
            Kind::Quoted(name) => {
                self.advance();
                Ok(name)
            }
            Kind::Word(name) if !is_reserved(&name) => {
                self.advance();
                Ok(name)
            }
            Kind::Word(name) => {
                let message =
                    format!("expected {what}, but {name} is a keyword; as a name write `{name}`");
                Err(SqlError::new(&self.span(), message))
            }
            _ => Err(self.unexpected(what)),
        }
    }

    /// A word of the language where a value is wanted.
    fn reserved(&self, word: &str) -> SqlError {
        let message = format!(
            "expected an expression, but {word} is a word of the language; if it is the name of a column, write `{word}`"
        );
        SqlError::new(&self.span(), message)
    }

    fn unexpected(&self, wanted: &str) -> SqlError {
        let found = match self.peek() {
            Kind::End => "the statement ends here".to_owned(),
            Kind::Word(word) => format!("found {word}"),
            Kind::Quoted(word) => format!("found `{word}`"),
            Kind::Text(text) => format!("found the text {text:?}"),
            Kind::Int(number) => format!("found {number}"),
            Kind::Wide(number) => format!("found {number}"),
            Kind::Float(number) => format!("found {number}"),
            Kind::Param(name) => format!("found :{name}"),
            Kind::Symbol(symbol) => format!("found {symbol:?}"),
        };
        SqlError::new(&self.span(), format!("expected {wanted}, but {found}"))
    }

    /// One or more, with commas between.
    fn list<T>(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Result<T, SqlError>,
    ) -> Result<Vec<T>, SqlError> {
        let mut all = vec![one(self)?];
        while self.eat(",") {
            all.push(one(self)?);
        }
        Ok(all)
    }

    /// An expression, unless it is too deep for what walks it.
    fn node(&self, node: Node, start: usize) -> Result<Expr, SqlError> {
        let expr = Expr::new(node, self.since(start));
        if expr.depth > DEPTH_MAX {
            return Err(too_deep(&expr.span));
        }
        Ok(expr)
    }
}

fn too_deep(span: &Range<usize>) -> SqlError {
    let message = format!("this is nested deeper than {DEPTH_MAX} levels; write it in parts");
    SqlError::new(span, message)
}

/// Words that end an expression, so that they cannot be names without backticks.
pub(crate) fn is_reserved(word: &str) -> bool {
    const RESERVED: [&str; 36] = [
        "select",
        "from",
        "where",
        "group",
        "having",
        "order",
        "limit",
        "join",
        "inner",
        "left",
        "right",
        "full",
        "cross",
        "on",
        "as",
        "and",
        "or",
        "not",
        "in",
        "like",
        "between",
        "case",
        "when",
        "then",
        "else",
        "end",
        "by",
        "asc",
        "desc",
        "filter",
        "over",
        "partition",
        "invisible",
        "except",
        "replace",
        "is",
    ];
    RESERVED
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known))
}
