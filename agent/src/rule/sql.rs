//! Rules in SQL: a statement in a manifest, or a file that holds nothing else. Errors in a
//! statement are shown in its file, with a caret.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tidemill_sql::{Compiled, Options, SqlError, compile};
use tidemill_values::Value;
use toml::Spanned;

use super::payload::Given;
use super::tables::File;
use super::times;
use super::{
    Durability, FunctionSource, Gateway, KeySpec, Placed, Port, Priority, Rule, Statement, Stream,
    TopicTemplate, Triggers, WindowTable, port,
};
use crate::config::LOCAL;
use crate::event::payload::{Format, Payload};
use tidemill_base::text::{FileError, Source};
use tidemill_transport::topic::TopicFilter;

/// Position of a statement in its file.
struct Origin<'a> {
    source: &'a Source,
    /// Span of the whole statement.
    span: Range<usize>,
    /// Offset to add to positions in the statement; `None` if escapes have shifted them.
    offset: Option<usize>,
    sql: &'a str,
}

impl Origin<'_> {
    /// The error with its place in the file, and the line that is wrong.
    fn error(&self, error: &SqlError) -> FileError {
        match self.offset {
            Some(offset) => in_file(self.source, offset, error),
            None => {
                let excerpt = error.excerpt(self.sql);
                self.source
                    .error_showing(&self.span, error.to_string(), excerpt)
            }
        }
    }
}

/// A rule of a file that holds one statement: what FROM names is the topic, and rows go out through
/// `out`.
pub(super) fn rule(source: Source, gateway: &Gateway<'_>) -> Result<Rule, FileError> {
    let name = name_of(&source);
    let options = Options {
        name: name.clone(),
        ..Options::default()
    };
    let whole = 0..source.text.len();
    let origin = Origin {
        source: &source,
        span: whole.clone(),
        offset: Some(0),
        sql: &source.text,
    };
    let compiled = compile(&source.text, &options).map_err(|error| origin.error(&error))?;
    let streams: Vec<Stream> = compiled
        .streams
        .iter()
        .map(|stream| own_stream(&origin, stream))
        .collect::<Result<_, _>>()?;
    let mut filters: Vec<TopicFilter> = Vec::new();
    for filter in streams.iter().flat_map(|stream| &stream.mqtt) {
        if !filters.contains(filter) {
            filters.push(filter.clone());
        }
    }
    let template = TopicTemplate::parse("out", &name, gateway.id);
    let out = Port {
        to: LOCAL.to_owned(),
        topic: template.map_err(|why| source.error(why))?,
        priority: Priority::Normal,
        topic_span: whole.clone(),
        retain: false,
        qos: 1,
    };
    let placed = Placed {
        value: out,
        span: whole.clone(),
    };
    Ok(Rule {
        name: name.into(),
        version: 1,
        description: String::new(),
        durability: Durability::ExactlyOnce,
        triggers: Triggers {
            mqtt: filters,
            retained: false,
            schedules: Vec::new(),
        },
        key: None,
        key_span: None,
        function: function(source.text.clone(), compiled),
        function_span: whole,
        inputs: BTreeMap::new(),
        params: BTreeMap::new(),
        window: WindowTable::default(),
        streams,
        ports: BTreeMap::from([("out".to_owned(), placed)]),
        limits: *gateway.limits,
        is_whole: true,
        knows_topics: true,
        source: Arc::new(source),
    })
}

/// The function of a statement.
pub(super) fn statement(
    source: &Source,
    file: &File,
    sql: &Spanned<String>,
    (streams, on): (&[Stream], &[TopicFilter]),
) -> Result<(FunctionSource, Vec<Stream>), FileError> {
    let values = file.params.iter().filter_map(|(name, value)| {
        let value = param(value.get_ref())?;
        Some((name.clone(), value))
    });
    let is_null_sent = |port: &Spanned<port::Table>| {
        let nulls = port.get_ref().nulls.as_ref();
        nulls.is_some_and(|nulls| *nulls.get_ref())
    };
    let key = file.on.as_ref().and_then(|on| on.get_ref().key.as_ref());
    let key = key.and_then(|key| KeySpec::parse(key.get_ref()).ok());
    let options = Options {
        name: file.name.get_ref().clone(),
        key_pointer: match key {
            Some(KeySpec::Pointer(pointer)) => Some(pointer),
            _ => None,
        },
        params: values.collect(),
        nulls: file.ports.values().any(is_null_sent),
        keyed: file
            .on
            .as_ref()
            .is_some_and(|on| on.get_ref().key.is_some()),
        streams: streams.iter().map(declared).collect(),
        ..Options::default()
    };
    let streams = streams.to_vec();
    in_manifest(source, &sql.span(), sql.get_ref(), &options, streams, on)
}

