//! Selectors of `ev_bytes` and `ev_i64`, and the bits of the flags. The source of the answers is
//! the host's matter.

/// Selectors of `ev_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum EvBytes {
    /// The payload as it came.
    Payload = 0,
    /// The topic that it came on.
    Topic = 1,
    /// The key that the rule keeps state under.
    Key = 2,
    /// The user properties, as a JSON object of strings.
    Properties = 3,
}

impl EvBytes {
    /// The selector of an argument, if there is one.
    #[must_use]
    pub const fn from_value(value: i32) -> Option<EvBytes> {
        Some(match value {
            0 => EvBytes::Payload,
            1 => EvBytes::Topic,
            2 => EvBytes::Key,
            3 => EvBytes::Properties,
            _ => return None,
        })
    }
}

/// Selectors of `ev_i64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum EvI64 {
    /// Time of the event, in ms since 1970: the rule's timestamp, else the arrival.
    EventMs = 0,
    /// When it came in, in ms since 1970; in `on_timer` and `on_window` when they fell due.
    ArrivalMs = 1,
    /// The number that the event has among all that came in.
    InSeq = 2,
    /// Bits of [`flag`].
    Flags = 3,
    /// The payload's length in bytes.
    PayloadLen = 4,
    /// When the pane begins, in ms since 1970.
    PaneStart = 5,
    /// When the pane ends, in ms since 1970.
    PaneEnd = 6,
    /// Number of earlier firings of this pane.
    Revision = 7,
    /// Number of events folded into this pane so far; 0 for the first one. For a window that keeps
    /// rows: its number of rows.
    Folded = 8,
    /// A bit for each stream of the rule that the event belongs to, the first one the lowest.
    Streams = 9,
}

impl EvI64 {
    /// The selector of an argument, if there is one.
    #[must_use]
    pub const fn from_value(value: i32) -> Option<EvI64> {
        Some(match value {
            0 => EvI64::EventMs,
            1 => EvI64::ArrivalMs,
            2 => EvI64::InSeq,
            3 => EvI64::Flags,
            4 => EvI64::PayloadLen,
            5 => EvI64::PaneStart,
            6 => EvI64::PaneEnd,
            7 => EvI64::Revision,
            8 => EvI64::Folded,
            9 => EvI64::Streams,
            _ => return None,
        })
    }
}

/// Requests of `win` for the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Win {
    /// The event begins the window, if the window is one of kind `state`.
    Begin = 1,
    /// The event ends the window of kind `state`, or triggers the sliding one.
    Fire = 2,
    /// The event ends the window of kind `state` without being part of it, and begins the next one.
    Next = 3,
}

impl Win {
    /// The selector of an argument, if there is one.
    #[must_use]
    pub const fn from_value(value: i32) -> Option<Win> {
        Some(match value {
            1 => Win::Begin,
            2 => Win::Fire,
            3 => Win::Next,
            _ => return None,
        })
    }
}

/// The bits of [`EvI64::Flags`].
pub mod flag {
    /// The event came after its window had fired.
    pub const LATE: i64 = 1;
    /// The event's timestamp was not credible; the arrival time stands in for it.
    pub const BAD_TIME: i64 = 2;
    /// The gateway's clock was not set by a time server when it came.
    pub const UNSYNCED_CLOCK: i64 = 4;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_survive_the_way_across() {
        for value in -2..12 {
            let bytes = EvBytes::from_value(value).map(|what| what as i32);
            assert_eq!(bytes, (0..=3).contains(&value).then_some(value));
            let number = EvI64::from_value(value).map(|what| what as i32);
            assert_eq!(number, (0..=9).contains(&value).then_some(value));
            let win = Win::from_value(value).map(|what| what as i32);
            assert_eq!(win, (1..=3).contains(&value).then_some(value));
        }
    }
}
