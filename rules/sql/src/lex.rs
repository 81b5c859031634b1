//! A statement to words. Text stands in double or single quotes, names that are no plain words in
//! backticks. What the words mean is left to the parser.

use std::ops::Range;

use crate::error::SqlError;
use crate::parse::is_reserved;

/// Longest statement, in bytes.
const STATEMENT_BYTES_MAX: usize = 32 * 1024;

/// A word with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Range<usize>,
}

/// The kind of a word.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// A plain word, a keyword or a name.
    Word(String),
    /// A name in backticks.
    Quoted(String),
    Text(String),
    Int(i64),
    /// A whole number beyond that, which fits 64 bits without a sign.
    Wide(u64),
    Float(f64),
    /// `:name`.
    Param(String),
    Symbol(&'static str),
    End,
}

/// Longest first, so that `<=` is not `<`.
const SYMBOLS: [&str; 25] = [
    "->", "<=", ">=", "<>", "!=", "(", ")", "[", "]", ",", ".", ";", ":", "*", "/", "%", "+", "-",
    "=", "<", ">", "&", "|", "^", "#",
];

/// Operators of other languages, and what to write for them.
const ELSEWHERE: [(&str, &str); 10] = [
    ("===", "="),
    ("!==", "!="),
    ("==", "="),
    ("&&", "AND"),
    ("||", "OR; to join texts write concat(a, b)"),
    ("=>", ">="),
    ("=<", "<="),
    ("\u{201c}", "a straight quote, \""),
    ("\u{201d}", "a straight quote, \""),
    ("\u{2019}", "a straight quote, '"),
];

/// Windows by what they are called, and units of their lengths by what people write.
const WINDOWS: [&str; 4] = [
    "tumblingwindow",
    "hoppingwindow",
    "slidingwindow",
    "sessionwindow",
];

/// The unit of a window's length that a word was meant to be.
pub(crate) fn unit_meant(word: &str) -> Option<&'static str> {
    Some(match word.to_ascii_lowercase().as_str() {
        "d" | "day" | "days" => "dd",
        "h" | "hr" | "hrs" | "hour" | "hours" => "hh",
        "m" | "min" | "mins" | "minute" | "minutes" | "mm" => "mi",
        "s" | "sec" | "secs" | "second" | "seconds" => "ss",
        "milli" | "millis" | "millisecond" | "milliseconds" => "ms",
        "dd" => "dd",
        "hh" => "hh",
        "mi" => "mi",
        "ss" => "ss",
        "ms" => "ms",
        _ => return None,
    })
}

/// The right form of a window of one length: of `1m` for `TUMBLINGWINDOW`.
pub(crate) fn window_meant(name: &str, length: &str, unit: &str) -> Option<String> {
    let name = name.to_ascii_uppercase();
    let unit = unit_meant(unit)?;
    Some(match name.as_str() {
        "HOPPINGWINDOW" => format!("{name}({unit}, {length}, how far it hops)"),
        "SESSIONWINDOW" => format!("{name}({unit}, {length}, the gap that ends it)"),
        _ => format!("{name}({unit}, {length})"),
    })
}

