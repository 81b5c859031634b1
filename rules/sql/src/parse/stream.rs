//! `CREATE STREAM name (field TYPE, …) WITH (DATASOURCE="topic", TIMESTAMP="ts")`.

use tidemill_values::FieldType;

use super::Parser;
use crate::ast::Span;
use crate::compile::StreamOption;
use crate::error::SqlError;
use crate::lex::Kind;

/// A declared stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Declaration {
    pub(crate) name: String,
    pub(crate) fields: Vec<(String, FieldType)>,
    /// The topic filter that it listens to.
    pub(crate) source: Option<(String, Span)>,
    /// The field that tells when an event happened.
    pub(crate) timestamp: Option<String>,
    /// `true` if a value of another type is an error even where it could be converted.
    pub(crate) strict: bool,
    /// Options that only the host makes sense of, by names in lower case.
    pub(crate) options: Vec<StreamOption>,
}

/// Options that only the host makes sense of: how payloads and times are read.
const HOST: [&str; 10] = [
    "format",
    "delimiter",
    "list",
    "empty",
    "timestamp_unit",
    "timestamp_format",
    "zone",
    "lateness",
    "allowed_late",
    "idle",
];

/// Options of eKuiper that would do nothing here, each with what does instead.
const ELSEWHERE: [(&str, &str); 9] = [
    ("key", "no stream is a table here"),
    (
        "conf_key",
        "the broker stands in the configuration of the gateway",
    ),
    ("shared", "one subscription serves all rules anyway"),
    ("retain_size", "no stream is a table here"),
    ("schemaid", "no schema is needed to read a payload"),
    ("kind", "no stream is a table here"),
    ("version", "a rule has a version in its own file"),
    ("extra", "there is nothing that it could be for"),
    ("temp", "a stream belongs to its rule, and goes with it"),
];

impl Parser {
    /// Reads the declaration after CREATE.
    pub(super) fn declaration(&mut self) -> Result<Declaration, SqlError> {
        self.expect_word("stream")?;
        let mut declared = Declaration {
            name: self.name("the name of a stream")?,
            fields: Vec::new(),
            source: None,
            timestamp: None,
            strict: false,
            options: Vec::new(),
        };
        if self.eat("(") {
            // A comma behind the last one does no harm.
            while !self.is(")") {
                let name = self.field_name()?;
                let ty = self.field_type()?;
                declared.fields.push((name, ty));
                if !self.eat(",") {
                    break;
                }
            }
            self.expect(")")?;
        }
        if self.eat_word("with") {
            self.expect("(")?;
            self.option(&mut declared)?;
            // Commas may be left out.
            while !self.eat(")") {
                if !self.eat(",") && !matches!(self.peek(), Kind::Word(_)) {
                    return Err(self.unexpected("\")\""));
                }
                if !self.is(")") {
                    self.option(&mut declared)?;
                }
            }
        }
        Ok(declared)
    }

    /// Any word: a type follows, so nothing else can be meant.
    fn field_name(&mut self) -> Result<String, SqlError> {
        match self.peek().clone() {
            Kind::Word(name) | Kind::Quoted(name) => {
                self.advance();
                Ok(name)
            }
            _ => Err(self.unexpected("the name of a field")),
        }
    }

    fn field_type(&mut self) -> Result<FieldType, SqlError> {
        let wanted = "a type: bigint, float, string, boolean, datetime, bytea, array or struct";
        let Kind::Word(word) = self.peek().clone() else {
            return Err(self.unexpected(wanted));
        };
        let Some(ty) = FieldType::named(&word) else {
            return Err(self.unexpected(wanted));
        };
        self.advance();
        if matches!(ty, FieldType::Array | FieldType::Struct) && self.is("(") {
            self.skip_brackets()?;
        }
        Ok(ty)
    }

    /// Passes over the content of an array or a struct, which is not checked.
    fn skip_brackets(&mut self) -> Result<(), SqlError> {
        let mut open = 0_usize;
        loop {
            match self.peek() {
                Kind::Symbol("(") => open += 1,
                Kind::Symbol(")") => open -= 1,
                Kind::End => return Err(self.unexpected("\")\"")),
                _ => {}
            }
            self.advance();
            if open == 0 {
                return Ok(());
            }
        }
    }

    fn option(&mut self, declared: &mut Declaration) -> Result<(), SqlError> {
        let span = self.span();
        let name = self.field_name()?.to_ascii_lowercase();
        self.expect("=")?;
        let value_span = self.span();
        let value = match self.peek().clone() {
            Kind::Text(value) => value,
            Kind::Word(word)
                if ["true", "false"]
                    .iter()
                    .any(|w| word.eq_ignore_ascii_case(w)) =>
            {
                word
            }
            _ => return Err(self.unexpected("a text, as in DATASOURCE=\"topic\"")),
        };
        self.advance();
        match name.as_str() {
            "datasource" => declared.source = Some((value, value_span)),
            "timestamp" => declared.timestamp = Some(value),
            "strict_validation" => match value.to_ascii_lowercase().as_str() {
                "true" => declared.strict = true,
                "false" => declared.strict = false,
                _ => return Err(SqlError::new(&value_span, "it is true or false")),
            },
            host if HOST.contains(&host) => declared.options.push(StreamOption {
                name,
                value,
                span: value_span,
            }),
            "type" if value.eq_ignore_ascii_case("mqtt") => {}
            "type" => return Err(SqlError::new(&value_span, "the only type is \"mqtt\"")),
            _ => {
                let option = name.to_ascii_uppercase();
                if let Some((_, why)) = ELSEWHERE.iter().find(|(known, _)| *known == name) {
                    let message = format!("{option} does nothing here: {why}; leave it out");
                    return Err(SqlError::new(&span, message));
                }
                let message = format!(
                    "{option} is no option; there are DATASOURCE, TIMESTAMP, TYPE, STRICT_VALIDATION, {}",
                    HOST.map(str::to_ascii_uppercase).join(", ")
                );
                return Err(SqlError::new(&span, message));
            }
        }
        Ok(())
    }
}
