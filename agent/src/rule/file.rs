//! The shape of a rule's manifest on disk, and its way to a checked [`Rule`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use toml::Spanned;

use super::tables::{File, Function, On, params};
use super::{
    Durability, FunctionSource, Gateway, KeySpec, Placed, Port, Rule, Stream, Triggers,
    WindowTable, check_pointer, feeds_itself, keys, limits, port, sent_twice, streams, window,
};
use crate::rule::schedule::Schedule;
use tidemill_base::text::{Errors, FileError, FileErrors, Source, shape};
use tidemill_transport::topic::{TopicFilter, twice_sent};

/// Checks a manifest, and says everything that is wrong with it.
pub(super) fn parse(source: Source, gateway: &Gateway<'_>) -> Result<Rule, FileErrors> {
    let whole = source.clone();
    match survey(source, gateway) {
        (_, Some(errors)) => Err(errors),
        (Some(rule), None) => Ok(rule),
        (None, None) => Err(whole.error("cannot be understood").into()),
    }
}

/// Checks a manifest; of one that is wrong, too, as much as can be told.
pub(super) fn survey(source: Source, gateway: &Gateway<'_>) -> (Option<Rule>, Option<FileErrors>) {
    let errors = Errors::default();
    let read = shape::read(&source, &errors);
    if read.get_ref().is_empty() && errors.is_empty() {
        let message = "says nothing; write name = \"my-rule\", [on], [function] and [ports.out], or let \
                       `tidemill rule new` write it";
        return (None, Some(source.error(message).into()));
    }
    let rule = shape::shaped(&source, read, keys::FILE, &errors)
        .and_then(|file| checked(&source, &file, gateway, &errors));
    let errors = errors.into_list();
    let is_whole = errors.is_none();
    let rule = rule.map(|rule| Rule {
        is_whole,
        knows_topics: is_whole || rule.knows_topics,
        ..rule
    });
    (rule, errors)
}

fn checked(source: &Source, file: &File, gateway: &Gateway<'_>, errors: &Errors) -> Option<Rule> {
    let name = file.name.get_ref();
    errors.take(check_name(source, &file.name));
    let durability = errors.take(durability(source, file.durability.as_ref()));
    let durability = durability.unwrap_or(Durability::ExactlyOnce);
    let before_triggers = errors.count();
    let nothing = On::default();
    let on = file.on.as_ref().map_or(&nothing, Spanned::get_ref);
    let key = match &on.key {
        Some(key) => errors.take(
            KeySpec::parse(key.get_ref())
                .map_err(|why| source.error_at(&key.span(), format!("on.key: {why}"))),
        ),
        None => None,
    };
    let filters = streams::filters(source, "on.mqtt", &on.mqtt, errors);
    let streams = streams::check(source, &file.streams, !on.mqtt.is_empty(), errors);
    let knows_triggers = errors.count() == before_triggers;
    let params = params(source, &file.params, errors);
    let function = errors.take(function_of(source, file));
    let is_sql = function.is_some_and(|function| function.get_ref().is_sql());
    let function_source = function.and_then(|function| match &function.get_ref().sql {
        Some(sql) if is_sql => errors.take(super::sql::statement(
            source,
            file,
            sql,
            (&streams, &filters),
        )),
        _ => errors
            .take(self::function(source, function).map(|function| (function, streams.clone()))),
    });
    let triggers = {
        let streams = function_source.as_ref().map(|(_, streams)| &**streams);
        // Streams that are not known may have had the filters.
        let has_own = !on.mqtt.is_empty() || !on.schedule.is_empty() || on.invoke;
        let on_span = file.on.as_ref().map_or(0..0, Spanned::span);
        let has_triggers = streams.is_some() || has_own;
        has_triggers.then(|| {
            triggers(
                source,
                (on, &on_span),
                filters,
                streams.unwrap_or_default(),
                errors,
            )
        })
    };
    let place = port::Place {
        source,
        rule: name,
        durability,
        is_sql,
        gateway,
    };
    let ports = ports(&place, file, triggers.as_ref(), key.as_ref(), errors);
    let inputs = inputs(source, &file.inputs, errors);
    let window = match &file.window {
        Some(table) => window::check(source, table, errors),
        None => WindowTable::default(),
    };
    let limits = limits::check(source, &file.limits, gateway.limits, errors);
    let (function_source, streams) = function_source?;
    Some(Rule {
        name: name.as_str().into(),
        version: file.version,
        durability,
        triggers: triggers?,
        key: key.clone(),
        key_span: on.key.as_ref().map(Spanned::span),
        function: function_source,
        function_span: function?.span(),
        inputs,
        params: if is_sql { BTreeMap::new() } else { params },
        window,
        ports,
        streams,
        limits,
        description: file.description.clone(),
        is_whole: false,
        knows_topics: knows_triggers && key.is_some(),
        source: Arc::new(source.clone()),
    })
}