/// The function of a statement in a manifest, whose `[on]` lists the filters `on`.
fn in_manifest(
    source: &Source,
    span: &Range<usize>,
    sql: &str,
    options: &Options,
    streams: Vec<Stream>,
    on: &[TopicFilter],
) -> Result<(FunctionSource, Vec<Stream>), FileError> {
    let written = source.text.get(span.clone()).unwrap_or_default();
    let origin = Origin {
        source,
        span: span.clone(),
        offset: written.find(sql).map(|at| span.start + at),
        sql,
    };
    let compiled = compile(sql, options).map_err(|error| origin.error(&error))?;
    let streams = in_order(&origin, &compiled, streams, on)?;
    Ok((function(sql.to_owned(), compiled), streams))
}

fn function(sql: String, compiled: Compiled) -> FunctionSource {
    FunctionSource::Sql(Arc::new(Statement {
        sql,
        wasm: compiled.wasm,
        plan: compiled.plan,
    }))
}

/// A stream declared in a manifest, as the compiler takes it.
fn declared(stream: &Stream) -> tidemill_sql::Stream {
    tidemill_sql::Stream {
        name: stream.name.clone(),
        source: stream.name.clone(),
        declared: true,
        filters: stream.mqtt.iter().map(ToString::to_string).collect(),
        fields: stream
            .fields
            .iter()
            .map(|(name, ty)| (name.clone(), *ty))
            .collect(),
        timestamp: stream
            .timestamp
            .as_ref()
            .map(|timestamp| timestamp.pointer.clone()),
        recoded: stream.payload.format != Format::Json,
        bare: stream
            .payload
            .format
            .is_bare()
            .then(|| stream.payload.format.name().to_owned()),
        complete: false,
        strict: false,
        options: Vec::new(),
    }
}

/// The streams of the manifest in the order of the statement, whose code knows them by their numbers.
fn in_order(
    origin: &Origin<'_>,
    compiled: &Compiled,
    manifest: Vec<Stream>,
    on: &[TopicFilter],
) -> Result<Vec<Stream>, FileError> {
    let Origin { source, span, .. } = origin;
    if manifest.is_empty() && compiled.streams.iter().all(|stream| !stream.declared) {
        let [_] = &*compiled.streams else {
            let message = "a statement of several streams needs [streams.NAME] for each, with mqtt = [\"filter\"]";
            return Err(source.error_at(span, message));
        };
        return Ok(manifest);
    }
    let by_name = |stream: &tidemill_sql::Stream| {
        let known = manifest.iter().find(|known| known.name == stream.source);
        match known {
            Some(known) => Ok(known.clone()),
            None => own_stream(origin, stream),
        }
    };
    let mut streams: Vec<Stream> = compiled
        .streams
        .iter()
        .map(by_name)
        .collect::<Result<_, _>>()?;
    if let (true, [declared], [stream]) = (manifest.is_empty(), &*compiled.streams, &mut *streams)
        && !on.is_empty()
        && declared.filters == [declared.source.as_str()]
    {
        // Without DATASOURCE it has the events of the rule.
        stream.mqtt.clear();
    }
    let covers = |filter: &&TopicFilter| {
        let mut each = streams.iter().map(|stream| &stream.mqtt);
        each.any(|own| own.is_empty() || own.contains(filter))
    };
    match on.iter().find(|filter| !covers(filter)) {
        Some(filter) if manifest.is_empty() => {
            let own = streams.iter().flat_map(|stream| &stream.mqtt);
            let own: Vec<String> = own.map(ToString::to_string).collect();
            let message = format!(
                "on.mqtt: {filter} is no topic of the streams that CREATE STREAM declares, which have {}; \
                 leave it out, or DATASOURCE",
                own.join(", ")
            );
            Err(source.error_at(span, message))
        }
        _ => Ok(streams),
    }
}

