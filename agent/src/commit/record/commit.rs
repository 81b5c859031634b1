//! A commit: all changes of a batch, as one record of the journal. It holds effects only, so
//! reading it needs neither a function nor the event that caused them.

use std::sync::Arc;

use bytes::Bytes;

use super::agent::IntakeCounts;
use super::codec::{
    Reader, RecordError, put_age, put_len, put_offs, put_quality, put_signed, put_text, put_var,
};
use super::receipt::Receipt;
use super::section::{self, Section};
use super::state::{RuleRecord, decode_state, encode_state};
use crate::event::clock::{Age, Now, Off};
use crate::event::emission::{LaneId, Row};
use crate::event::ledger::Ledger;
use crate::event::state::{Key, KeyState};
use tidemill_transport::topic::Topic;

/// Version of the format below, of a commit without sections.
pub const COMMIT_FORMAT: u8 = 4;

/// Version of the same with sections behind it.
pub(super) const SECTIONS_FORMAT: u8 = 5;

/// The format of the build before, which is read too.
const FORMAT_BEFORE: u8 = 2;

/// Changes made by a batch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Commit {
    /// Events taken in so far.
    pub in_seq: u64,
    /// Time of the commit.
    pub now: Now,
    /// Age clock at that time.
    pub age: Age,
    /// All times without power, if they changed.
    pub offs: Option<Vec<Off>>,
    /// The boot that monotonic times belong to from here on, if it changed.
    pub boot: Option<Boot>,
    /// Counts the broker's sessions: receipts of an earlier one are void.
    pub generation: u64,
    /// Counts of messages by outcome before any rule saw them, since the last commit.
    pub counts: IntakeCounts,
    /// Messages that were applied, or whose receipts have another place.
    pub receipts: Vec<Receipt>,
    /// Receipts that are void, once those above are there.
    pub voided: Vec<Voided>,
    /// Ids of the events that have one, and producers that were forgotten.
    pub event_ids: Vec<EventIdChange>,
    /// Changed rules.
    pub rules: Vec<RuleDelta>,
    /// Changed lanes.
    pub lanes: Vec<LaneDelta>,
    /// Contents of the broker's session if they changed: `host:port client-id`, then `id filter` a
    /// line.
    pub subscriptions: Option<String>,
    /// Parts that only some commits need.
    pub sections: Vec<Section>,
}

/// A boot of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// Id of the boot.
    pub id: String,
    /// The moment in it for which deadlines of the boot before were placed anew.
    pub mono_ms: u64,
    /// Time without power in milliseconds, as far as it is known: deadlines are this much nearer.
    pub off_ms: u64,
}

/// A run of void receipts, from first to last in receipt order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voided {
    /// The event of the first one; 0: from the start.
    pub first: u64,
    /// The event of the last one. If that has no receipt, all receipts of events up to it are
    /// meant.
    pub last: u64,
}

/// The id that a sender gives its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventId {
    /// Any text, as its hash.
    Opaque(u128),
    /// `producer:n`, with numbers that rise.
    Numbered {
        /// The producer that counts.
        producer: Arc<str>,
        /// The number.
        n: u64,
    },
}

/// A change of the event ids remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventIdChange {
    /// An event of this name was applied.
    Applied(EventId),
    /// The same, by the build before: a producer's ids are numbers, whatever its sender says.
    AppliedBefore(EventId),
    /// This producer was forgotten.
    Forgotten(Arc<str>),
}

/// Changes of a rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleDelta {
    /// Name of the rule.
    pub name: String,
    /// Counts since the last commit.
    pub counts: Ledger,
    /// The rule's record without its keys, if it changed.
    pub record: Option<RuleRecord>,
    /// `true` if the names in `record` are those of the record before, and not written again.
    pub same_naming: bool,
    /// Changed keys.
    pub keys: Vec<(Key, KeyChange)>,
}

/// The name of an entry, and its value unless it is gone.
pub type EntryChange = (Box<[u8]>, Option<Box<[u8]>>);

/// Change of a key.
#[derive(Debug, Clone, PartialEq)]
pub enum KeyChange {
    /// The key was removed.
    Gone,
    /// The whole state.
    Whole(KeyState),
    /// The state without entries, and the entries that changed.
    Entries(KeyState, Vec<EntryChange>),
}