pub(crate) fn tokens(sql: &str) -> Result<Vec<Token>, SqlError> {
    if sql.len() > STATEMENT_BYTES_MAX {
        let message = format!("a statement has at most {STATEMENT_BYTES_MAX} bytes");
        return Err(SqlError::new(&(0..1), message));
    }
    let mut lexer = Lexer { sql, at: 0 };
    let mut tokens: Vec<Token> = Vec::new();
    loop {
        lexer.skip_blank()?;
        let start = lexer.at;
        let kind = lexer.next(tokens.last())?;
        let is_end = kind == Kind::End;
        tokens.push(Token {
            kind,
            span: start..lexer.at,
        });
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    sql: &'a str,
    at: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.sql.get(self.at..).unwrap_or_default()
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let rest = self.rest();
        let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        let taken = rest.get(..end).unwrap_or_default().to_owned();
        self.at += end;
        taken
    }

    fn skip_blank(&mut self) -> Result<(), SqlError> {
        loop {
            self.take_while(char::is_whitespace);
            if self.rest().starts_with("--") {
                self.take_while(|c| c != '\n');
            } else if self.rest().starts_with("/*") {
                match self.rest().find("*/") {
                    Some(end) => self.at += end + 2,
                    None => {
                        let span = self.at..self.at + 2;
                        return Err(SqlError::new(&span, "this comment has no end; write */"));
                    }
                }
            } else {
                return Ok(());
            }
        }
    }

    fn next(&mut self, before: Option<&Token>) -> Result<Kind, SqlError> {
        let Some(first) = self.rest().chars().next() else {
            return Ok(Kind::End);
        };
        // After a name or a bracket a point is the one of `a.b`, also where a digit follows.
        let value_before = match before.map(|token| &token.kind) {
            Some(Kind::Word(word)) => !is_reserved(word),
            Some(Kind::Quoted(_) | Kind::Symbol(")" | "]")) => true,
            _ => false,
        };
        let second = self.rest().chars().nth(1);
        match first {
            '"' | '\'' => self.text(first).map(Kind::Text),
            '`' => self.quoted().map(Kind::Quoted),
            '0'..='9' => self.number(),
            '.' if !value_before && second.is_some_and(|c| c.is_ascii_digit()) => self.number(),
            ':' if !value_before && second.is_some_and(starts_word) => {
                self.at += 1;
                Ok(Kind::Param(self.take_while(in_word)))
            }
            c if starts_word(c) => Ok(Kind::Word(self.take_while(in_word))),
            _ => self.symbol(first),
        }
    }

    fn symbol(&mut self, first: char) -> Result<Kind, SqlError> {
        let rest = self.rest();
        if let Some((wrong, right)) = ELSEWHERE.iter().find(|(wrong, _)| rest.starts_with(wrong)) {
            let span = self.at..self.at + wrong.len();
            let message = format!("{wrong} is no operator of SQL; write {right}");
            return Err(SqlError::new(&span, message));
        }
        if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            self.at += symbol.len();
            return Ok(Kind::Symbol(symbol));
        }
        let span = self.at..self.at + first.len_utf8();
        let message = format!("{first:?} has no meaning here");
        Err(SqlError::new(&span, message))
    }

    fn text(&mut self, quote: char) -> Result<String, SqlError> {
        let start = self.at;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.at += at + c.len_utf8();
                return Ok(text);
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            match chars.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                Some((_, 'r')) => text.push('\r'),
                Some((_, c @ ('"' | '\'' | '\\'))) => text.push(c),
                Some((at, c @ ('u' | 'U' | 'x'))) => match self.code(at + 1, c) {
                    Some((code, digits)) => {
                        text.push(code);
                        // The digits are plain letters of one byte each.
                        chars.nth(digits - 1);
                    }
                    None => text.extend(['\\', c]),
                },
                // Patterns such as "\d+" mean what they say.
                Some((_, c)) => text.extend(['\\', c]),
                None => break,
            }
        }
        let span = start..start + 1;
        let message = format!("this text has no end; close it with {quote}");
        Err(SqlError::new(&span, message))
    }

    /// The character that the hexadecimal digits at a place stand for, and how many these are.
    fn code(&self, at: usize, kind: char) -> Option<(char, usize)> {
        let digits = match kind {
            'u' => 4,
            'U' => 8,
            _ => 2,
        };
        let text = self.rest().get(at..at + digits)?;
        let is_hex = text.chars().all(|digit| digit.is_ascii_hexdigit());
        let code = is_hex.then(|| u32::from_str_radix(text, 16).ok())??;
        // `\x` is one byte, which alone is a character below 128 only.
        let code = Some(code).filter(|code| kind != 'x' || *code < 128);
        Some((char::from_u32(code?)?, digits))
    }

    fn quoted(&mut self) -> Result<String, SqlError> {
        let start = self.at;
        self.at += 1;
        let name = self.take_while(|c| c != '`');
        if self.rest().is_empty() {
            let span = start..start + 1;
            return Err(SqlError::new(
                &span,
                "this name has no end; close it with `",
            ));
        }
        self.at += 1;
        if name.is_empty() {
            return Err(SqlError::new(&(start..self.at), "a name cannot be empty"));
        }
        Ok(name)
    }

    fn number(&mut self) -> Result<Kind, SqlError> {
        let start = self.at;
        let mut text = self.take_while(|c| c.is_ascii_digit());
        let mut whole = true;
        let mut ahead = self.rest().chars();
        if ahead.next() == Some('.') && ahead.next().is_some_and(|c| c.is_ascii_digit()) {
            whole = false;
            self.at += 1;
            text.push('.');
            text.push_str(&self.take_while(|c| c.is_ascii_digit()));
        }
        if let Some(exponent) = self.exponent() {
            whole = false;
            text.push_str(&exponent);
        }
        let wrong = |message: String| SqlError::new(&(start..self.at), message);
        if self.rest().starts_with(starts_word) {
            let unit = self.rest().split(|c| !in_word(c)).next();
            if let Some(window) = self.window_before(start)
                && let Some(right) = window_meant(window, &text, unit.unwrap_or_default())
            {
                return Err(wrong(format!(
                    "the unit of a window stands first; write {right}"
                )));
            }
            return Err(wrong(format!(
                "a name cannot begin with a digit; write `{text}…` in backticks"
            )));
        }
        if whole && let Ok(value) = text.parse() {
            return Ok(Kind::Int(value));
        }
        if whole && let Ok(value) = text.parse() {
            return Ok(Kind::Wide(value));
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Kind::Float(value)),
            _ => Err(wrong(format!("{text} is no number that fits 64 bits"))),
        }
    }

    /// The window whose bracket opens before a place.
    fn window_before(&self, start: usize) -> Option<&str> {
        let before = self
            .sql
            .get(..start)?
            .trim_end()
            .strip_suffix('(')?
            .trim_end();
        let name = before.rsplit(|c| !in_word(c)).next()?;
        WINDOWS
            .contains(&name.to_ascii_lowercase().as_str())
            .then_some(name)
    }

    fn exponent(&mut self) -> Option<String> {
        let rest = self.rest();
        let mut chars = rest.chars();
        if !matches!(chars.next(), Some('e' | 'E')) {
            return None;
        }
        let sign = usize::from(matches!(chars.next(), Some('+' | '-')));
        let digits = rest.get(1 + sign..)?;
        let digits = digits
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(digits.len());
        if digits == 0 {
            return None;
        }
        let exponent = rest.get(..1 + sign + digits)?.to_owned();
        self.at += exponent.len();
        Some(exponent)
    }
}

fn starts_word(c: char) -> bool {
    c.is_alphabetic() || c == '_' || c == '$'
}

fn in_word(c: char) -> bool {
    starts_word(c) || c.is_ascii_digit() || c == '#'
}
