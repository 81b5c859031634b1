//! Topics of ports that nothing that the rule sends can ever have.

use crate::function::Module;
use crate::mill::window::Window;
use crate::rule::manifest::ConfigValue;
use crate::rule::{FunctionSource, KeySpec, Placed, Port, Rule, Sent, feeds_itself};
use tidemill_base::text::{Errors, FileError};
use tidemill_transport::topic::{Topic, TopicFilter};

use super::LATE;

/// Refuses a topic that nothing that the rule sends can ever have.
pub(super) fn check(
    rule: &Rule,
    window: Option<&Window>,
    key: &KeySpec,
    name: &str,
    port: &Placed<Port>,
) -> Result<(), FileError> {
    let topic = &port.value.topic;
    let refuse = |why: &str| {
        let message = format!("ports.{name}.topic: {why}");
        Err(rule.source.error_at(&port.value.topic_span, message))
    };
    if let (KeySpec::Constant(constant), true) = (key, topic.has_key()) {
        let sent = Sent {
            key: constant,
            key_of_topic: true,
            topic: &Topic::none(),
            at: &|_| None,
        };
        let is_all = topic.levels_needed().is_none() && topic.pointers().next().is_none();
        if let (true, Err(why)) = (is_all, topic.render(&sent)) {
            return refuse(&why);
        }
    }
    if let Some(filter) = rule.triggers.fed_by(&port.value, key) {
        return refuse(&feeds_itself(filter));
    }
    let Some(needed) = topic.levels_needed() else {
        return Ok(());
    };
    if window.is_some() && name != LATE {
        return refuse(
            "a window is of many events, and has no {topic}; write {key}, with key = \"{topic.1}\" under [on], \
             or {payload:/column} of what is sent",
        );
    }
    let filters = &rule.triggers.mqtt;
    if filters.is_empty() {
        return refuse("a schedule brings no {topic}");
    }
    let has_levels =
        |filter: &TopicFilter| filter.as_str().ends_with('#') || filter.levels().count() >= needed;
    if filters.iter().any(has_levels) {
        return Ok(());
    }
    refuse(&format!(
        "no topic that triggers the rule has a level {} (they are counted from 0)",
        needed - 1
    ))
}

/// Refuses topics of a stock function that waits: no event causes its emissions when a wait is
/// over. Functions of others may send through such a port from their handler of events alone.
pub(super) fn check_timers(rule: &Rule, module: &Module, config: &[ConfigValue], errors: &Errors) {
    let is_stock = matches!(rule.function, FunctionSource::Stock(_));
    let entries = module.manifest.config.iter().zip(config);
    let mut spans = entries.filter(|(entry, _)| entry.duration_name().is_some());
    let waits = spans.any(|(_, value)| matches!(value, ConfigValue::F64(ms) if *ms > 0.0));
    if !is_stock || !module.handlers.timer || !waits {
        return;
    }
    for (name, port) in &rule.ports {
        if name != LATE && port.value.topic.levels_needed().is_some() {
            let message = format!(
                "ports.{name}.topic: no event causes what is sent when a wait is over, so there is no {{topic}}; write \
                 {{key}}, with key = \"{{topic.1+}}\" under [on] for all levels but the first"
            );
            errors.push(rule.source.error_at(&port.value.topic_span, message));
        }
    }
}