/// Changes of a lane.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LaneDelta {
    /// Rows made.
    pub rows: Vec<Row>,
    /// Rows of an earlier commit, written again so that its segment can be used anew.
    pub relocated: Vec<Row>,
    /// Rows that need not wait any more.
    pub settled: Vec<Settled>,
    /// The rows that go out as one request, `Some(None)` if there are none any more.
    pub batch: Option<Option<(u64, u64)>>,
    /// Rows that were not made because there was no room for them.
    pub dropped_new: u64,
    /// The lane.
    pub lane: Option<LaneId>,
}

/// Outcome of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// The receiver has them.
    Acknowledged,
    /// The receiver will never take them.
    Dead,
    /// There was no room for them.
    Dropped,
}

/// Rows that need not wait any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// Their outcome.
    pub how: Settlement,
}

impl Commit {
    /// Writes the record.
    pub fn encode(&self) -> Vec<u8> {
        let has_sections = !self.sections.is_empty();
        let mut out = vec![if has_sections {
            SECTIONS_FORMAT
        } else {
            COMMIT_FORMAT
        }];
        put_var(&mut out, self.in_seq);
        put_var(&mut out, self.now.mono_ms);
        put_signed(&mut out, self.now.wall_ms);
        put_quality(&mut out, self.now.quality);
        put_age(&mut out, &self.age, Some(self.now.wall_ms));
        out.push(u8::from(self.offs.is_some()));
        self.offs.iter().for_each(|offs| put_offs(&mut out, offs));
        put_option(&mut out, self.boot.as_ref().map(|boot| boot.id.as_str()));
        if let Some(boot) = &self.boot {
            put_var(&mut out, boot.mono_ms);
            put_var(&mut out, boot.off_ms);
        }
        put_var(&mut out, self.generation);
        self.counts.put(&mut out);
        put_len(&mut out, self.receipts.len());
        for receipt in &self.receipts {
            receipt.put(&mut out, self.in_seq.saturating_sub(receipt.in_seq));
        }
        put_len(&mut out, self.voided.len());
        for voided in &self.voided {
            put_var(&mut out, voided.first);
            put_var(&mut out, voided.last);
        }
        put_len(&mut out, self.event_ids.len());
        for change in &self.event_ids {
            put_event_id(&mut out, change);
        }
        put_len(&mut out, self.rules.len());
        for rule in &self.rules {
            put_rule(&mut out, rule);
        }
        self.put_lanes(&mut out);
        put_option(&mut out, self.subscriptions.as_deref());
        if has_sections {
            section::put(&mut out, &self.sections);
        }
        out
    }

    fn put_lanes(&self, out: &mut Vec<u8>) {
        put_len(out, self.lanes.len());
        let mut rows = RowWriter::new(self.now.wall_ms, self.age.ms);
        for delta in &self.lanes {
            let lane = delta.lane.as_ref().map(ToString::to_string);
            put_text(out, lane.unwrap_or_default().as_bytes());
            put_len(out, delta.rows.len());
            for row in &delta.rows {
                rows.put(out, row);
            }
            put_len(out, delta.relocated.len());
            for row in &delta.relocated {
                rows.put(out, row);
            }
            put_len(out, delta.settled.len());
            for settled in &delta.settled {
                put_var(out, settled.first);
                put_var(out, settled.last.saturating_sub(settled.first));
                out.push(settled.how as u8);
            }
            let (first, last) = match delta.batch {
                None => (0, 0),
                Some(None) => (0, 1),
                Some(Some(batch)) => batch,
            };
            put_var(out, first);
            put_var(out, last);
            put_var(out, delta.dropped_new);
        }
    }

