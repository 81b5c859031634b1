//! The shape of a rule's manifest on disk, and its way to a checked [`Rule`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use toml::Spanned;

use super::tables::{File, Function, On, params};
use super::{
    Durability, FunctionSource, Gateway, KeySpec, Placed, Rule, Stream, Triggers, WindowTable,
    check_pointer, feeds_itself, keys, limits, port, sent_twice, streams, window,
};
use crate::rule::schedule::Schedule;
use tidemill_base::text::{Errors, FileError, FileErrors, Source, shape};
use tidemill_transport::topic::{TopicFilter, twice_sent};

/// Checks a manifest, and says everything that is wrong with it.
pub(super) fn parse(source: Source, gateway: &Gateway<'_>) -> Result<Rule, FileErrors> {
    let errors = Errors::default();
    let read = shape::read(&source, &errors);
    if read.get_ref().is_empty() && errors.is_empty() {
        let message = "says nothing; write name = \"my-rule\", [on], [function] and [ports.out], or let \
                       `tidemill rule new` write it";
        return Err(source.error(message).into());
    }
    let rule = shape::shaped(&source, read, keys::FILE, &errors)
        .and_then(|file| checked(&source, &file, gateway, &errors));
    match (errors.into_list(), rule) {
        (Some(errors), _) => Err(errors),
        (None, Some(rule)) => Ok(rule),
        (None, None) => Err(source.error("cannot be understood").into()),
    }
}

fn checked(source: &Source, file: &File, gateway: &Gateway<'_>, errors: &Errors) -> Option<Rule> {
    let name = file.name.get_ref();
    errors.take(check_name(source, &file.name));
    let stand_in = Spanned::new(
        0..0,
        Function {
            sql: None,
            wasm: None,
            stock: Some("threshold".to_owned()),
        },
    );
    let function = errors.take(function_of(source, file)).unwrap_or(&stand_in);
    let is_sql = matches!(
        function.get_ref(),
        Function {
            sql: Some(_),
            wasm: None,
            stock: None,
        }
    );
    let durability = errors.take(durability(source, file.durability.as_ref()));
    let durability = durability.unwrap_or(Durability::ExactlyOnce);
    let nothing = On::default();
    let on = file.on.as_ref().map_or(&nothing, Spanned::get_ref);
    let key = match &on.key {
        Some(key) => errors.take(
            KeySpec::parse(key.get_ref())
                .map_err(|why| source.error_at(&key.span(), format!("on.key: {why}"))),
        ),
        None => None,
    };
    let streams = errors.take(streams::check(source, &file.streams, !on.mqtt.is_empty()));
    let function_and_streams = match &function.get_ref().sql {
        Some(sql) if is_sql => streams
            .and_then(|streams| errors.take(super::sql::statement(source, file, sql, streams))),
        _ => {
            let function = errors.take(self::function(source, function));
            function.zip(streams)
        }
    };
    let on_span = file.on.as_ref().map_or(0..0, Spanned::span);
    let streams = function_and_streams.as_ref().map(|(_, streams)| &**streams);
    // Streams that are not known may have had the filters.
    let has_own = !on.mqtt.is_empty() || !on.schedule.is_empty() || on.invoke;
    let triggers = (streams.is_some() || has_own)
        .then(|| errors.take(triggers(source, on, &on_span, streams.unwrap_or_default())))
        .flatten();
    let unknown_key = KeySpec::Pointer(String::new());
    let mut ports = BTreeMap::new();
    for (port_name, table) in &file.ports {
        let checked = port::check(source, port_name, table, name, durability, is_sql, gateway);
        let Some(checked) = errors.take(checked) else {
            continue;
        };
        // A key that nothing is said about is looked at once the function is known.
        let key = key.as_ref().unwrap_or(&unknown_key);
        let fed_by = triggers.as_ref().and_then(|it| it.fed_by(&checked, key));
        if let Some(filter) = fed_by {
            let message = format!("ports.{port_name}.topic: {}", feeds_itself(filter));
            errors.push(source.error_at(&table.get_ref().topic.span(), message));
        }
        ports.insert(
            port_name.clone(),
            Placed {
                value: checked,
                span: table.span(),
            },
        );
    }
    let inputs = errors.take(inputs(source, &file.inputs));
    let params = if is_sql {
        Some(BTreeMap::new())
    } else {
        errors.take(params(source, &file.params))
    };
    let window = match &file.window {
        Some(table) => errors.take(window::check(source, table)),
        None => Some(WindowTable::default()),
    };
    let limits = limits::check(source, &file.limits, gateway.limits, errors);
    let (function_source, streams) = function_and_streams?;
    Some(Rule {
        name: name.as_str().into(),
        version: file.version,
        durability,
        triggers: triggers?,
        key,
        key_span: on.key.as_ref().map(Spanned::span),
        function: function_source,
        function_span: function.span(),
        inputs: inputs?,
        params: params?,
        window: window?,
        ports,
        streams,
        limits,
        description: file.description.clone(),
        source: Arc::new(source.clone()),
    })
}

