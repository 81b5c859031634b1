//! What is kept of a rule and of its keys.

use super::codec::{FORMAT, Reader, RecordError, put_bytes, put_slots, put_u32};
use crate::state::{Due, KeyState, OpenPane, Pane};

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

/// What is kept of a rule besides its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleRecord {
    /// The schema of its state.
    pub schema: i32,
    /// What kind of window it keeps, and by which time; 0 for none. See [`crate::window`].
    pub window: u8,
    /// Its open panes, those that end first first.
    pub panes: Vec<OpenPane>,
    /// The slot that each schedule ran last, by its expression, wall time in milliseconds.
    pub slots: Vec<(String, i64)>,
}

impl RuleRecord {
    /// Writes the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
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
        out
    }

    /// Reads what [`RuleRecord::encode`] wrote.
    ///
    /// # Errors
    /// When the record is of another format or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::of_format(bytes, FORMAT)?;
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
        reader.end()?;
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        };
        #[rustfmt::skip]
        let expected: &[u8] = &[
            2,                                              // format
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
        ];
        assert_eq!(rule.encode(), expected);
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
        };
        assert_eq!(RuleRecord::decode(&rule.encode()), Ok(rule));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let with_format = [&[FORMAT], &bytes[..]].concat();
            let _ = (decode_state(&with_format), RuleRecord::decode(&with_format));
        }
    }
}