    /// Reads what [`Commit::encode`] wrote.
    ///
    /// # Errors
    /// When the record is of another format or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let formats = [FORMAT_BEFORE, COMMIT_FORMAT, SECTIONS_FORMAT];
        let (mut reader, format) = Reader::of_formats(bytes, formats)?;
        let is_old = format == FORMAT_BEFORE;
        let r = &mut reader;
        let in_seq = r.var()?;
        let now = Now {
            mono_ms: r.var()?,
            wall_ms: r.signed()?,
            quality: r.quality()?,
        };
        let (mut age, mut offs) = (Age::default(), None);
        if !is_old {
            age = r.age(Some(now.wall_ms))?;
            offs = r.bool()?.then(|| r.offs()).transpose()?;
        }
        let mut commit = Self {
            in_seq,
            now,
            age,
            offs,
            boot: boot(r)?,
            generation: r.var()?,
            ..Self::default()
        };
        if is_old {
            let (first, last) = (0, r.var()?);
            commit.voided.push(Voided { first, last });
        }
        commit.counts = IntakeCounts::read(r, is_old)?;
        for _ in 0..r.count()? {
            let receipt = Receipt::read(r, is_old, |n| in_seq.saturating_sub(n))?;
            commit.receipts.push(receipt);
        }
        if !is_old {
            for _ in 0..r.count()? {
                let (first, last) = (r.var()?, r.var()?);
                commit.voided.push(Voided { first, last });
            }
        }
        for _ in 0..r.count()? {
            commit.event_ids.push(event_id(r, is_old)?);
        }
        for _ in 0..r.count()? {
            commit.rules.push(rule(r)?);
        }
        let mut rows = RowReader::new(now.wall_ms, age.ms);
        for _ in 0..r.count()? {
            commit.lanes.push(lane(r, &mut rows)?);
        }
        commit.subscriptions = option(r)?;
        if format == SECTIONS_FORMAT {
            commit.sections = section::read_known(r)?;
        }
        reader.end()?;
        Ok(commit)
    }
}

fn put_option(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => out.push(0),
        Some(text) => {
            out.push(1);
            put_text(out, text.as_bytes());
        }
    }
}

fn option(reader: &mut Reader<'_>) -> Result<Option<String>, RecordError> {
    match reader.u8()? {
        0 => Ok(None),
        1 => Ok(Some(reader.short_text()?.to_string())),
        _ => Err(RecordError::Damaged),
    }
}

fn boot(reader: &mut Reader<'_>) -> Result<Option<Boot>, RecordError> {
    match option(reader)? {
        None => Ok(None),
        Some(id) => {
            let mono_ms = reader.var()?;
            let off_ms = reader.var()?;
            Ok(Some(Boot {
                id,
                mono_ms,
                off_ms,
            }))
        }
    }
}

fn put_event_id(out: &mut Vec<u8>, change: &EventIdChange) {
    match change {
        EventIdChange::Applied(EventId::Opaque(hash))
        | EventIdChange::AppliedBefore(EventId::Opaque(hash)) => {
            out.push(0);
            out.extend(hash.to_le_bytes());
        }
        EventIdChange::Applied(EventId::Numbered { producer, n })
        | EventIdChange::AppliedBefore(EventId::Numbered { producer, n }) => {
            out.push(1);
            put_text(out, producer.as_bytes());
            put_var(out, *n);
        }
        EventIdChange::Forgotten(producer) => {
            out.push(2);
            put_text(out, producer.as_bytes());
        }
    }
}

fn event_id(reader: &mut Reader<'_>, is_old: bool) -> Result<EventIdChange, RecordError> {
    let id = match reader.u8()? {
        0 => EventId::Opaque(reader.u128()?),
        1 => EventId::Numbered {
            producer: reader.short_text()?,
            n: reader.var()?,
        },
        2 if !is_old => return Ok(EventIdChange::Forgotten(reader.short_text()?)),
        _ => return Err(RecordError::Damaged),
    };
    Ok(if is_old {
        EventIdChange::AppliedBefore(id)
    } else {
        EventIdChange::Applied(id)
    })
}

fn put_rule(out: &mut Vec<u8>, rule: &RuleDelta) {
    put_text(out, rule.name.as_bytes());
    put_ledger(out, &rule.counts);
    match &rule.record {
        None => out.push(0),
        Some(record) => {
            out.push(1);
            put_text(out, &record.encode_change(rule.same_naming));
        }
    }
    put_len(out, rule.keys.len());
    for (key, change) in &rule.keys {
        put_text(out, key.as_bytes());
        match change {
            KeyChange::Gone => out.push(0),
            KeyChange::Whole(state) => {
                out.push(1);
                put_text(out, &encode_state(state));
            }
            KeyChange::Entries(state, entries) => {
                out.push(2);
                put_text(out, &encode_state(state));
                put_len(out, entries.len());
                for (name, value) in entries {
                    put_text(out, name);
                    out.push(u8::from(value.is_some()));
                    put_text(out, value.as_deref().unwrap_or_default());
                }
            }
        }
    }
}

