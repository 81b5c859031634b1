//! What is kept of a rule and of its keys.

use super::codec::{FORMAT, Reader, RecordError, put_bytes, put_slots, put_u32};
use crate::state::{Due, KeyState, Pane};

/// Writes the state of one (rule, key).
pub fn encode_state(state: &KeyState) -> Vec<u8> {
    let mut out = vec![FORMAT];
    put_slots(&mut out, &state.slots);
    put_u32(&mut out, state.entries.len());
    for (key, value) in &state.entries {
        put_bytes(&mut out, key);
        put_bytes(&mut out, value);
    }
    put_u32(&mut out, state.timers.len());
    for (id, due) in &state.timers {
        out.extend(id.to_le_bytes());
        out.extend(due.mono_ms.to_le_bytes());
    }
    match &state.pane {
        None => out.push(0),
        Some(pane) => {
            out.push(1);
            out.extend(pane.start_ms.to_le_bytes());
            out.extend(pane.end_ms.to_le_bytes());
            out.extend(pane.folded.to_le_bytes());
            put_slots(&mut out, &pane.slots);
        }
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
    if reader.u8()? == 1 {
        state.pane = Some(Pane {
            start_ms: reader.i64()?,
            end_ms: reader.i64()?,
            folded: reader.u64()?,
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
    /// When the open pane closes, in monotonic time.
    pub pane_due_mono_ms: Option<u64>,
    /// The slot that each schedule ran last, by its expression, wall time in milliseconds.
    pub slots: Vec<(String, i64)>,
}

impl RuleRecord {
    /// Writes the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.extend(self.schema.to_le_bytes());
        out.extend(self.pane_due_mono_ms.unwrap_or(u64::MAX).to_le_bytes());
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
            ..Self::default()
        };
        record.pane_due_mono_ms = Some(reader.u64()?).filter(|due| *due != u64::MAX);
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
            pane: Some(Pane {
                start_ms: 1,
                end_ms: 2,
                folded: 3,
                slots: vec![],
            }),
        }
    }

    #[test]
    fn bytes_on_disk_are_stable() {
        #[rustfmt::skip]
        let expected: &[u8] = &[
            1,                                        // format
            1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, // one slot: 1.0
            1, 0, 0, 0,                               // one entry
            1, 0, 0, 0, b'k', 2, 0, 0, 0, b'v', b'w', // its key, its value
            1, 0, 0, 0,                               // one timer
            3, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0,       // its id, when it falls due
            1,                                        // an open pane
            1, 0, 0, 0, 0, 0, 0, 0,                   // its start
            2, 0, 0, 0, 0, 0, 0, 0,                   // its end
            3, 0, 0, 0, 0, 0, 0, 0,                   // events folded
            0, 0, 0, 0,                               // no slots
        ];
        assert_eq!(encode_state(&state()), expected);
        let rule = RuleRecord {
            schema: 2,
            pane_due_mono_ms: None,
            slots: vec![("@daily".into(), 5)],
        };
        #[rustfmt::skip]
        let expected: &[u8] = &[
            1,                                              // format
            2, 0, 0, 0,                                     // schema
            255, 255, 255, 255, 255, 255, 255, 255,         // no open pane
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
            decode_state(&[2]),
            Err(RecordError::Format { found: 2, known: 1 })
        );
        let rule = RuleRecord {
            schema: 1,
            pane_due_mono_ms: Some(9),
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
