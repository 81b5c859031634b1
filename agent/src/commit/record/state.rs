//! Records of a rule and of its keys.

use super::codec::{FORMAT, Reader, RecordError, put_bytes, put_slots, put_u32};
use super::naming;
use crate::event::clock::signed;
use crate::event::state::layout::Naming;
use crate::event::state::{Closing, Due, KeyState, OpenPane, Pane};

/// Version of the record of a rule.
const RULE_FORMAT: u8 = 3;
/// The same for a rule of which a pane closes, or that is behind: builds before read no other. It is
/// written only while that is so.
const BEHIND_FORMAT: u8 = 4;
/// The same for a rule whose timers have names, or that says more of its function than its module does.
const FUNCTION_FORMAT: u8 = 5;
/// The one before, which knew no names.
const RULE_FORMAT_BEFORE: u8 = 2;

/// Writes the state of one (rule, key).
pub fn encode_state(state: &KeyState) -> Vec<u8> {
    let mut out = vec![FORMAT];
    put_slots(&mut out, &state.slots);
    put_u32(&mut out, state.entries.len());
    for (key, value) in state.entries.iter() {
        put_bytes(&mut out, key);
        put_bytes(&mut out, value);
    }
    put_u32(&mut out, state.timers.len());
    for (id, due) in &state.timers {
        out.extend(id.to_le_bytes());
        out.extend(due.mono_ms.to_le_bytes());
    }
    put_u32(&mut out, state.panes.len());
    for pane in &state.panes {
        out.extend(pane.start_ms.to_le_bytes());
        out.extend(pane.end_ms.to_le_bytes());
        out.extend(pane.from.to_le_bytes());
        out.push(u8::from(pane.due.is_some()));
        out.extend(pane.due.unwrap_or(0).to_le_bytes());
        out.extend(pane.folded.to_le_bytes());
        out.extend(pane.fired.to_le_bytes());
        put_slots(&mut out, &pane.slots);
    }
    out
}

/// Reads what [`encode_state`] wrote.
///
/// # Errors
/// When the record is of another format or damaged.
pub fn decode_state(bytes: &[u8]) -> Result<KeyState, RecordError> {
    let mut reader = Reader::of_format(bytes, FORMAT)?;
    let slots = reader.slots()?;
    let mut state = KeyState {
        slots,
        ..KeyState::default()
    };
    for _ in 0..reader.u32()? {
        let key = reader.bytes()?.into();
        state.entries.insert(key, reader.bytes()?.into());
    }
    for _ in 0..reader.u32()? {
        let id = reader.u32()?;
        state.timers.insert(
            id,
            Due {
                mono_ms: reader.u64()?,
            },
        );
    }
    for _ in 0..reader.u32()? {
        let (start_ms, end_ms, from) = (reader.i64()?, reader.i64()?, reader.i64()?);
        let (is_due, due) = (reader.bool()?, reader.i64()?);
        state.panes.push(Pane {
            start_ms,
            end_ms,
            from,
            due: is_due.then_some(due),
            folded: reader.u64()?,
            fired: reader.u32()?,
            slots: reader.slots()?,
        });
    }
    reader.end()?;
    Ok(state)
}

/// The bit of [`RuleRecord::window`] that says that event time drives it.
pub const EVENT_TIME: u8 = 0x80;

/// Record of a rule, without its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleRecord {
    /// The schema of its state.
    pub schema: i32,
    /// Kind of its window and the time it runs on; 0 for none. See [`crate::mill::window`].
    pub window: u8,
    /// Open panes, by the time of their end.
    pub panes: Vec<OpenPane>,
    /// The slot that each schedule ran last, by its expression, wall time in milliseconds.
    pub slots: Vec<(String, i64)>,
    /// The names by which its state is matched to a new version of the rule.
    pub naming: Naming,
    /// The pane that closes.
    pub closing: Option<Closing>,
    /// `true` if events wait among its state because it is behind.
    pub is_behind: bool,
}

/// Bits of the byte that says what is written of a rule that is behind.
const CLOSING: u8 = 1;
const CLOSING_AFTER: u8 = 2;
const EVENTS_WAIT: u8 = 4;