/// The ports; one that is wrong has something in place of what is.
fn ports(
    place: &port::Place<'_>,
    file: &File,
    triggers: Option<&Triggers>,
    key: Option<&KeySpec>,
    errors: &Errors,
) -> BTreeMap<String, Placed<Port>> {
    let unknown_key = KeySpec::Pointer(String::new());
    let mut ports = BTreeMap::new();
    for (port_name, table) in &file.ports {
        let before = errors.count();
        let value = port::check(place, port_name, table, errors);
        let triggers = triggers.filter(|_| errors.count() == before);
        // A key that nothing is said about is looked at once the function is known.
        let fed_by = triggers.and_then(|it| it.fed_by(&value, key.unwrap_or(&unknown_key)));
        if let Some(filter) = fed_by {
            let message = format!("ports.{port_name}.topic: {}", feeds_itself(filter));
            let span = table.get_ref().topic.span();
            errors.push(place.source.error_at(&span, message));
        }
        let span = table.span();
        ports.insert(port_name.clone(), Placed { value, span });
    }
    ports
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
    (table, span): (&On, &Range<usize>),
    mut mqtt: Vec<TopicFilter>,
    streams: &[Stream],
    errors: &Errors,
) -> Triggers {
    for filter in streams.iter().flat_map(|stream| &stream.mqtt) {
        if !mqtt.contains(filter) {
            mqtt.push(filter.clone());
        }
    }
    let all: Vec<&TopicFilter> = mqtt.iter().collect();
    if let Some((shared, other)) = twice_sent(&all) {
        errors.push(source.error_at(span, sent_twice(shared, other)));
    }
    if table.retained && !mqtt.is_empty() && mqtt.iter().all(TopicFilter::is_shared) {
        let message = "on.retained: a broker sends no retained messages to shared subscriptions; leave it out";
        errors.push(source.error_at(span, message));
    }
    // Those that are wrong are triggers, too.
    let has_trigger = !mqtt.is_empty() || !table.mqtt.is_empty() || !table.schedule.is_empty();
    if !has_trigger && !table.invoke {
        let message = "[on] names no trigger; write mqtt = [\"sensors/+/env\"] or schedule = [\"0 */5 * * * *\"]; \
                       invoke = true for a rule that only `tidemill invoke` runs";
        errors.push(source.error_at(span, message));
    }
    if let Some(zone) = table.zone.as_ref().filter(|_| table.schedule.is_empty()) {
        let message = "on.zone: it is the zone of schedules, and there are none; that of windows of days and of texts with a \
                       time is zone under [streams.NAME]";
        errors.push(source.error_at(&zone.span(), message));
    }
    let zone = table.zone.as_ref().map(|zone| zone.get_ref().as_str());
    let schedules = table.schedule.iter().filter_map(|text| {
        let schedule = Schedule::new(text.get_ref(), zone);
        errors.take(
            schedule.map_err(|why| source.error_at(&text.span(), format!("on.schedule: {why}"))),
        )
    });
    Triggers {
        schedules: schedules.collect(),
        mqtt,
        retained: table.retained,
    }
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
    errors: &Errors,
) -> BTreeMap<String, Placed<String>> {
    let each = inputs.iter().map(|(name, pointer)| {
        let (span, value) = (pointer.span(), pointer.get_ref().clone());
        let checked = check_pointer(&value);
        errors.take(checked.map_err(|why| source.error_at(&span, format!("inputs.{name}: {why}"))));
        (name.clone(), Placed { value, span })
    });
    each.collect()
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
    fn mistakes_that_stand_behind_each_other_are_said_at_once() {
        let text = "name = \"hot\"\n[on]\nmqtt = [\"a/#/b\", \"c+\", \"ok\"]\nschedule = [\"x\", \"y\"]\n\
                    key = \"{device}\"\n[function]\nstock = \"threshold\"\n[inputs]\nvalue = \"x\"\nother = \"y\"\n\
                    [params]\nlimit = []\nrepeat = {}\n[window]\ntumbling = \"1ms\"\nhop = \"x\"\ncount = 0\n\
                    [streams.input]\ntimestamp = \"ts\"\nlateness = \"9\"\nzone = \"Nowhere\"\npayload = \"yaml\"\n\
                    fields = { a = \"x\", b = \"y\" }\n[ports.out]\nto = \"clud\"\ntopic = \"a/{no}\"\n\
                    priority = \"urgent\"\nqos = 3\nnulls = true\n";
        let errors = parse_text(text).unwrap_err();
        let lines = errors
            .iter()
            .filter_map(|error| error.place.map(|(line, _)| line));
        let lines: Vec<usize> = lines.collect();
        let expected = [
            3, 3, 4, 4, 5, 9, 10, 12, 13, 15, 16, 17, 19, 20, 21, 22, 23, 23, 25, 26, 27, 28, 29,
        ];
        assert_eq!(lines, expected, "{errors}");
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
