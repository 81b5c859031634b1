//! The names of a rule's state: those that its function gives, with the key and the window of the rule.

use std::sync::Arc;

use crate::commit::record::EVENT_TIME;
use crate::event::state::layout::{Layout, Naming};
use crate::function::Module;
use crate::mill::window::Window;
use crate::rule::{KeySpec, Rule};

/// Resolves how the rule's state is found again: by the names that its function gives, if it gives
/// any.
pub(super) fn resolve(
    rule: &Rule,
    module: &Module,
    key: &KeySpec,
    window: Option<&Window>,
) -> Naming {
    let Some(names) = &module.manifest.names else {
        return Naming::Schema;
    };
    let mut names = Arc::clone(names);
    let is_all = match &*rule.streams {
        [] => true,
        [only] => only.mqtt.is_empty(),
        _ => false,
    };
    if is_all && names.whole && !names.streams.is_empty() {
        // The statement reads what triggers the rule, whatever it calls that.
        Arc::make_mut(&mut names).streams.clear();
    }
    Naming::Names(Arc::new(Layout {
        names,
        key: key.identity().into(),
        window: window.map_or_else(String::new, Window::identity).into(),
        kept: kept(module, window),
        pane_slots: window.map_or(0, |window| window.slots),
    }))
}

/// Places of the payload that rows of the window have.
fn kept(module: &Module, window: Option<&Window>) -> Vec<Box<str>> {
    let sql = module.manifest.sql.as_ref();
    let sql = sql.filter(|_| window.is_some_and(|window| window.rows));
    let places = sql.map_or(&[][..], |sql| &sql.keeps.places);
    places.iter().map(|place| place.as_str().into()).collect()
}

/// The byte in which a record tells the window of a rule and its kind of time.
pub(in crate::mill) fn window_code(window: Option<&Window>, by_event_time: bool) -> u8 {
    let time = if by_event_time { EVENT_TIME } else { 0 };
    window.map_or(0, Window::code) | time
}
