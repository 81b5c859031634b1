//! Reads paths, and the filters in them.

use super::filter::Filter;
use super::path::{Path, Step};
use crate::{BinaryOp, Value, from_json};

/// Nesting limit of brackets and filters.
const NESTING_MAX: usize = 16;

/// Length limit of a path, in bytes.
const LENGTH_MAX: usize = 1_000;

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    #[error("more than {LENGTH_MAX} bytes")]
    TooLong,
    #[error("nested more than {NESTING_MAX} deep")]
    TooDeep,
    #[error("expected {wanted} at character {at}")]
    Expected { wanted: &'static str, at: usize },
}

pub(super) fn parse(text: &str) -> Result<Path, PathError> {
    if text.len() > LENGTH_MAX {
        return Err(PathError::TooLong);
    }
    let mut reader = Reader {
        whole: text,
        rest: text,
        depth: 0,
    };
    reader.blanks();
    reader.expect("$", "`$`")?;
    let path = reader.steps()?;
    reader.blanks();
    if reader.rest.is_empty() {
        Ok(path)
    } else {
        Err(reader.error("`.`, `[` or the end"))
    }
}

struct Reader<'a> {
    whole: &'a str,
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, wanted: &'static str) -> PathError {
        let done = self.whole.len() - self.rest.len();
        let before = self.whole.get(..done).unwrap_or_default();
        PathError::Expected {
            wanted,
            at: before.chars().count() + 1,
        }
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, text: &str, wanted: &'static str) -> Result<(), PathError> {
        if self.take(text) {
            Ok(())
        } else {
            Err(self.error(wanted))
        }
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|letter| !fits(letter));
        let (taken, rest) = self
            .rest
            .split_at_checked(end.unwrap_or(self.rest.len()))
            .unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn deeper<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, PathError>,
    ) -> Result<T, PathError> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            return Err(PathError::TooDeep);
        }
        let what = read(self)?;
        self.depth -= 1;
        Ok(what)
    }

    fn steps(&mut self) -> Result<Path, PathError> {
        let mut steps = Vec::new();
        loop {
            if self.take("..") {
                steps.push(Step::Descend);
                if !self.rest.starts_with('[') {
                    steps.push(self.name()?);
                }
            } else if self.take(".") {
                steps.push(self.name()?);
            } else if self.take("[") {
                steps.push(self.deeper(Self::brackets)?);
            } else {
                return Ok(Path { steps });
            }
        }
    }

    fn name(&mut self) -> Result<Step, PathError> {
        if self.take("*") {
            return Ok(Step::All);
        }
        let name = self.take_while(|letter| letter.is_alphanumeric() || letter == '_');
        if name.is_empty() {
            return Err(self.error("a name or `*`"));
        }
        Ok(Step::Name(name.into()))
    }

    fn brackets(&mut self) -> Result<Step, PathError> {
        self.blanks();
        if self.take("?") {
            let filter = self.or()?;
            self.close()?;
            return Ok(Step::Filter(filter));
        }
        let mut steps = vec![self.selector()?];
        self.blanks();
        while self.take(",") {
            self.blanks();
            steps.push(self.selector()?);
            self.blanks();
        }
        self.close()?;
        Ok(match steps.pop() {
            Some(only) if steps.is_empty() => only,
            last => Step::Several(steps.into_iter().chain(last).collect()),
        })
    }

    fn close(&mut self) -> Result<(), PathError> {
        self.blanks();
        self.expect("]", "`]`")
    }

    fn selector(&mut self) -> Result<Step, PathError> {
        if self.take("*") {
            return Ok(Step::All);
        }
        if self.rest.starts_with(['"', '\'']) {
            return Ok(Step::Name(self.text()?.into()));
        }
        if self
            .rest
            .starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
        {
            return self.name();
        }
        let start = self.integer()?;
        if !self.rest.trim_start().starts_with(':') {
            return start
                .map(Step::Place)
                .ok_or_else(|| self.error("a name in quotes, a number, `*`, `?` or a slice"));
        }
        self.blanks();
        self.take(":");
        let end = self.integer()?;
        self.blanks();
        let step = if self.take(":") {
            self.integer()?
        } else {
            None
        };
        Ok(Step::Slice {
            start,
            end,
            step: step.unwrap_or(1),
        })
    }

    fn integer(&mut self) -> Result<Option<i64>, PathError> {
        self.blanks();
        let sign = if self.take("-") { "-" } else { "" };
        let digits = self.take_while(|letter| letter.is_ascii_digit());
        if digits.is_empty() && sign.is_empty() {
            return Ok(None);
        }
        format!("{sign}{digits}")
            .parse()
            .map(Some)
            .map_err(|_| self.error("a number"))
    }

    fn text(&mut self) -> Result<String, PathError> {
        let mut letters = self.rest.chars();
        let quote = letters.next();
        let mut text = String::new();
        while let Some(letter) = letters.next() {
            if Some(letter) == quote {
                self.rest = letters.as_str();
                return Ok(text);
            }
            match letter {
                '\\' => text.extend(letters.next()),
                other => text.push(other),
            }
        }
        Err(self.error("a text that ends with its quote"))
    }

    fn or(&mut self) -> Result<Filter, PathError> {
        self.chain(Self::and, &[("||", BinaryOp::Or)])
    }

    fn and(&mut self) -> Result<Filter, PathError> {
        self.chain(Self::comparison, &[("&&", BinaryOp::And)])
    }

    fn comparison(&mut self) -> Result<Filter, PathError> {
        let left = self.sum()?;
        self.blanks();
        let operators = [
            ("==", BinaryOp::Eq),
            ("!=", BinaryOp::Ne),
            ("<=", BinaryOp::Le),
            (">=", BinaryOp::Ge),
            ("<", BinaryOp::Lt),
            (">", BinaryOp::Gt),
        ];
        let found = operators.into_iter().find(|(sign, _)| self.take(sign));
        Ok(match found {
            Some((_, op)) => Filter::Binary(op, Box::new(left), Box::new(self.sum()?)),
            None => left,
        })
    }

    fn sum(&mut self) -> Result<Filter, PathError> {
        self.chain(Self::product, &[("+", BinaryOp::Add), ("-", BinaryOp::Sub)])
    }

    fn product(&mut self) -> Result<Filter, PathError> {
        let operators = [
            ("*", BinaryOp::Mul),
            ("/", BinaryOp::Div),
            ("%", BinaryOp::Rem),
        ];
        self.chain(Self::operand, &operators)
    }

    /// Operands with operators of one rank between them, from the left.
    fn chain(
        &mut self,
        operand: fn(&mut Self) -> Result<Filter, PathError>,
        operators: &[(&str, BinaryOp)],
    ) -> Result<Filter, PathError> {
        let mut left = operand(self)?;
        // Each adds a level to what is walked later.
        for _ in 0..NESTING_MAX {
            self.blanks();
            let Some((_, op)) = operators.iter().find(|(sign, _)| self.take(sign)) else {
                return Ok(left);
            };
            left = Filter::Binary(*op, Box::new(left), Box::new(operand(self)?));
        }
        Err(PathError::TooDeep)
    }

    fn operand(&mut self) -> Result<Filter, PathError> {
        self.blanks();
        if self.take("!") {
            return self.deeper(|reader| Ok(Filter::Not(Box::new(reader.operand()?))));
        }
        if self.take("(") {
            let inner = self.deeper(Self::or)?;
            self.blanks();
            self.expect(")", "`)`")?;
            return Ok(inner);
        }
        if self.take("@") {
            return Ok(Filter::Here(self.deeper(Self::steps)?));
        }
        if self.take("$") {
            return Ok(Filter::Root(self.deeper(Self::steps)?));
        }
        if self.rest.starts_with(['"', '\'']) {
            return Ok(Filter::Literal(Value::text(self.text()?)));
        }
        let before = self.rest;
        let sign = if self.take("-") { "-" } else { "" };
        let word = self.take_while(|letter| letter.is_ascii_alphanumeric() || letter == '.');
        // Numbers, `true`, `false` and `null` are written as in JSON.
        from_json(format!("{sign}{word}").as_bytes())
            .map(Filter::Literal)
            .map_err(|_| {
                self.rest = before;
                self.error("a path, a number, a text in quotes, `true`, `false` or `null`")
            })
    }
}
