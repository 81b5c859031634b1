//! Names of what a statement keeps, by which the next version of the statement finds it again. A name is
//! the expression itself in a normal form: aliases written out, parameters with their values, functions by
//! the names of the registry, columns in lower case. One that is long is cut, and bears a hash of the whole.

mod state;

use std::collections::{BTreeMap, BTreeSet};

use tidemill_values::{lookup, to_json};

use super::names::output_name;
use super::{Compiler, Level, Scope, calls};
use crate::ast::{Call, Expr, Literal, Node, Op, Span};
use crate::error::SqlError;

/// Longest name.
const NAME_BYTES_MAX: usize = 96;
/// Bytes of a longer one that stand in front of its hash.
const HEAD_BYTES: usize = 72;
/// Greatest depth of an expression once aliases are written out, as where code is written.
const DEPTH_MAX: usize = 400;

/// State of the naming, for all names of a statement.
#[derive(Debug)]
pub(super) struct Naming {
    /// Hash of a text that is too long.
    hash: fn(&[u8]) -> u64,
    /// Texts that were cut, by what they became.
    cut: BTreeMap<String, String>,
    /// Aliases that were written out, for groups and for rows.
    aliases: BTreeMap<(usize, bool), String>,
    /// Names of columns, in lower case, that the statement writes in several ways: there the case tells
    /// them apart.
    several: BTreeSet<String>,
    depth: usize,
}

/// Meanings that a name in an expression may have, as in a [`Scope`].
#[derive(Debug, Clone)]
pub(super) struct At {
    pub(super) level: Level,
    pub(super) plain: bool,
    pub(super) open: Vec<usize>,
}

impl At {
    fn new(level: Level, plain: bool) -> Self {
        Self {
            level,
            plain,
            open: Vec::new(),
        }
    }

    pub(super) fn of(scope: &Scope) -> Self {
        Self {
            level: scope.level,
            plain: scope.plain,
            open: scope.open.clone(),
        }
    }
}

impl Naming {
    pub(super) fn new(hash: fn(&[u8]) -> u64) -> Self {
        Self {
            hash,
            cut: BTreeMap::new(),
            aliases: BTreeMap::new(),
            several: BTreeSet::new(),
            depth: 0,
        }
    }

    /// Takes note of how the columns of an expression are written.
    fn see<'e>(&mut self, expr: &'e Expr, seen: &mut BTreeMap<String, &'e str>) {
        expr.walk(&mut |expr| {
            if let Node::Column { name, .. } = &expr.node {
                let lower = name.to_lowercase();
                if seen.get(&lower).is_some_and(|known| *known != name) {
                    self.several.insert(lower);
                } else {
                    seen.insert(lower, name);
                }
            }
        });
    }

    fn column(&self, name: &str) -> String {
        let lower = name.to_lowercase();
        if self.several.contains(&lower) {
            name.to_owned()
        } else {
            lower
        }
    }

    /// The text as a name; two texts never have the same one.
    fn cut(&mut self, text: String, span: &Span) -> Result<String, SqlError> {
        if text.len() <= NAME_BYTES_MAX {
            return Ok(text);
        }
        let mut end = HEAD_BYTES;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let head = text.get(..end).unwrap_or_default();
        let hash = (self.hash)(text.as_bytes());
        let name = format!("{head}… #{hash:016x}");
        match self.cut.get(&name) {
            Some(known) if *known != text => {
                let message = format!(
                    "what this keeps has the name of something else in the statement, {name}; \
                     write one of the two in another way, such as with its sides exchanged"
                );
                Err(SqlError::new(span, message))
            }
            Some(_) => Ok(name),
            None => {
                self.cut.insert(name.clone(), text);
                Ok(name)
            }
        }
    }
}