fn check_name(source: &Source, name: &Spanned<String>) -> Result<(), FileError> {
    let text = name.get_ref();
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !text.is_empty() && text.len() <= 64 && text.chars().all(good) {
        return Ok(());
    }
    let tamed: String = text
        .to_lowercase()
        .chars()
        .map(|c| if good(c) { c } else { '-' })
        .take(64)
        .collect();
    let way_out = match tamed.trim_matches('-') {
        "" => String::new(),
        tamed => format!("; write name = {tamed:?}"),
    };
    let message = format!("name {text:?}: 1 to 64 of the characters a-z, 0-9 and -{way_out}");
    Err(source.error_at(&name.span(), message))
}

fn function_of<'a>(source: &Source, file: &'a File) -> Result<&'a Spanned<Function>, FileError> {
    file.function.as_ref().ok_or_else(|| {
        let message = "missing table `[function]`; write [function] and below it stock = \"threshold\", \
                       sql = \"SELECT …\" or wasm = \"file.wasm\"";
        source.error_at(&(0..0), message)
    })
}

fn durability(source: &Source, text: Option<&Spanned<String>>) -> Result<Durability, FileError> {
    match text.map(|text| (text.get_ref().as_str(), text.span())) {
        None | Some(("exactly-once", _)) => Ok(Durability::ExactlyOnce),
        Some(("volatile", _)) => Ok(Durability::Volatile),
        Some((other, span)) => {
            let message = format!("durability {other:?}: write \"exactly-once\" or \"volatile\"");
            Err(source.error_at(&span, message))
        }
    }
}

fn triggers(
    source: &Source,
    table: &On,
    span: &Range<usize>,
    streams: &[Stream],
) -> Result<Triggers, FileError> {
    let mut mqtt = streams::filters(source, "on.mqtt", &table.mqtt)?;
    for filter in streams.iter().flat_map(|stream| &stream.mqtt) {
        if !mqtt.contains(filter) {
            mqtt.push(filter.clone());
        }
    }
    let all: Vec<&TopicFilter> = mqtt.iter().collect();
    if let Some((shared, other)) = twice_sent(&all) {
        return Err(source.error_at(span, sent_twice(shared, other)));
    }
    if table.retained && !mqtt.is_empty() && mqtt.iter().all(TopicFilter::is_shared) {
        let message = "on.retained: a broker sends no retained messages to shared subscriptions; leave it out";
        return Err(source.error_at(span, message));
    }
    if mqtt.is_empty() && table.schedule.is_empty() && !table.invoke {
        let message = "[on] names no trigger; write mqtt = [\"sensors/+/env\"] or schedule = [\"0 */5 * * * *\"]; \
                       invoke = true for a rule that only `tidemill invoke` runs";
        return Err(source.error_at(span, message));
    }
    if let Some(zone) = table.zone.as_ref().filter(|_| table.schedule.is_empty()) {
        let message = "on.zone: it is the zone of schedules, and there are none; that of windows of days and of texts with a \
                       time is zone under [streams.NAME]";
        return Err(source.error_at(&zone.span(), message));
    }
    let mut schedules = Vec::new();
    let zone = table.zone.as_ref().map(|zone| zone.get_ref().as_str());
    for text in &table.schedule {
        let schedule = Schedule::new(text.get_ref(), zone)
            .map_err(|why| source.error_at(&text.span(), format!("on.schedule: {why}")))?;
        schedules.push(schedule);
    }
    Ok(Triggers {
        mqtt,
        retained: table.retained,
        schedules,
    })
}

fn function(source: &Source, function: &Spanned<Function>) -> Result<FunctionSource, FileError> {
    let beside = |file: &PathBuf| {
        source
            .path
            .parent()
            .map_or(file.clone(), |at| at.join(file))
    };
    match function.get_ref() {
        Function {
            sql: None,
            wasm: Some(file),
            stock: None,
        } => Ok(FunctionSource::Wasm(beside(file))),
        Function {
            sql: None,
            wasm: None,
            stock: Some(name),
        } => Ok(FunctionSource::Stock(name.clone())),
        _ => {
            let message = "[function] has exactly one of sql = \"SELECT …\", wasm = \"file.wasm\" and stock = \"threshold\"";
            Err(source.error_at(&function.span(), message))
        }
    }
}

