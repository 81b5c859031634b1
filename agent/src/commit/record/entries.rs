//! Entries of a state database: keys and values, each value shorter than 64 KiB except the
//! subscriptions. A longer state is cut into pieces, which the state database cuts again to the
//! sizes its storage prefers.

use super::agent::{AgentRecord, EventIdsRecord};
use super::codec::{FORMAT, Reader, RecordError, put_text};
use super::commit::{ledger, put_ledger};
use super::lane::LaneRecord;
use super::receipt::{Receipt, decode_receipts, encode_receipts};
use super::section::{self, SectionKind};
use super::state::{RuleRecord, decode_state, encode_state};
use crate::event::emission::LaneId;
use crate::event::ledger::Ledger;
use crate::event::state::{Key, KeyState};

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

const AGENT: u8 = b'a';
const SUBSCRIPTIONS: u8 = b'b';
const RECEIPTS: u8 = b'c';
const EVENT_IDS: u8 = b'e';
const LANE: u8 = b'l';
const RULE: u8 = b'r';
const SECTION: u8 = b'x';
const STATE: u8 = b's';
const STATE_PIECE: u8 = b't';

/// Longest piece of a state.
const PIECE_BYTES_MAX: usize = 60_000;

/// Receipts of one entry, and event ids of one entry.
pub const RECEIPTS_EACH: usize = 1_600;
/// Event ids of one entry.
pub const EVENT_IDS_EACH: usize = 300;

/// An entry, read.
#[derive(Debug)]
pub enum Saved {
    /// The agent's own record.
    Agent(AgentRecord),
    /// Contents of the broker's session.
    Subscriptions(String),
    /// Some of the receipts, in order.
    Receipts(Vec<Receipt>),
    /// Some of the event ids, in order.
    EventIds(EventIdsRecord),
    /// A lane.
    Lane(LaneId, LaneRecord),
    /// A rule: name, record, counts.
    Rule(String, RuleRecord, Ledger),
    /// The first piece of a key's state, and how many there are: rule, key.
    State(String, Key, u16, Vec<u8>),
    /// A further piece: rule, key, number.
    Piece(String, Key, u16, Vec<u8>),
    /// An entry of a section that this version knows: kind, the rest of its key, value.
    Section(SectionKind, Vec<u8>, Vec<u8>),
    /// An entry of a section of a newer version, which may be skipped.
    Skipped,
}

/// The agent's own record.
pub fn agent(record: &AgentRecord) -> Entry {
    (vec![AGENT], record.encode())
}

/// Contents of the broker's session.
pub fn subscriptions(text: &str) -> Entry {
    (vec![SUBSCRIPTIONS], text.as_bytes().to_vec())
}

/// Receipts, cut into entries.
pub fn receipts(receipts: &[Receipt]) -> Vec<Entry> {
    let pieces = (0..).zip(receipts.chunks(RECEIPTS_EACH));
    pieces
        .map(|(n, piece)| (receipts_key(n), encode_receipts(piece)))
        .collect()
}

/// Entry key of the receipts with this number.
pub fn receipts_key(number: u32) -> Vec<u8> {
    numbered(RECEIPTS, number)
}

/// Event ids, cut into entries.
pub fn event_ids(records: &[EventIdsRecord]) -> Vec<Entry> {
    let pieces = (0..).zip(records);
    pieces
        .map(|(n, record)| (event_ids_key(n), record.encode()))
        .collect()
}

/// Entry key of the event ids with this number.
pub fn event_ids_key(number: u32) -> Vec<u8> {
    numbered(EVENT_IDS, number)
}

fn numbered(kind: u8, number: u32) -> Vec<u8> {
    [&[kind][..], &number.to_be_bytes()].concat()
}

/// A lane.
pub fn lane(id: &LaneId, record: &LaneRecord) -> Entry {
    let key = [&[LANE][..], id.to_string().as_bytes()].concat();
    (key, record.encode())
}