/// FNV-1a: expressions of one statement are few, and those who write them mean no harm to themselves.
pub(super) fn hash(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl<'a> Compiler<'a> {
    /// Looks at how the statement writes the names of columns.
    pub(super) fn see_columns(&mut self) {
        let mut seen = BTreeMap::new();
        for expr in self.everything() {
            self.naming.see(expr, &mut seen);
        }
    }

    /// The name of an expression.
    pub(super) fn name_of(&mut self, at: &At, expr: &'a Expr) -> Result<String, SqlError> {
        self.naming.depth += 1;
        if self.naming.depth > DEPTH_MAX {
            let message = format!(
                "with its aliases written out this is nested deeper than {DEPTH_MAX} levels"
            );
            return Err(SqlError::new(&expr.span, message));
        }
        let text = self.text_of(at, expr)?;
        self.naming.depth -= 1;
        self.naming.cut(text, &expr.span)
    }

    fn text_of(&mut self, at: &At, expr: &'a Expr) -> Result<String, SqlError> {
        Ok(match &expr.node {
            Node::Literal(literal) => literal_text(literal),
            // The parameter's value, so that another value is another meaning.
            Node::Param(name) => match self.options.params.get(name) {
                Some(value) => to_json(value),
                None => format!(":{name}"),
            },
            Node::Column { stream, name } => self.column_name(at, stream.as_deref(), name)?,
            Node::Star(None) => "*".to_owned(),
            Node::Star(Some(stream)) => format!("{}.*", self.source_name(stream)),
            Node::Negate(a) => format!("-{}", self.part(at, a)?),
            Node::Not(a) => format!("NOT {}", self.part(at, a)?),
            Node::IsNull(a) => format!("{} IS NULL", self.part(at, a)?),
            Node::Binary(op, a, b) => {
                let (a, b) = (self.part(at, a)?, self.part(at, b)?);
                format!("{a} {} {b}", op_text(*op))
            }
            Node::InList(a, list) => {
                let list = self.name_list(at, list)?;
                format!("{} IN ({list})", self.part(at, a)?)
            }
            Node::InValue(a, b) => format!("{} IN {}", self.part(at, a)?, self.part(at, b)?),
            Node::Between(a, low, high) => {
                let (low, high) = (self.part(at, low)?, self.part(at, high)?);
                format!("{} BETWEEN {low} AND {high}", self.part(at, a)?)
            }
            Node::Like(a, b) => format!("{} LIKE {}", self.part(at, a)?, self.part(at, b)?),
            Node::Field(a, name) => format!("{}->{}", self.part(at, a)?, quoted(name)),
            Node::Index(a, b) => format!("{}[{}]", self.part(at, a)?, self.name_of(at, b)?),
            Node::Slice(a, low, high) => {
                let a = self.part(at, a)?;
                let mut bound = |bound: &'a Option<Box<Expr>>| match bound {
                    Some(bound) => self.name_of(at, bound),
                    None => Ok(String::new()),
                };
                format!("{a}[{}:{}]", bound(low)?, bound(high)?)
            }
            Node::Case {
                operand,
                arms,
                otherwise,
            } => {
                let mut text = "CASE".to_owned();
                if let Some(operand) = operand {
                    text = format!("{text} {}", self.part(at, operand)?);
                }
                for (when, then) in arms {
                    let (when, then) = (self.part(at, when)?, self.part(at, then)?);
                    text = format!("{text} WHEN {when} THEN {then}");
                }
                if let Some(otherwise) = otherwise {
                    text = format!("{text} ELSE {}", self.part(at, otherwise)?);
                }
                format!("{text} END")
            }
            Node::Call(call) => self.call_name(at, call, &expr.node)?,
        })
    }

    /// An expression inside of another.
    fn part(&mut self, at: &At, expr: &'a Expr) -> Result<String, SqlError> {
        Ok(bracketed(self.name_of(at, expr)?))
    }

    fn name_list(&mut self, at: &At, list: &'a [Expr]) -> Result<String, SqlError> {
        let texts = list.iter().map(|expr| self.name_of(at, expr));
        Ok(texts.collect::<Result<Vec<_>, _>>()?.join(", "))
    }

    fn column_name(
        &mut self,
        at: &At,
        stream: Option<&str>,
        name: &str,
    ) -> Result<String, SqlError> {
        if let Some(stream) = stream {
            return Ok(match self.stream(stream) {
                Some(_) if self.streams.len() == 1 => quoted(&self.naming.column(name)),
                Some(_) => {
                    let column = quoted(&self.naming.column(name));
                    format!("{}.{column}", self.source_name(stream))
                }
                // A field of a column, which may be written with an arrow as well.
                None => {
                    let column = bracketed(self.column_name(at, None, stream)?);
                    format!("{column}->{}", quoted(name))
                }
            });
        }
        let Some(number) = self.alias_at(at, name) else {
            return Ok(quoted(&self.naming.column(name)));
        };
        let of_group = at.level == Level::Group;
        if let Some(known) = self.naming.aliases.get(&(number, of_group)) {
            return Ok(known.clone());
        }
        let Some(alias) = self.aliases.get(number).cloned() else {
            return Ok(quoted(&self.naming.column(name)));
        };
        let mut inside = at.clone();
        inside.plain = false;
        inside.open.push(number);
        let text = self.name_of(&inside, alias.expr)?;
        self.naming.aliases.insert((number, of_group), text.clone());
        Ok(text)
    }

    fn call_name(&mut self, at: &At, call: &'a Call, node: &Node) -> Result<String, SqlError> {
        let name = lookup(&call.name).map_or(call.name.as_str(), |function| function.name);
        let mut inside = at.clone();
        if at.level == Level::Group && calls::is_aggregate(node) {
            inside.level = Level::Fold;
        }
        let mut args = Vec::new();
        for arg in &call.args {
            args.push(match &arg.node {
                // No column: what is known of the message.
                Node::Column { stream, name } if calls::is_meta(node) => match stream {
                    Some(stream) if self.streams.len() > 1 => {
                        format!("{}.{name}", self.source_name(stream))
                    }
                    _ => name.clone(),
                },
                // It tells of columns by their names.
                _ if name == "changed_cols" && args.len() >= 2 => {
                    let value = self.name_of(&inside, arg)?;
                    match output_name(arg, None, &mut 0) {
                        _ if matches!(arg.node, Node::Star(_)) => value,
                        shown => format!("{value} AS {}", quoted(&shown)),
                    }
                }
                _ => self.name_of(&inside, arg)?,
            });
        }
        let mut text = format!("{name}({})", args.join(", "));
        if let Some(filter) = &call.filter {
            text = format!("{text} FILTER (WHERE {})", self.name_of(&inside, filter)?);
        }
        if let Some(over) = &call.over {
            let mut parts = Vec::new();
            if !over.partition.is_empty() {
                parts.push(format!(
                    "PARTITION BY {}",
                    self.name_list(at, &over.partition)?
                ));
            }
            if let Some(when) = &over.when {
                parts.push(format!("WHEN {}", self.name_of(at, when)?));
            }
            if !parts.is_empty() {
                text = format!("{text} OVER ({})", parts.join(" "));
            }
        }
        Ok(text)
    }

    /// A stream by the name under which it is declared, or by its topic.
    fn source_name(&self, name: &str) -> String {
        let number = self.stream(name);
        let names = stream_names(self.streams.iter().map(|stream| stream.source.as_str()));
        let found = number.and_then(|number| names.into_iter().nth(number));
        quoted(&found.unwrap_or_else(|| name.to_owned()))
    }
}

