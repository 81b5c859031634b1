//! Questions about the event at hand. Values inside of the payload are better taken as parameters: the host decodes those once for all rules.

use crate::ffi;
use crate::port::fitting;
use tidemill_abi::{Code, EvBytes, EvI64, flag};

/// When it happened, in ms since 1970: the rule's timestamp, else the arrival.
#[must_use]
pub fn time_ms() -> i64 {
    ffi::ev_i64(EvI64::EventMs as i32)
}

/// When it came in, or when the timer or window fell due, in ms since 1970.
#[must_use]
pub fn arrival_ms() -> i64 {
    ffi::ev_i64(EvI64::ArrivalMs as i32)
}

/// The number that the event has among all that came in.
#[must_use]
pub fn sequence() -> i64 {
    ffi::ev_i64(EvI64::InSeq as i32)
}

/// Returns `true` if the event came after its window had fired.
#[must_use]
pub fn is_late() -> bool {
    flags() & flag::LATE != 0
}

/// Returns `true` if the event's timestamp was not credible.
#[must_use]
pub fn has_bad_time() -> bool {
    flags() & flag::BAD_TIME != 0
}

/// Returns `true` if the gateway's clock was not synced when the event came.
#[must_use]
pub fn has_unsynced_clock() -> bool {
    flags() & flag::UNSYNCED_CLOCK != 0
}

fn flags() -> i64 {
    ffi::ev_i64(EvI64::Flags as i32)
}

/// When the pane begins, in ms since 1970.
#[must_use]
pub fn pane_start_ms() -> i64 {
    ffi::ev_i64(EvI64::PaneStart as i32)
}

/// When the pane ends, in ms since 1970.
#[must_use]
pub fn pane_end_ms() -> i64 {
    ffi::ev_i64(EvI64::PaneEnd as i32)
}

/// The number of times that this pane has fired before.
#[must_use]
pub fn revision() -> i64 {
    ffi::ev_i64(EvI64::Revision as i32)
}

/// The number of events folded into this pane so far.
#[must_use]
pub fn folded() -> i64 {
    ffi::ev_i64(EvI64::Folded as i32)
}

/// The payload's length in bytes.
#[must_use]
pub fn payload_len() -> i64 {
    ffi::ev_i64(EvI64::PayloadLen as i32)
}

/// Copies the payload into `buf`; `TooBig` when that is too small.
pub fn payload(buf: &mut [u8]) -> Result<&[u8], Code> {
    whole(EvBytes::Payload, buf)
}

/// Copies the topic into `buf`; `TooBig` when that is too small.
pub fn topic(buf: &mut [u8]) -> Result<&[u8], Code> {
    whole(EvBytes::Topic, buf)
}

/// Copies the key into `buf`; `TooBig` when that is too small.
pub fn key(buf: &mut [u8]) -> Result<&[u8], Code> {
    whole(EvBytes::Key, buf)
}

/// Copies the user properties, as a JSON object, into `buf`; `TooBig` when that is too small.
pub fn properties(buf: &mut [u8]) -> Result<&[u8], Code> {
    whole(EvBytes::Properties, buf)
}

fn whole(what: EvBytes, buf: &mut [u8]) -> Result<&[u8], Code> {
    let len = ffi::ev_bytes(what as i32, 0, buf);
    fitting(buf, len)
}

/// Copies as much of the payload from `offset` on as fits into `buf`, for payloads that are worked through in pieces; returns that much.
pub fn payload_from(offset: usize, buf: &mut [u8]) -> Result<&[u8], Code> {
    let len = ffi::ev_bytes(EvBytes::Payload as i32, offset, buf);
    let rest = usize::try_from(len).map_or(len, |len| {
        let rest = len.saturating_sub(offset).min(buf.len());
        i32::try_from(rest).unwrap_or(i32::MAX)
    });
    fitting(buf, rest)
}