fn rule(reader: &mut Reader<'_>) -> Result<RuleDelta, RecordError> {
    let mut rule = RuleDelta {
        name: reader.short_text()?.to_string(),
        counts: ledger(reader)?,
        ..RuleDelta::default()
    };
    if reader.u8()? == 1 {
        let (record, same_naming) = RuleRecord::decode_change(reader.short_bytes()?)?;
        (rule.record, rule.same_naming) = (Some(record), same_naming);
    }
    for _ in 0..reader.count()? {
        let key = reader.short_text()?;
        let change = match reader.u8()? {
            0 => KeyChange::Gone,
            1 => KeyChange::Whole(decode_state(reader.short_bytes()?)?),
            2 => {
                let state = decode_state(reader.short_bytes()?)?;
                let mut entries = Vec::new();
                for _ in 0..reader.count()? {
                    let name = reader.short_bytes()?.into();
                    let is_there = reader.u8()? == 1;
                    let value = reader.short_bytes()?;
                    entries.push((name, is_there.then(|| value.into())));
                }
                KeyChange::Entries(state, entries)
            }
            _ => return Err(RecordError::Damaged),
        };
        rule.keys.push((key, change));
    }
    Ok(rule)
}

/// Writes a bit set of the nonzero columns, then those columns, then the dropped events by reason.
pub(super) fn put_ledger(out: &mut Vec<u8>, ledger: &Ledger) {
    let columns = ledger.columns();
    let bits = (0..).zip(columns).filter(|(_, count)| *count > 0);
    put_var(out, bits.fold(0, |bits, (bit, _)| bits | 1 << bit));
    for count in columns.into_iter().filter(|count| *count > 0) {
        put_var(out, count);
    }
    put_len(out, ledger.dropped.len());
    for (reason, count) in &ledger.dropped {
        put_text(out, reason.as_bytes());
        put_var(out, *count);
    }
}

pub(super) fn ledger(reader: &mut Reader<'_>) -> Result<Ledger, RecordError> {
    let bits = reader.var()?;
    let mut ledger = Ledger::default();
    for (bit, column) in (0..).zip(ledger.columns_mut()) {
        if bits & (1 << bit) != 0 {
            *column = reader.var()?;
        }
    }
    for _ in 0..reader.count()? {
        let reason = reader.short_text()?.to_string();
        ledger.dropped.insert(reason.into(), reader.var()?);
    }
    Ok(ledger)
}

/// Longest length, count or number.
const VAR_BYTES_MAX: usize = 10;

/// Bytes of a settled range in a commit, at most.
pub const SETTLED_BYTES_MAX: usize = 2 * VAR_BYTES_MAX + 1;

/// Bytes of a row in a commit, at most.
pub fn row_bytes_max(row: &Row) -> usize {
    1 + 6 * VAR_BYTES_MAX + row.rule.len() + row.topic.as_str().len() + row.payload.len()
}

/// Writes rows so that content shared by several of them is there once: the name of the rule, the
/// payload that was passed on, the time.
struct RowWriter {
    wall_ms: i64,
    age_ms: u64,
    /// The rule of the row before.
    rule: Option<Arc<str>>,
    /// Addresses and lengths in memory of payloads in this record, with their numbers.
    payloads: Vec<(*const u8, usize)>,
    seq: u64,
}

/// Number of earlier payloads searched for a duplicate: enough for the emissions of one event that
/// passes it on.
const SHARED_AMONG: usize = 16;

impl RowWriter {
    fn new(wall_ms: i64, age_ms: u64) -> Self {
        Self {
            wall_ms,
            age_ms,
            rule: None,
            payloads: Vec::new(),
            seq: 0,
        }
    }