/// Names of streams, of which several may have one source.
fn stream_names<'s>(sources: impl Iterator<Item = &'s str>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for source in sources {
        let mut name = source.to_owned();
        let mut number = 1;
        while names.contains(&name) {
            number += 1;
            name = format!("{source} #{number}");
        }
        names.push(name);
    }
    names
}

/// In brackets where it would not be one word: by its text alone, so that an alias makes no difference.
fn bracketed(text: String) -> String {
    if text.contains(' ') || text.starts_with('-') {
        format!("({text})")
    } else {
        text
    }
}

/// A name in backticks where it is no plain word.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    if !name.is_empty() && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("`{}`", name.escape_debug())
    }
}

fn literal_text(literal: &Literal) -> String {
    match literal {
        Literal::Null => "NULL".to_owned(),
        Literal::Bool(value) => value.to_string(),
        Literal::Int(value) => value.to_string(),
        Literal::Wide(value) => value.to_string(),
        Literal::Float(value) => format!("{value:?}"),
        Literal::Text(text) => format!("{text:?}"),
    }
}

fn op_text(op: Op) -> &'static str {
    match op {
        Op::Or => "OR",
        Op::And => "AND",
        Op::Eq => "=",
        Op::Ne => "!=",
        Op::Lt => "<",
        Op::Le => "<=",
        Op::Gt => ">",
        Op::Ge => ">=",
        Op::Add => "+",
        Op::Sub => "-",
        Op::BitOr => "|",
        Op::BitXor => "^",
        Op::Mul => "*",
        Op::Div => "/",
        Op::Rem => "%",
        Op::BitAnd => "&",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::compile::streams::streams;
    use crate::compile::{Compiled, Options};
    use crate::parse::parse;

    fn compiled(sql: &str, hash: fn(&[u8]) -> u64) -> Result<Compiled, SqlError> {
        let options = Options::default();
        let file = parse(sql)?;
        let streams = streams(&file.select, &file.declarations, &options)?;
        let mut compiler = Compiler::new(&file.select, &options, streams);
        compiler.naming = Naming::new(hash);
        compiler.compile(sql)
    }

    /// The names that a statement's manifest has.
    fn names(sql: &str) -> Json {
        let wasm = match compiled(sql, hash) {
            Ok(compiled) => compiled.wasm,
            Err(error) => panic!("{sql}: {error}"),
        };
        let text = String::from_utf8_lossy(&wasm);
        let (_, manifest) = text.split_once("tidemill.manifest").unwrap();
        let manifest: Json = serde_json::from_str(manifest).unwrap();
        manifest["state"]["names"].clone()
    }

    fn steps(select: &str) -> Vec<String> {
        let names = names(&format!("SELECT {select} FROM input"));
        let steps = names["steps"].as_array().unwrap();
        let name = |step: &Json| step.as_str().unwrap_or("-").to_owned();
        steps.iter().map(name).collect()
    }

    #[test]
    fn whatever_means_the_same_has_one_name() {
        for (select, name) in [
            ("lag(n)", "lag(n)"),
            ("LAG( N ) AS x", "lag(n)"),
            ("lag(input.n)", "lag(n)"),
            ("n + 1 AS m, lag(m)", "lag(n + 1)"),
            ("lag((n) + (1))", "lag(n + 1)"),
            ("lag((a + 1) * b)", "lag((a + 1) * b)"),
            ("a + 1 AS c, lag(c * b)", "lag((a + 1) * b)"),
            ("lag(a->b->c)", "lag(a->b->c)"),
            ("lag(a.b)", "lag(a->b)"),
            ("lag(-(a->b))", "lag(-a->b)"),
            ("lag((-a)->b)", "lag((-a)->b)"),
            ("lag(a <> 'x y')", "lag(a != (\"x y\"))"),
            ("lag(`a b`)", "lag(`a b`)"),
            (
                "acc_sum(n) OVER (PARTITION BY D, e WHEN n > 1.0)",
                "acc_sum(n) OVER (PARTITION BY d, e WHEN n > 1.0)",
            ),
            (
                "acc_max(CASE WHEN a THEN 1 ELSE 2 END)",
                "acc_max(CASE WHEN a THEN 1 ELSE 2 END)",
            ),
        ] {
            assert_eq!(steps(select), [name], "{select}");
        }
        // Twice the same is one, in the place of the first.
        assert_eq!(
            steps("lag(n), acc_sum(n), lag(n) AS b"),
            ["lag(n)", "acc_sum(n)", "-"]
        );
        let differ = [
            "lag(n)",
            "lag(n, 1)",
            "lag(m)",
            "lag(\"n\")",
            "lag(n) OVER (WHEN n > 1)",
        ];
        let all: BTreeSet<Vec<String>> = differ.iter().map(|select| steps(select)).collect();
        assert_eq!(all.len(), differ.len());
    }

    #[test]
    fn what_is_folded_is_named_by_slot_and_the_window_by_its_rows() {
        let names = names(
            "SELECT d, avg(a) AS m, count(*) AS c FROM input WHERE a > 1 GROUP BY d, TUMBLINGWINDOW(ss, 1)",
        );
        let slots = json!([
            "type of d",
            "count(*)",
            "count(a)",
            "steps of sum(a)",
            "sum(a)"
        ]);
        assert_eq!(names["slots"], slots);
        assert_eq!(names["folds"], json!(["avg(a)", "count(*)"]));
        assert_eq!(names["window"], json!("WHERE a > 1"));
        assert_eq!(names["whole"], json!(true));
    }

    #[test]
    fn a_long_name_is_cut_and_two_that_would_be_one_are_refused() {
        let long = |last: &str| {
            let sum = vec!["aaaa"; 60].join(" + ");
            format!("lag(n + {sum} + {last})")
        };
        let name = steps(&long("b")).remove(0);
        assert!(
            name.len() <= NAME_BYTES_MAX && name.contains("… #"),
            "{name}"
        );
        let again = steps(&format!("{}, 1 AS one", long("B")));
        assert_eq!(again, std::slice::from_ref(&name));
        assert_ne!(steps(&long("c")), [name]);
        let both = format!("SELECT {} AS x, {} AS y FROM input", long("b"), long("c"));
        assert!(compiled(&both, hash).is_ok());
        let error = compiled(&both, |_| 7).unwrap_err().to_string();
        let reason = "has the name of something else in the statement";
        assert!(error.contains(reason), "{error}");
    }

    #[test]
    fn aliases_of_aliases_are_named_without_writing_them_out() {
        let mut items = vec!["n AS a0".to_owned()];
        for at in 1..60 {
            items.push(format!("a{} + a{} AS a{at}", at - 1, at - 1));
        }
        items.push("lag(a59) AS l".to_owned());
        // Written out it has 2^59 parts, and is refused for that once it is compiled, which is later.
        let sql = format!("SELECT {} FROM input", items.join(", "));
        let error = compiled(&sql, hash).unwrap_err().to_string();
        assert!(error.contains("too long"), "{error}");
    }
}