/// A stream as the statement declares it.
fn own_stream(origin: &Origin<'_>, stream: &tidemill_sql::Stream) -> Result<Stream, FileError> {
    let fail = |span: &Range<usize>, message: String| origin.error(&SqlError::new(span, message));
    let given = times(stream);
    let timestamp = given.check(&fail)?;
    let waits = times::Waits {
        lateness: option(stream, "lateness"),
        allowed_late: option(stream, "allowed_late"),
        idle: option(stream, "idle"),
    };
    if timestamp.is_none()
        && let Some((key, span)) = waits.first()
    {
        let message = format!(
            "{key}: needs the time of the events; write TIMESTAMP=\"ts\", the column that tells it"
        );
        return Err(fail(span, message));
    }
    let (lateness_ms, allowed_late_ms, idle_ms) = waits.check(&fail)?;
    let payload = payload(origin, stream)?;
    if let Some(why) = times::beside(timestamp.as_ref(), &payload.format) {
        return Err(fail(&(0..0), why));
    }
    Ok(Stream {
        name: stream.name.clone(),
        mqtt: topic_filters(origin.source, &origin.span, &stream.filters)?,
        timestamp: timestamp.map(Arc::new),
        zone: given.zone(&fail)?,
        payload: Arc::new(payload),
        lateness_ms,
        allowed_late_ms,
        idle_ms,
        fields: stream.fields.iter().cloned().collect(),
    })
}

/// An option of a declared stream.
fn option(stream: &tidemill_sql::Stream, name: &str) -> Option<Placed<String>> {
    let option = stream.options.iter().find(|option| option.name == name)?;
    Some(Placed {
        value: option.value.clone(),
        span: option.span.clone(),
    })
}

/// Time settings of a declared stream.
fn times(stream: &tidemill_sql::Stream) -> times::Given {
    let option = |name: &str| option(stream, name);
    times::Given {
        pointer: stream
            .timestamp
            .clone()
            .map(|value| Placed { value, span: 0..0 }),
        unit: option("timestamp_unit"),
        format: option("timestamp_format"),
        zone: option("zone"),
    }
}

/// Payload settings of a declared stream. Columns of records without names are those of the
/// declaration, in its order.
fn payload(origin: &Origin<'_>, stream: &tidemill_sql::Stream) -> Result<Payload, FileError> {
    let option = |name: &str| option(stream, name);
    let format = option("format");
    let is_csv =
        |format: &Placed<String>| matches!(Format::named(&format.value), Some(Format::Csv(_)));
    let columns = format
        .as_ref()
        .filter(|format| is_csv(format) && !stream.fields.is_empty());
    let given = Given {
        columns: columns.map(|format| Placed {
            value: stream.fields.iter().map(|(name, _)| name.clone()).collect(),
            span: format.span.clone(),
        }),
        delimiter: option("delimiter"),
        list: option("list"),
        empty: option("empty"),
        format,
    };
    given.check(&|span, message| origin.error(&SqlError::new(span, message)))
}

/// The error with its place in the file, and the line that is wrong.
fn in_file(source: &Source, offset: usize, error: &SqlError) -> FileError {
    let moved = SqlError {
        message: error.message.clone(),
        span: error.span.start + offset..error.span.end + offset,
    };
    let excerpt = moved.excerpt(&source.text);
    source.error_showing(&moved.span, moved.message.as_str(), excerpt)
}

fn topic_filters(
    source: &Source,
    span: &Range<usize>,
    texts: &[String],
) -> Result<Vec<TopicFilter>, FileError> {
    let mut filters: Vec<TopicFilter> = Vec::new();
    for text in texts {
        let filter = TopicFilter::new(text)
            .map_err(|why| source.error_at(span, format!("the topic {text:?}: {why}")))?;
        if !filters.contains(&filter) {
            filters.push(filter);
        }
    }
    Ok(filters)
}