/// The name among the schedules under which a record tells when its rule went away: no expression is it, so
/// that versions before read it as one that the rule has no more.
const GONE: &str = "\0gone";

impl RuleRecord {
    /// When the rule went away, by the age clock; `None` while it runs, and in records of versions before.
    pub fn gone_ms(&self) -> Option<u64> {
        let gone = self.slots.iter().find(|(name, _)| name == GONE);
        gone.and_then(|(_, at)| u64::try_from(*at).ok())
    }

    /// Notes when the rule went away.
    pub fn set_gone_ms(&mut self, age_ms: u64) {
        self.slots.retain(|(name, _)| name != GONE);
        self.slots.push((GONE.to_owned(), signed(age_ms)));
    }

    /// Writes the record.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_change(false)
    }

    /// Like [`RuleRecord::encode`]; without the names if the record before has the same.
    pub fn encode_change(&self, same_naming: bool) -> Vec<u8> {
        let says_more = match &self.naming {
            Naming::Names(layout) => !same_naming && !layout.is_known_to_earlier(),
            Naming::Unknown | Naming::Schema => false,
        };
        let is_behind = self.is_behind || self.closing.is_some();
        let mut out = vec![if says_more {
            FUNCTION_FORMAT
        } else if is_behind {
            BEHIND_FORMAT
        } else {
            RULE_FORMAT
        }];
        out.extend(self.schema.to_le_bytes());
        out.push(self.window);
        put_u32(&mut out, self.panes.len());
        for pane in &self.panes {
            for time in [pane.start_ms, pane.end_ms, pane.from, pane.due] {
                out.extend(time.to_le_bytes());
            }
            out.push(u8::from(pane.fired));
        }
        put_u32(&mut out, self.slots.len());
        for (schedule, slot) in &self.slots {
            put_bytes(&mut out, schedule.as_bytes());
            out.extend(slot.to_le_bytes());
        }
        if is_behind || says_more {
            self.put_behind(&mut out);
        }
        naming::put_naming(&mut out, &self.naming, same_naming);
        out
    }

    fn put_behind(&self, out: &mut Vec<u8>) {
        let bit = |is: bool, bit: u8| if is { bit } else { 0 };
        let closing = self.closing.as_ref();
        let after = closing.and_then(|closing| closing.after.as_ref());
        out.push(
            bit(closing.is_some(), CLOSING)
                | bit(after.is_some(), CLOSING_AFTER)
                | bit(self.is_behind, EVENTS_WAIT),
        );
        if let Some(closing) = closing {
            let pane = &closing.pane;
            for time in [pane.start_ms, pane.end_ms, pane.from, pane.due] {
                out.extend(time.to_le_bytes());
            }
            out.extend(closing.start_ms.to_le_bytes());
            out.extend(closing.end_ms.to_le_bytes());
        }
        if let Some(key) = after {
            put_bytes(out, key.as_bytes());
        }
    }

    fn read_behind(&mut self, reader: &mut Reader<'_>) -> Result<(), RecordError> {
        let bits = reader.u8()?;
        if bits & !(CLOSING | CLOSING_AFTER | EVENTS_WAIT) != 0 {
            return Err(RecordError::Damaged);
        }
        self.is_behind = bits & EVENTS_WAIT != 0;
        if bits & CLOSING == 0 {
            return Ok(());
        }
        let pane = OpenPane {
            start_ms: reader.i64()?,
            end_ms: reader.i64()?,
            from: reader.i64()?,
            due: reader.i64()?,
            fired: false,
        };
        let (start_ms, end_ms) = (reader.i64()?, reader.i64()?);
        let after = if bits & CLOSING_AFTER == 0 {
            None
        } else {
            Some(reader.text()?.into())
        };
        self.closing = Some(Closing {
            pane,
            start_ms,
            end_ms,
            after,
        });
        Ok(())
    }

    /// Reads what [`RuleRecord::encode`] wrote.
    ///
    /// # Errors
    /// When the record is of another format or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        match Self::decode_change(bytes)? {
            (record, false) => Ok(record),
            (_, true) => Err(RecordError::Damaged),
        }
    }

    /// Reads what [`RuleRecord::encode_change`] wrote; and whether the names are those of the record
    /// before.
    ///
    /// # Errors
    /// When the record is of another format or damaged.
    pub fn decode_change(bytes: &[u8]) -> Result<(Self, bool), RecordError> {
        let known = [
            RULE_FORMAT_BEFORE,
            RULE_FORMAT,
            BEHIND_FORMAT,
            FUNCTION_FORMAT,
        ];
        let (mut reader, format) = Reader::of_formats(bytes, known)?;
        let mut record = Self {
            schema: reader.i32()?,
            window: reader.u8()?,
            ..Self::default()
        };
        for _ in 0..reader.u32()? {
            record.panes.push(OpenPane {
                start_ms: reader.i64()?,
                end_ms: reader.i64()?,
                from: reader.i64()?,
                due: reader.i64()?,
                fired: reader.bool()?,
            });
        }
        for _ in 0..reader.u32()? {
            let schedule = reader.text()?;
            record.slots.push((schedule, reader.i64()?));
        }
        if format >= BEHIND_FORMAT {
            record.read_behind(&mut reader)?;
        }
        let naming = match format {
            RULE_FORMAT_BEFORE => Some(Naming::Unknown),
            _ => naming::naming(&mut reader)?,
        };
        reader.end()?;
        let same_naming = naming.is_none();
        record.naming = naming.unwrap_or_default();
        Ok((record, same_naming))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::state::layout::{FunctionUse, Layout, Names};

    fn state() -> KeyState {
        KeyState {
            slots: vec![1.0],
            entries: [((*b"k").into(), (*b"vw").into())].into(),
            timers: [(3, Due { mono_ms: 0x0102 })].into(),
            panes: vec![Pane {
                start_ms: 1,
                end_ms: 2,
                from: -1,
                due: Some(4),
                folded: 3,
                fired: 5,
                slots: vec![],
            }],
        }
    }

    fn layout() -> Layout {
        let names = |names: &[&str]| names.iter().map(|name| Some((*name).into())).collect();
        Layout {
            names: Arc::new(Names {
                whole: true,
                slots: vec![None, Some("sum(a)".into())],
                steps: names(&["lag(n)"]),
                hits: names(&["hits"]),
                entries: vec![("l/".into(), "last".into())],
                notes: names(&["lag(n)"]),
                streams: names(&["input"]),
                window: Some("".into()),
                folds: vec!["sum(a)".into()],
                timers: Vec::new(),
            }),
            key: "all".into(),
            window: "tumbling 1".into(),
            kept: Vec::new(),
            pane_slots: 2,
            function: None,
        }
    }

    #[test]
    fn bytes_of_names_are_stable() {
        let record = RuleRecord {
            naming: Naming::Names(layout().into()),
            ..RuleRecord::default()
        };
        let bytes = record.encode();
        #[rustfmt::skip]
        let expected: &[u8] = &[
            1,                                              // names follow
            3, b'a', b'l', b'l',                            // the key
            10, b't', b'u', b'm', b'b', b'l', b'i', b'n', b'g', b' ', b'1', // the window
            2, 1,                                           // slots of a pane; all is named
            2, 0, 1, 6, b's', b'u', b'm', b'(', b'a', b')', // slots
            1, 1, 6, b'l', b'a', b'g', b'(', b'n', b')',    // functions that remember
            1, 1, 4, b'h', b'i', b't', b's',                // conditions
            1, 1, 6, b'l', b'a', b'g', b'(', b'n', b')',    // notes
            1, 1, 5, b'i', b'n', b'p', b'u', b't',          // streams
            1, 2, b'l', b'/', 4, b'l', b'a', b's', b't',    // entries
            1, 0,                                           // the window's name
            1, 6, b's', b'u', b'm', b'(', b'a', b')',       // what is worked out of it
        ];
        // Format, schema, kind of window and two counts stand in front.
        assert_eq!(&bytes[14..], expected);
    }

    #[test]
    fn bytes_of_the_use_of_a_function_are_stable() {
        let names = Names {
            timers: vec![None, Some("hold".into())],
            ..Names::default()
        };
        let record = RuleRecord {
            naming: Naming::Names(Arc::new(Layout {
                names: names.into(),
                key: "k".into(),
                function: Some(FunctionUse {
                    stock: "debounce of /t".into(),
                    params: vec![("hold".into(), "1s".into())],
                }),
                ..Layout::default()
            })),
            ..RuleRecord::default()
        };
        let bytes = record.encode();
        assert_eq!(bytes[0], 5, "the build before refuses it by its format");
        #[rustfmt::skip]
        let expected: &[u8] = &[
            0,                                              // nothing closes, and no event waits
            5,                                              // names, timers and the function's use follow
            1, b'k', 0, 0, 0,                               // the key; no window, no slots of it; not all is named
            0, 0, 0, 0, 0, 0,                               // no slots to entries
            0, 0,                                           // the window has no name, and nothing is worked out
            0,                                              // all is kept of a row
            2, 0, 1, 4, b'h', b'o', b'l', b'd',             // timers
            1,                                              // the use of the function
            14, b'd', b'e', b'b', b'o', b'u', b'n', b'c', b'e', b' ', b'o', b'f', b' ', b'/', b't',
            1, 4, b'h', b'o', b'l', b'd', 2, b'1', b's',    // its parameters
        ];
        assert_eq!(&bytes[14..], expected);
        assert_eq!(RuleRecord::decode(&bytes), Ok(record.clone()));
        // A change that keeps the names is as it was.
        assert_eq!(record.encode_change(true)[0], 3);
        for len in 1..bytes.len() {
            assert_eq!(
                RuleRecord::decode(&bytes[..len]),
                Err(RecordError::Damaged),
                "{len}"
            );
        }
    }

    #[test]
    fn bytes_on_disk_are_stable() {
        #[rustfmt::skip]
        let expected: &[u8] = &[
            2,                                        // format
            1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, // one slot: 1.0
            1, 0, 0, 0,                               // one entry
            1, 0, 0, 0, b'k', 2, 0, 0, 0, b'v', b'w', // its key, its value
            1, 0, 0, 0,                               // one timer
            3, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0,       // its id, when it falls due
            1, 0, 0, 0,                               // one pane
            1, 0, 0, 0, 0, 0, 0, 0,                   // its start
            2, 0, 0, 0, 0, 0, 0, 0,                   // its end
            255, 255, 255, 255, 255, 255, 255, 255,   // from when on it collects: -1
            1, 4, 0, 0, 0, 0, 0, 0, 0,                // when it fires
            3, 0, 0, 0, 0, 0, 0, 0,                   // events folded
            5, 0, 0, 0,                               // how often it fired
            0, 0, 0, 0,                               // no slots
        ];
        assert_eq!(encode_state(&state()), expected);
        let rule = RuleRecord {
            schema: 2,
            window: 2,
            panes: vec![OpenPane {
                start_ms: 1,
                end_ms: 2,
                from: 3,
                due: 4,
                fired: true,
            }],
            slots: vec![("@daily".into(), 5)],
            naming: Naming::Schema,
            ..RuleRecord::default()
        };
        #[rustfmt::skip]
        let expected: &[u8] = &[
            3,                                              // format
            2, 0, 0, 0,                                     // schema
            2,                                              // kind of window
            1, 0, 0, 0,                                     // one open pane
            1, 0, 0, 0, 0, 0, 0, 0,                         // its start
            2, 0, 0, 0, 0, 0, 0, 0,                         // its end
            3, 0, 0, 0, 0, 0, 0, 0,                         // from when on it collects
            4, 0, 0, 0, 0, 0, 0, 0,                         // when it fires
            1,                                              // it fired
            1, 0, 0, 0,                                     // one schedule
            6, 0, 0, 0, b'@', b'd', b'a', b'i', b'l', b'y', // its expression
            5, 0, 0, 0, 0, 0, 0, 0,                         // its last slot
            0,                                              // no names
        ];
        assert_eq!(rule.encode(), expected);
        // The build before wrote the same without the last byte.
        let mut before = [&[2], &expected[1..]].concat();
        before.pop();
        let read = RuleRecord::decode(&before).unwrap();
        assert_eq!(read.naming, Naming::Unknown);
        assert_eq!((read.schema, read.panes), (2, rule.panes));
    }

    #[test]
    fn a_rule_that_is_behind_says_so_and_one_that_is_not_is_written_as_before() {
        let pane = OpenPane {
            start_ms: 1,
            end_ms: 2,
            from: 3,
            due: 4,
            fired: false,
        };
        let mut rule = RuleRecord {
            schema: 2,
            window: 1,
            naming: Naming::Schema,
            closing: Some(Closing {
                pane,
                start_ms: 5,
                end_ms: 6,
                after: Some("k".into()),
            }),
            is_behind: true,
            ..RuleRecord::default()
        };
        #[rustfmt::skip]
        let expected: &[u8] = &[
            4,                      // format: builds before read 3 at most
            2, 0, 0, 0,             // schema
            1,                      // kind of window
            0, 0, 0, 0,             // no open pane
            0, 0, 0, 0,             // no schedule
            7,                      // a pane closes, it has fired for a key, events wait
            1, 0, 0, 0, 0, 0, 0, 0, // the pane's start
            2, 0, 0, 0, 0, 0, 0, 0, // its end
            3, 0, 0, 0, 0, 0, 0, 0, // from when on it collected
            4, 0, 0, 0, 0, 0, 0, 0, // when it fired
            5, 0, 0, 0, 0, 0, 0, 0, // its start as its keys are told
            6, 0, 0, 0, 0, 0, 0, 0, // its end as its keys are told
            1, 0, 0, 0, b'k',       // the last key for which it has fired
            0,                      // no names
        ];
        assert_eq!(rule.encode(), expected);
        assert_eq!(RuleRecord::decode(expected), Ok(rule.clone()));
        for len in 1..expected.len() {
            let cut = RuleRecord::decode(&expected[..len]);
            assert_eq!(cut, Err(RecordError::Damaged), "{len}");
        }
        if let Some(closing) = &mut rule.closing {
            closing.after = None;
        }
        assert_eq!(RuleRecord::decode(&rule.encode()), Ok(rule.clone()));
        rule.closing = None;
        assert_eq!(rule.encode()[14..], [4, 0]);
        assert_eq!(RuleRecord::decode(&rule.encode()), Ok(rule.clone()));
        rule.is_behind = false;
        assert_eq!(rule.encode()[0], 3);
        assert_eq!(rule.encode().len(), 15);
    }

    #[test]
    fn a_record_tells_when_its_rule_went_away_as_a_slot_of_no_schedule() {
        let mut record = RuleRecord::default();
        assert_eq!(record.gone_ms(), None);
        for age_ms in [7, 9] {
            record.set_gone_ms(age_ms);
        }
        assert_eq!(record.slots, [("\0gone".to_owned(), 9)]);
        let read = RuleRecord::decode(&record.encode()).unwrap();
        assert_eq!(read.gone_ms(), Some(9));
    }

    #[test]
    fn what_was_written_is_read_and_what_was_cut_is_refused() {
        let bytes = encode_state(&state());
        assert_eq!(decode_state(&bytes), Ok(state()));
        for len in 1..bytes.len() {
            assert_eq!(
                decode_state(&bytes[..len]),
                Err(RecordError::Damaged),
                "{len}"
            );
        }
        assert_eq!(
            decode_state(&[3]),
            Err(RecordError::Format { found: 3, known: 2 })
        );
        let rule = RuleRecord {
            schema: 1,
            window: 1,
            panes: vec![],
            slots: vec![("x".into(), 1)],
            naming: Naming::Names(layout().into()),
            ..RuleRecord::default()
        };
        assert_eq!(RuleRecord::decode(&rule.encode()), Ok(rule.clone()));
        // In a commit that changes no names they are left out.
        let change = rule.encode_change(true);
        let read = RuleRecord::decode_change(&change).unwrap();
        assert_eq!((read.0.panes, read.1), (rule.panes, true));
        assert_eq!(RuleRecord::decode(&change), Err(RecordError::Damaged));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            for format in [FORMAT, RULE_FORMAT, BEHIND_FORMAT] {
                let with_format = [&[format], &bytes[..]].concat();
                let _ = (decode_state(&with_format), RuleRecord::decode(&with_format));
                // Schema, window, no pane and no schedule, then names.
                for tag in [1, 4, 5] {
                    let names = [&[format], &[0; 13][..], &[tag], &bytes].concat();
                    let _ = RuleRecord::decode_change(&names);
                }
            }
        }
    }
}
