//! The rows of a message: none, one, or several parts of it; and the values read so far.

use std::sync::Arc;

use bytes::Bytes;
use tidemill_values::Value;

use super::{Payload, PayloadError};

/// The rows of a message.
#[derive(Debug, PartialEq)]
pub enum Rows {
    /// There is none.
    None,
    /// The message itself is one.
    One,
    /// Several, or one that is a part of the message.
    Many(Split),
}

/// A message with rows in it.
#[derive(Debug, PartialEq)]
pub struct Split {
    /// Bytes put in front of each row, to make a message of it.
    head: Bytes,
    rows: Vec<Row>,
}

/// A part of a message that is a row.
#[derive(Debug, PartialEq)]
struct Row {
    bytes: Bytes,
    /// The row's value, if it had to be read to find the row's end.
    value: Option<Value>,
}

impl Split {
    /// Rows behind the same head, if there are some.
    pub(super) fn rows(head: Bytes, rows: Vec<Bytes>) -> Rows {
        let rows = rows.into_iter();
        let rows = rows.map(|bytes| Row { bytes, value: None });
        Self::of(head, rows.collect())
    }

    /// Rows that were read already, if there are some.
    pub(super) fn read(rows: Vec<(Bytes, Value)>) -> Rows {
        let rows = rows.into_iter().map(|(bytes, value)| Row {
            bytes,
            value: Some(value),
        });
        Self::of(Bytes::new(), rows.collect())
    }

    /// Number of rows.
    pub(super) fn count(&self) -> usize {
        self.rows.len()
    }

    fn of(head: Bytes, rows: Vec<Row>) -> Rows {
        if rows.is_empty() {
            Rows::None
        } else {
            Rows::Many(Self { head, rows })
        }
    }

    /// Each row as a message of the same format with nothing else in it, so that it can wait, and
    /// be processed again by itself if it fails; with its value, if that is known.
    pub fn messages(&self) -> impl Iterator<Item = (Bytes, Option<&Value>)> {
        self.rows.iter().map(|row| {
            if self.head.is_empty() {
                return (row.bytes.clone(), row.value.as_ref());
            }
            let mut message = Vec::with_capacity(self.head.len() + row.bytes.len());
            message.extend_from_slice(&self.head);
            message.extend_from_slice(&row.bytes);
            (message.into(), row.value.as_ref())
        })
    }

    /// Bytes of all rows as messages: a long head and many short rows may come to more than a machine of 32
    /// bits has.
    pub(super) fn bytes(&self) -> u64 {
        let head = self.head.len() as u64;
        let rows = self.rows.iter().map(|row| head + row.bytes.len() as u64);
        rows.sum()
    }
}

/// Content of a message in its format.
#[derive(Debug, Clone)]
pub enum Content {
    /// No row.
    None,
    /// A row, or the reason why it cannot be read.
    One(Result<Value, PayloadError>),
    /// Rows that are parts of it.
    Many(Arc<Split>),
}

/// A message as read under one decoding, for the next reader with the same decoding.
#[derive(Debug)]
pub struct ReadMessage {
    how: Arc<Payload>,
    /// Held, so that no other message has its place in memory meanwhile.
    message: Bytes,
    content: Result<Content, PayloadError>,
}

impl ReadMessage {
    /// Reads a message.
    pub fn new(how: &Arc<Payload>, message: &Bytes) -> Self {
        Self {
            how: Arc::clone(how),
            message: message.clone(),
            content: how.content(message),
        }
    }

    /// `true` if this is the very same message, read in the same way.
    pub fn is_of(&self, how: &Payload, message: &Bytes) -> bool {
        let is_same = std::ptr::eq(self.message.as_ptr(), message.as_ptr());
        is_same && self.message.len() == message.len() && *self.how == *how
    }

    /// The content; an error if the end of a row cannot be found, or there are too many rows.
    pub fn content(&self) -> Result<Content, PayloadError> {
        self.content.clone()
    }
}