/// The rule's name: that of the file, as far as a rule may be called so.
fn name_of(source: &Source) -> String {
    let stem = source.path.file_stem().unwrap_or_default();
    let name: String = stem
        .to_string_lossy()
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(64)
        .collect();
    if name.is_empty() {
        "statement".to_owned()
    } else {
        name
    }
}

/// The value of a parameter in a statement.
fn param(value: &toml::Value) -> Option<Value> {
    match value {
        toml::Value::Integer(number) => Some(Value::Int(*number)),
        toml::Value::Float(number) => Some(Value::float(*number)),
        toml::Value::Boolean(yes) => Some(Value::Bool(*yes)),
        toml::Value::String(text) => Some(Value::text(text.as_str())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::limits::FunctionLimits;
    use tidemill_base::text::FileErrors;

    fn read(path: &str, text: &str) -> Result<Rule, FileErrors> {
        let source = Source {
            path: path.into(),
            text: text.to_owned(),
        };
        let gateway = Gateway {
            id: "gw",
            destinations: None,
            limits: &FunctionLimits::default(),
        };
        if path.ends_with(".sql") {
            Ok(rule(source, &gateway)?)
        } else {
            Rule::parse(source, &gateway)
        }
    }

    const OUT: &str = "[ports.out]\nto = \"local\"\ntopic = \"out\"\n";

    #[test]
    fn streams_stand_in_the_order_of_the_statement() {
        let text = format!(
            "name = \"x\"\n[function]\nsql = \"SELECT b.v FROM b AS left_one INNER JOIN a ON left_one.id = a.id \
             GROUP BY TUMBLINGWINDOW(ss, 1)\"\n[streams.a]\nmqtt = [\"t/a\"]\n[streams.b]\nmqtt = [\"t/b\"]\n{OUT}"
        );
        let rule = read("x.toml", &text).unwrap();
        let names: Vec<&str> = rule.streams.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
        let error = read("x.toml", &text.replace("[streams.b]", "[streams.c]")).unwrap_err();
        let expected = "x.toml:3:24: there is no stream b, there is a, c";
        assert!(error.to_string().starts_with(expected), "{error}");
    }

    #[test]
    fn topics_of_a_manifest_are_those_of_its_streams() {
        let text = format!(
            "name = \"x\"\n[on]\nmqtt = [\"a\"]\n[function]\nsql = 'CREATE STREAM s (v FLOAT) WITH \
             (DATASOURCE=\"b\"); SELECT v FROM s'\n{OUT}"
        );
        let error = read("x.toml", &text).unwrap_err().to_string();
        let expected =
            "on.mqtt: a is no topic of the streams that CREATE STREAM declares, which have b";
        assert!(error.contains(expected), "{error}");
        let filters = |text: &str| {
            let rule = read("x.toml", text).unwrap();
            let filters = rule.triggers.mqtt.iter().map(ToString::to_string);
            filters.collect::<Vec<_>>()
        };
        assert_eq!(filters(&text.replace("[on]\nmqtt = [\"a\"]\n", "")), ["b"]);
        assert_eq!(
            filters(&text.replace(" WITH (DATASOURCE=\"b\")", "")),
            ["a"]
        );
    }

    #[test]
    fn a_file_with_a_statement_listens_to_what_from_names() {
        let rule = read("My rule.sql", "SELECT a FROM demo").unwrap();
        assert_eq!(&*rule.name, "my-rule");
        assert_eq!(rule.triggers.mqtt[0].as_str(), "demo");
        let sql = "CREATE STREAM demo (a BIGINT) WITH (DATASOURCE=\"s/+\", TIMESTAMP=\"ts\");\nSELECT a FROM demo";
        let rule = read("x.sql", sql).unwrap();
        assert_eq!(rule.triggers.mqtt[0].as_str(), "s/+");
        assert_eq!(rule.streams[0].timestamp.as_ref().unwrap().pointer, "/ts");
        let error = read("x.sql", &sql.replace("s/+", "s/#/x")).unwrap_err();
        assert!(error.to_string().contains("the topic \"s/#/x\""), "{error}");
    }

    #[test]
    fn an_error_shows_its_line_of_the_manifest() {
        let text = format!(
            "name = \"x\"\n[on]\nmqtt = [\"a\"]\n[function]\nsql = \"\"\"\nSELECT\n  uper(a)\nFROM x\"\"\"\n{OUT}"
        );
        let error = read("x.toml", &text).unwrap_err().to_string();
        assert_eq!(
            error,
            "x.toml:7:3: there is no function uper; did you mean upper?\n  |\n7 |   uper(a)\n  |   ^^^^"
        );
    }

    #[test]
    fn parameters_keep_their_type() {
        let text = format!(
            "name = \"x\"\n[on]\nmqtt = [\"a\"]\n[function]\nsql = \"SELECT 7 / :n AS h FROM x\"\n[params]\nn = 2\n{OUT}"
        );
        let rule = read("x.toml", &text).unwrap();
        let FunctionSource::Sql(statement) = &rule.function else {
            panic!("a rule in SQL")
        };
        assert!(String::from_utf8_lossy(&statement.wasm).contains(r#""values":["h",3]"#));
        let error = read("x.toml", &text.replace("n = 2", "n = 2\nm = 3")).unwrap_err();
        assert!(
            error.to_string().contains("params.m is not used"),
            "{error}"
        );
    }

    #[test]
    fn a_declaration_says_how_long_events_are_waited_for() {
        let with = |options: &str| {
            format!(
                "CREATE STREAM demo (t FLOAT, ts BIGINT) WITH (DATASOURCE=\"s\"{options}); SELECT t FROM demo"
            )
        };
        let waits = |options: &str| {
            let rule = read("x.sql", &with(options)).unwrap();
            let stream = rule.streams[0].clone();
            (stream.lateness_ms, stream.allowed_late_ms, stream.idle_ms)
        };
        assert_eq!(waits(", TIMESTAMP=\"ts\""), (0, 0, crate::rule::IDLE_MS));
        let all = ", TIMESTAMP=\"ts\", LATENESS=\"1s\", ALLOWED_LATE=\"2m\", IDLE=\"5s\"";
        assert_eq!(waits(all), (1_000, 120_000, 5_000));
        let refused = |options: &str, why: &str| {
            let error = read("x.sql", &with(options)).unwrap_err().to_string();
            assert!(
                error.starts_with("x.sql:1:") && error.contains(why),
                "{error}"
            );
        };
        refused(
            ", LATENESS=\"1s\"",
            "lateness: needs the time of the events; write TIMESTAMP",
        );
        refused(", TIMESTAMP=\"ts\", LATENESS=\"soon\"", "lateness: ");
        refused(
            ", TIMESTAMP=\"ts\", LATENESS=\"8d\"",
            "lateness: it lasts from 0ms to 7 days",
        );
        refused(
            ", TIMESTAMP=\"ts\", IDLE=\"1ms\"",
            "idle: it lasts from 10ms to 7 days",
        );
    }

    #[test]
    fn a_payload_that_is_one_value_has_no_other_column_and_no_time() {
        let manifest = |format: &str, more: &str, sql: &str| {
            format!(
                "name = \"x\"\n[streams.t]\nmqtt = [\"home/+/t\"]\npayload = \"{format}\"\n{more}\n[function]\n\
                 sql = \"{sql}\"\n{OUT}"
            )
        };
        for format in ["number", "text", "bytes", "lines"] {
            let text = manifest(format, "", "SELECT temperature FROM t WHERE self > 5");
            let error = read("x.toml", &text).unwrap_err().to_string();
            let expected = format!(
                "there is no column temperature: a message that is \"{format}\" is one value, which a statement calls self"
            );
            assert!(
                error.starts_with("x.toml:7:15: ") && error.contains(&expected),
                "{error}"
            );
            assert!(read("x.toml", &manifest(format, "", "SELECT self AS v FROM t")).is_ok());
            let timed = manifest(format, "timestamp = \"/ts\"", "SELECT self AS v FROM t");
            let error = read("x.toml", &timed).unwrap_err().to_string();
            assert!(
                error.contains("the time can only stand in /self"),
                "{error}"
            );
        }
        assert!(read("x.toml", &manifest("cbor", "", "SELECT temperature FROM t")).is_ok());
    }
}