/// A rule.
pub fn rule(name: &str, record: &RuleRecord, counts: &Ledger) -> Entry {
    let mut value = vec![FORMAT];
    put_text(&mut value, &record.encode());
    put_ledger(&mut value, counts);
    (rule_key(name), value)
}

/// Entry key of a rule.
pub fn rule_key(name: &str) -> Vec<u8> {
    [&[RULE][..], name.as_bytes()].concat()
}

/// A key's state, in as many pieces as it takes.
pub fn state(rule: &str, key: &str, state: &KeyState) -> Vec<Entry> {
    let bytes = encode_state(state);
    let count = u16::try_from(bytes.len().div_ceil(PIECE_BYTES_MAX)).unwrap_or(u16::MAX);
    let pieces = (0..).zip(bytes.chunks(PIECE_BYTES_MAX));
    pieces
        .map(|(number, piece)| match number {
            0 => (
                state_key(rule, key, 0),
                [&count.to_le_bytes()[..], piece].concat(),
            ),
            _ => (state_key(rule, key, number), piece.to_vec()),
        })
        .collect()
}

/// Entry key of a piece of a key's state.
pub fn state_key(rule: &str, key: &str, piece: u16) -> Vec<u8> {
    match piece {
        0 => [&[STATE][..], rule.as_bytes(), &[0], key.as_bytes()].concat(),
        _ => [
            &[STATE_PIECE][..],
            rule.as_bytes(),
            &[0],
            key.as_bytes(),
            &piece.to_be_bytes(),
        ]
        .concat(),
    }
}

/// Puts a state together again.
///
/// # Errors
/// When it is of another format or damaged.
pub fn whole_state(pieces: &[u8]) -> Result<KeyState, RecordError> {
    decode_state(pieces)
}

/// Reads an entry.
///
/// # Errors
/// When it is of another format or damaged.
pub fn read(key: &[u8], value: &[u8]) -> Result<Saved, RecordError> {
    let (kind, rest) = key.split_first().ok_or(RecordError::Damaged)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| RecordError::Damaged);
    let rule_and_key = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).map_err(|_| RecordError::Damaged)?;
        let (rule, key) = text.split_once('\0').ok_or(RecordError::Damaged)?;
        Ok::<_, RecordError>((rule.to_owned(), Key::from(key)))
    };
    Ok(match *kind {
        AGENT => Saved::Agent(AgentRecord::decode(value)?),
        SUBSCRIPTIONS => Saved::Subscriptions(text(value)?),
        RECEIPTS => Saved::Receipts(decode_receipts(value)?),
        EVENT_IDS => Saved::EventIds(EventIdsRecord::decode(value)?),
        LANE => {
            let id = text(rest)?.parse().map_err(|_| RecordError::Damaged)?;
            Saved::Lane(id, LaneRecord::decode(value)?)
        }
        RULE => {
            let mut reader = Reader::of_format(value, FORMAT)?;
            let record = RuleRecord::decode(reader.short_bytes()?)?;
            let counts = ledger(&mut reader)?;
            reader.end()?;
            Saved::Rule(text(rest)?, record, counts)
        }
        STATE => {
            let (rule, key) = rule_and_key(rest)?;
            let (count, piece) = value.split_first_chunk().ok_or(RecordError::Damaged)?;
            Saved::State(rule, key, u16::from_le_bytes(*count), piece.to_vec())
        }
        STATE_PIECE => {
            let (place, number) = rest.split_last_chunk().ok_or(RecordError::Damaged)?;
            let (rule, key) = rule_and_key(place)?;
            Saved::Piece(rule, key, u16::from_be_bytes(*number), value.to_vec())
        }
        SECTION => match section::of_entry(rest)? {
            Some((kind, rest)) => Saved::Section(kind, rest.to_vec(), value.to_vec()),
            None => Saved::Skipped,
        },
        _ => return Err(RecordError::Damaged),
    })
}
