//! Completion of Sparkplug B messages from the births that a rule heard of nodes and devices. It is
//! part of reading a message, not of the call that follows: a call that fails takes no birth back.

use bytes::Bytes;

use crate::event::Event;
use crate::event::payload::PayloadError;
use crate::event::payload::sparkplug::{Kind, Place, ResolveError, births, resolve};
use crate::event::state::births::{self, Table};
use crate::event::state::time::RULE_KEY;
use crate::event::state::{Entries, KeyState};
use crate::function::frame::Frame;

use super::call::CALL_BYTES;
use super::fault::TOO_COSTLY;
use super::{Active, Step};

impl Active {
    /// The payload of a message with names in place of aliases. What a birth tells is kept first, unless
    /// the message is worked on once more: by then another birth may have come.
    pub(super) fn complete(
        &mut self,
        message: &Event,
        frame: &Frame,
        step: &mut Step<'_>,
    ) -> Result<Bytes, String> {
        let Some((place, kind)) = Place::of_topic(message.topic.as_str()) else {
            return Ok(message.payload.clone());
        };
        if kind == Kind::Birth && !frame.again {
            self.hear_birth(&place, message, frame.in_seq, step)?;
        }
        let own = self.keys.find(RULE_KEY);
        let own = own.and_then(|at| self.keys.state_at(at));
        let nothing = Entries::default();
        let entries = own.map_or(&nothing, |state| &state.entries);
        let table = Table::new(entries, place.as_str());
        resolve(&message.payload, &table).map_err(|error| match error {
            ResolveError::Flaw(flaw) => PayloadError::NotSparkplug(flaw).to_string(),
            ResolveError::UnknownAlias(alias) => unknown_alias(alias, &place, table.is_born()),
            ResolveError::TooLong => {
                "payload is too long with the names of its metrics: send it in several messages"
                    .to_owned()
            }
        })
    }

    /// Keeps the metrics that a node or device announces, and forgets those that it announced
    /// before.
    fn hear_birth(
        &mut self,
        place: &Place,
        message: &Event,
        in_seq: u64,
        step: &mut Step<'_>,
    ) -> Result<(), String> {
        let told = births(&message.payload);
        let told = told.map_err(|flaw| PayloadError::NotSparkplug(flaw).to_string())?;
        let told = births::told(place.as_str(), in_seq, &told);
        let mut state = self.lend_own();
        let mut done = Ok(());
        let gone = births::names_of(&state.entries, place);
        for name in gone.iter().filter(|name| !told.contains_key(*name)) {
            self.remove_own(&mut state, name);
        }
        let room = self.state_bytes_max / 2;
        let wanted: usize = told
            .iter()
            .map(|(name, value)| crate::event::state::entry_bytes(name, value))
            .sum();
        let cost = wanted + CALL_BYTES;
        if wanted > room {
            done = Err(format!(
                "the metrics of {} take {wanted} bytes, and half of limits.state_bytes is {room}: \
                 raise it and ask for another birth",
                place.as_str()
            ));
        } else if !step.budget.take(cost) {
            done = Err(TOO_COSTLY.to_owned());
        }
        if done.is_ok() {
            for entry in told {
                self.put_own(&mut state, entry);
            }
            self.make_room(&mut state, place.as_str(), room);
        } else {
            // Names that may stand for other metrics by now are worse than none.
            for name in births::names_of(&state.entries, place) {
                self.remove_own(&mut state, &name);
            }
        }
        self.take_own_back(state);
        done
    }

    /// Forgets the places that were born longest ago while all together take too much.
    fn make_room(&mut self, state: &mut KeyState, but: &str, room: usize) {
        while births::bytes(&state.entries) > room {
            let Some(oldest) = births::oldest(&state.entries, but) else {
                return;
            };
            for name in oldest {
                self.remove_own(state, &name);
            }
            self.ledger.keys_evicted += 1;
        }
    }
}

fn unknown_alias(alias: u64, place: &Place, is_born: bool) -> String {
    let (birth, command) = if place.is_device() {
        ("DBIRTH", "Device Control/Rebirth or Node Control/Rebirth")
    } else {
        ("NBIRTH", "Node Control/Rebirth")
    };
    let place = place.as_str();
    let why = if is_born {
        format!("the {birth} of {place} did not tell of it")
    } else {
        format!("no {birth} of {place} was heard; the rule has to subscribe to them")
    };
    format!("alias {alias} of {place} is not known: {why}. Ask for a birth by {command}")
}
