//! The view of one call: all that a function can see and touch. The mill fills the frame, lends it
//! to the function, and reads the effects back; it travels as one box, so that lending costs a
//! pointer swap.

use std::cell::OnceCell;
use std::sync::Arc;

use bytes::Bytes;
use tidemill_abi::flag;

use crate::event::Event;
use crate::event::clock::Now;
use crate::event::payload::{Content, Payload, PayloadError, ReadMessage};
use crate::event::state::{Key, KeyState, Pane, RowName};
use crate::event::value::{Decoded, Value};
use crate::function::effects::Effects;

/// The world of one call.
#[derive(Debug)]
pub struct Frame {
    /// The event that caused the call, [`Event::none`] for timers and windows.
    pub event: Event,
    /// The key of the call.
    pub key: Key,
    /// Time of the call.
    pub now: Now,
    /// Event time in milliseconds since 1970; the arrival time if the rule has no other.
    pub event_ms: i64,
    /// Number of the event since the data directory was made; with the rule's name it seeds `rand`.
    pub in_seq: u64,
    /// Number of the call among those of this event; the rest of the seed.
    pub call: u32,
    /// Bits of `ev_i64(3)`: 1 late, 2 bad time, 4 unsynced clock.
    pub flags: u32,
    /// A bit for each stream of the rule that the event belongs to.
    pub streams: u32,
    /// The function's inputs, one for each of its manifest's; empty when no event caused the call.
    pub inputs: Vec<Value>,
    /// The event was a dead letter and is worked on once more.
    pub again: bool,
    /// Decoding of the payload, if it is not plain JSON.
    pub payload: Option<Arc<Payload>>,
    /// The decoded payload, read once for inputs and row.
    pub value: Option<tidemill_values::Value>,
    /// The message of which the event is a row or all, as the rule before read it.
    pub read: Option<ReadMessage>,
    /// The text of inputs that are bytes.
    pub decoded: Decoded,
    /// The state as it stood before the call.
    pub state: KeyState,
    /// The pane that the call is about, taken out of the state.
    pub pane: Option<Pane>,
    /// The rows of the window that fires, as entries of the state.
    pub rows: Vec<RowName>,
    /// Bytes that the rule's state may still grow by.
    pub state_bytes_free: usize,
    /// Bytes of other keys, which can be evicted when a function that remembers finds no room.
    pub evictable_bytes: usize,
    /// When the rule was deployed, in milliseconds since 1970.
    pub rule_start_ms: i64,
    /// Log lines that the rule may still write in this second.
    pub log_lines_free: u32,
    /// The effects requested by the call.
    pub effects: Effects,
    /// The payload by itself, once somebody keeps it: see [`Frame::kept_payload`].
    pub kept: OnceCell<Bytes>,
}

impl Frame {
    /// Bytes of the rows of the window that fires.
    pub fn row_bytes(&self) -> usize {
        let rows = self.rows.iter().filter_map(|name| self.state.row(*name));
        rows.map(<[u8]>::len).sum()
    }

    /// The next event.
    pub fn set_event(&mut self, event: Event) {
        self.event = event;
        self.kept = OnceCell::new();
    }

    /// The event's payload for somebody who keeps it: a copy, because the payload itself may be a small
    /// part of what was read from a socket at once, all of which it holds in memory. All who keep it
    /// share one copy, so that a commit has it once.
    pub fn kept_payload(&self) -> Bytes {
        let copy = || Bytes::copy_from_slice(&self.event.payload);
        self.kept.get_or_init(copy).clone()
    }

    /// Content of a message under one decoding: it is read once for all rules with the same
    /// decoding.
    ///
    /// # Errors
    /// When the end of a row cannot be found, or there are too many rows.
    pub fn read_as(
        &mut self,
        how: &Arc<Payload>,
        message: &Bytes,
    ) -> Result<Content, PayloadError> {
        let known = self.read.take();
        let known = known.filter(|read| read.is_of(how, message));
        let read = known.unwrap_or_else(|| ReadMessage::new(how, message));
        let content = read.content();
        self.read = Some(read);
        content
    }

    /// `true` if the event came after its window had fired.
    pub fn is_late(&self) -> bool {
        i64::from(self.flags) & flag::LATE != 0
    }
}

impl Default for Frame {
    fn default() -> Self {
        Self {
            event: Event::none(),
            key: "".into(),
            now: Now::default(),
            event_ms: 0,
            in_seq: 0,
            call: 0,
            flags: 0,
            streams: 0,
            inputs: Vec::new(),
            again: false,
            payload: None,
            value: None,
            read: None,
            decoded: Decoded::default(),
            state: KeyState::default(),
            pane: None,
            rows: Vec::new(),
            state_bytes_free: 0,
            evictable_bytes: 0,
            rule_start_ms: 0,
            log_lines_free: 0,
            effects: Effects::default(),
            kept: OnceCell::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::payload::{Format, List};

    #[test]
    fn what_is_kept_of_a_payload_keeps_nothing_of_its_buffer() {
        let buffer = Bytes::from(vec![b'x'; 1 << 14]);
        let mut frame = Frame::default();
        let mut event = Event::none();
        event.payload = buffer.slice(100..190);
        frame.set_event(event);
        let kept = [frame.kept_payload(), frame.kept_payload()];
        assert_eq!(kept[0], frame.event.payload);
        assert_eq!(kept[0].as_ptr(), kept[1].as_ptr(), "they share it");
        frame.set_event(Event::none());
        assert!(buffer.is_unique(), "nobody holds the buffer");
        assert!(frame.kept_payload().is_empty());
        assert_eq!(kept[0].len(), 90);
    }

    #[test]
    fn a_message_is_read_once_for_all_that_read_it_in_the_same_way() {
        let cbor = |list| {
            Arc::new(Payload {
                format: Format::Cbor,
                list,
                ..Payload::default()
            })
        };
        let (rows, again, whole) = (cbor(List::Rows), cbor(List::Rows), cbor(List::Value));
        // [{"a": 1}, {"a": 2}]
        let message = Bytes::from_static(b"\x82\xa1aa\x01\xa1aa\x02");
        let mut frame = Frame::default();
        let mut split = |how| match frame.read_as(how, &message) {
            Ok(Content::Many(split)) => split,
            other => panic!("rows: {other:?}"),
        };
        let first = split(&rows);
        assert!(Arc::ptr_eq(&first, &split(&again)));
        let values: Vec<_> = first.messages().map(|(_, value)| value.cloned()).collect();
        assert!(
            values.iter().all(Option::is_some),
            "read to find where they end"
        );
        // Another way, or another message, is read for itself.
        let mut frame = Frame::default();
        let mut one = |message: &Bytes| match frame.read_as(&whole, message) {
            Ok(Content::One(Ok(value))) => value,
            other => panic!("one row: {other:?}"),
        };
        let list = |value: &tidemill_values::Value| match value {
            tidemill_values::Value::List(list) => Arc::clone(list),
            other => panic!("{other:?}"),
        };
        let read = list(&one(&message));
        assert!(Arc::ptr_eq(&read, &list(&one(&message))));
        let other = Bytes::copy_from_slice(&message);
        assert!(!Arc::ptr_eq(&read, &list(&one(&other))));
        assert!(
            frame
                .read_as(&rows, &message)
                .is_ok_and(|content| matches!(content, Content::Many(_)))
        );
    }
}