fn inputs(
    source: &Source,
    inputs: &BTreeMap<String, Spanned<String>>,
) -> Result<BTreeMap<String, Placed<String>>, FileError> {
    let mut checked = BTreeMap::new();
    for (name, pointer) in inputs {
        check_pointer(pointer.get_ref())
            .map_err(|why| source.error_at(&pointer.span(), format!("inputs.{name}: {why}")))?;
        let value = pointer.get_ref().clone();
        checked.insert(
            name.clone(),
            Placed {
                value,
                span: pointer.span(),
            },
        );
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::limits::FunctionLimits;

    const HOT: &str = r#"name = "hot"
[on]
mqtt = ["sensors/+/env"]
key = "{topic.1}"
[function]
stock = "threshold"
[ports.out]
to = "cloud"
topic = "alerts/{key}"
"#;

    fn parse_text(text: &str) -> Result<Rule, FileErrors> {
        let source = Source {
            path: "hot.toml".into(),
            text: text.to_owned(),
        };
        let gateway = Gateway {
            id: "gw",
            destinations: Some(&["cloud", "local"]),
            limits: &FunctionLimits::default(),
        };
        parse(source, &gateway)
    }

    #[track_caller]
    fn refused(change: (&str, &str), expected: &str) {
        assert!(HOT.contains(change.0), "{change:?}");
        let error = parse_text(&HOT.replace(change.0, change.1))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_small_manifest_is_enough() {
        let rule = parse_text(HOT).unwrap();
        assert_eq!((&*rule.name, rule.version), ("hot", 1));
        assert_eq!(rule.durability, Durability::ExactlyOnce);
        assert_eq!(rule.function, FunctionSource::Stock("threshold".to_owned()));
        assert_eq!(rule.ports["out"].value.qos, 1);
        let volatile = parse_text(&format!("durability = \"volatile\"\n{HOT}")).unwrap();
        assert_eq!(volatile.ports["out"].value.qos, 0);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        refused(("\"hot\"", "\"Hot\""), "hot.toml:1:8: name \"Hot\"");
        refused(("mqtt", "mqt"), "hot.toml:3:1: unknown key `mqt`");
        refused(
            ("+/env", "e+/env"),
            "hot.toml:3:9: on.mqtt \"sensors/e+/env\": the wildcard +",
        );
        refused(("sensors/+/env", "$SYS/#"), "out of a rule's reach");
        refused(("mqtt = [\"sensors/+/env\"]", ""), "names no trigger");
        refused(
            ("{topic.1}", "{device}"),
            "hot.toml:4:7: on.key: {device} is not known",
        );
        refused(
            ("stock = \"threshold\"", "stock = \"a\"\nwasm = \"b\""),
            "exactly one of",
        );
        refused(
            ("stock = \"threshold\"", "sql = \"SELECT 1\""),
            "hot.toml:6:16: expected FROM, but the statement ends here",
        );
        refused(
            ("\"cloud\"", "\"clud\""),
            "hot.toml:8:6: ports.out.to: the gateway has no destination \"clud\", it has cloud, local; did you mean \"cloud\"?",
        );
        refused(
            ("alerts/{key}", "alerts/{device}"),
            "hot.toml:9:9: ports.out.topic: {device}",
        );
        refused(("alerts/{key}", "tidemill/v1/x"), "out of a rule's reach");
        refused(
            ("topic =", "priority = \"urgent\"\ntopic ="),
            "write \"high\" or \"normal\"",
        );
        refused(("topic =", "qos = 2\ntopic ="), "ports.out.qos is 0 or 1");
        refused(
            ("[function]", "[limits]\nfuel = 2_000_000\n[function]"),
            "which is 1000000",
        );
        refused(
            ("[function]", "[window]\ntumbling = \"1ms\"\n[function]"),
            "10ms to 366 days",
        );
        refused(
            ("[function]", "[inputs]\nvalue = \"x\"\n[function]"),
            "write \"/x\"",
        );
        refused(
            ("[function]", "[params]\nlimit = [1]\n[function]"),
            "params.limit: a parameter is",
        );
        let streams = |table: &str| format!("[streams.input]\n{table}\n[function]");
        for (table, expected) in [
            (
                "timestamp = \"ts\"",
                "hot.toml:6:13: streams.input.timestamp:",
            ),
            (
                "lateness = \"1s\"",
                "streams.input.lateness: needs the time of the events",
            ),
            (
                "timestamp = \"/ts\"\nidle = \"0s\"",
                "streams.input.idle: it lasts from 10ms",
            ),
            ("time = 1", "unknown key `time`"),
            (
                "fields = { a = \"flaot\" }",
                "streams.input.fields.a: \"flaot\" is no type, there are bigint, float, string, boolean, \
                 datetime, bytea, array, struct; did you mean \"float\"?",
            ),
            (
                "timestamp = \"/ts\"\n[streams.other]\nmqtt = [\"b\"]",
                "streams.input: write its filters",
            ),
        ] {
            refused(("[function]", &streams(table)), expected);
        }
        refused(
            ("mqtt", "schedule = [\"* * * * *\"]\nmqtt"),
            "hot.toml:3:13: on.schedule",
        );
    }

    #[test]
    fn the_list_of_keys_is_that_of_the_parser() {
        assert_eq!(
            shape::unlike_parser::<File>(keys::FILE),
            Vec::<String>::new()
        );
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let text = "name = \"Hot rule\"\nversion = \"2\"\n[on]\nmqtt = \"sensors/+/env\"\nkeey = \"x\"\n\
                    zone = 5\n[function]\nstock = \"threshold\"\ndurability = \"volatile\"\n[window]\n\
                    tumbling = 60\n[limits]\nstate_bytes = \"64MB\"\nfuel = 1.5\n[ports.out]\nto = \"cluod\"\n\
                    retain = \"yes\"\n";
        let errors = parse_text(text).unwrap_err().to_string();
        let expected = [
            "hot.toml:1:8: name \"Hot rule\": 1 to 64 of the characters a-z, 0-9 and -; write name = \"hot-rule\"",
            ":2:11: version: it is a whole number from 0 on, without quotes; write version = 2",
            ":4:8: on.mqtt: it is a list of texts; write mqtt = [\"sensors/+/env\"]",
            ":5:1: unknown key `keey`; did you mean `key`?",
            ":6:8: on.zone: it is a text, in quotes; write zone = \"5\"",
            ":9:1: unknown key `durability`; it belongs at the top of the file, before the first [table]",
            ":11:12: window.tumbling: it is a duration, a text with a unit; write tumbling = \"60s\"",
            ":13:15: limits.state_bytes: a rule may only lower the gateway's limit, which is 1048576",
            ":14:8: limits.fuel: it is a whole number",
            ":15:1: missing key `topic`; write topic = \"alerts/{key}\" under [ports.out]",
            ":16:6: ports.out.to: the gateway has no destination \"cluod\", it has cloud, local; did you mean",
            ":17:10: ports.out.retain: it is true or false, without quotes; write retain = true",
        ];
        for expected in expected {
            assert!(errors.contains(expected), "no {expected} in\n{errors}");
        }
    }

    #[test]
    fn streams_are_numbered_as_they_stand_and_bring_their_filters() {
        let (on, rest) = HOT.split_once("[function]").unwrap();
        let on = on.replace("mqtt = [\"sensors/+/env\"]\n", "");
        let streams = "[streams.right]\nmqtt = [\"b/+\"]\ntimestamp = \"/ts\"\nlateness = \"1s\"\n\
                       [streams.left]\nmqtt = [\"a/+\", \"b/+\"]\nfields = { x = \"bigint\" }\n";
        let rule = parse_text(&format!("{on}{streams}[function]{rest}")).unwrap();
        let names: Vec<_> = rule.streams.iter().map(|stream| &*stream.name).collect();
        assert_eq!(names, ["right", "left"]);
        assert_eq!(rule.streams[0].lateness_ms, 1_000);
        assert_eq!(
            rule.streams[1].fields["x"],
            tidemill_values::FieldType::Bigint
        );
        let filters: Vec<_> = rule.triggers.mqtt.iter().map(ToString::to_string).collect();
        assert_eq!(filters, ["b/+", "a/+"]);
    }

    #[test]
    fn a_rule_that_would_feed_itself_is_refused() {
        let looped = HOT.replace("\"cloud\"", "\"local\"");
        assert!(parse_text(&looped).is_ok());
        let error = parse_text(&looped.replace("alerts/{key}", "sensors/{key}/env")).unwrap_err();
        assert!(error.to_string().contains("would feed itself"), "{error}");
        assert!(parse_text(&HOT.replace("alerts/{key}", "sensors/{key}/env")).is_ok());
    }
}