    fn put(&mut self, out: &mut Vec<u8>, row: &Row) {
        let same_rule = self.rule.as_ref() == Some(&row.rule);
        let place = (row.payload.as_ptr(), row.payload.len());
        let shared = match place.1 {
            0..=8 => None,
            _ => self
                .payloads
                .iter()
                .rev()
                .take(SHARED_AMONG)
                .position(|before| *before == place),
        };
        let flags = (row.qos & 1)
            | u8::from(row.retain) << 1
            | u8::from(same_rule) << 2
            | u8::from(shared.is_some()) << 3;
        // Both clocks show the same span, unless the wall clock was set or the row is an old one.
        let span_ms = self.wall_ms.wrapping_sub(row.at_ms);
        let age_ms = self.age_ms.saturating_sub(row.made_ms);
        let differs = u64::try_from(span_ms) != Ok(age_ms);
        out.push(flags | u8::from(differs) << 4);
        put_signed(out, row.seq.wrapping_sub(self.seq).cast_signed());
        self.seq = row.seq;
        if !same_rule {
            put_text(out, row.rule.as_bytes());
            self.rule = Some(Arc::clone(&row.rule));
        }
        put_text(out, row.topic.as_str().as_bytes());
        put_signed(out, span_ms);
        if differs {
            put_var(out, age_ms);
        }
        match shared {
            Some(back) => put_len(out, back),
            None => put_text(out, &row.payload),
        }
        self.payloads.push(place);
    }
}

struct RowReader {
    wall_ms: i64,
    age_ms: u64,
    rule: Arc<str>,
    payloads: Vec<Bytes>,
    seq: u64,
}

impl RowReader {
    fn new(wall_ms: i64, age_ms: u64) -> Self {
        Self {
            wall_ms,
            age_ms,
            rule: "".into(),
            payloads: Vec::new(),
            seq: 0,
        }
    }

    fn row(&mut self, reader: &mut Reader<'_>) -> Result<Row, RecordError> {
        let flags = reader.u8()?;
        self.seq = self.seq.wrapping_add(reader.signed()?.cast_unsigned());
        if flags & 4 == 0 {
            self.rule = reader.short_text()?;
        }
        let topic = match reader.short_text()? {
            none if none.is_empty() => Topic::none(),
            name => Topic::new(&name).map_err(|_| RecordError::Damaged)?,
        };
        let span_ms = reader.signed()?;
        let age_ms = match flags & 16 {
            0 => u64::try_from(span_ms).unwrap_or(0),
            _ => reader.var()?,
        };
        let payload = if flags & 8 == 0 {
            Bytes::copy_from_slice(reader.short_bytes()?)
        } else {
            let back = usize::try_from(reader.var()?).map_err(|_| RecordError::Damaged)?;
            let shared = self.payloads.iter().rev().nth(back);
            shared.cloned().ok_or(RecordError::Damaged)?
        };
        self.payloads.push(payload.clone());
        Ok(Row {
            seq: self.seq,
            rule: Arc::clone(&self.rule),
            topic,
            payload,
            at_ms: self.wall_ms.wrapping_sub(span_ms),
            made_ms: self.age_ms.saturating_sub(age_ms),
            qos: flags & 1,
            retain: flags & 2 != 0,
        })
    }
}

fn lane(reader: &mut Reader<'_>, rows: &mut RowReader) -> Result<LaneDelta, RecordError> {
    let lane = reader.short_text()?.parse();
    let mut delta = LaneDelta {
        lane: Some(lane.map_err(|_| RecordError::Damaged)?),
        ..LaneDelta::default()
    };
    for _ in 0..reader.count()? {
        delta.rows.push(rows.row(reader)?);
    }
    for _ in 0..reader.count()? {
        delta.relocated.push(rows.row(reader)?);
    }
    for _ in 0..reader.count()? {
        let first = reader.var()?;
        delta.settled.push(Settled {
            first,
            last: first.saturating_add(reader.var()?),
            how: match reader.u8()? {
                0 => Settlement::Acknowledged,
                1 => Settlement::Dead,
                2 => Settlement::Dropped,
                _ => return Err(RecordError::Damaged),
            },
        });
    }
    delta.batch = match (reader.var()?, reader.var()?) {
        (0, 0) => None,
        (0, _) => Some(None),
        batch => Some(Some(batch)),
    };
    delta.dropped_new = reader.var()?;
    Ok(delta)
}

#[cfg(test)]
mod tests;
