//! State of a rule with event time besides its keys: waiting events, sources, the watermark. All
//! are entries of a key that no event can have, and so are journalled, kept and limited as entries
//! are.

use std::ops::Bound;
use std::sync::Arc;

use super::Entries;
use super::births::{BORN, METRIC};
use super::entries::HOST_PREFIX;

/// The key under which a rule keeps what belongs to none of its keys. No topic has this character in
/// it, and an event whose payload says that this is its key is a dead letter.
pub const RULE_KEY: &str = "\0";

/// The key under which versions before kept it, which is also that of events without a key.
pub const FORMER_RULE_KEY: &str = "";

const WAITING: [u8; 2] = [HOST_PREFIX, b'e'];
const AFTER_WAITING: [u8; 2] = [HOST_PREFIX, b'e' + 1];
const BEHIND: [u8; 2] = [HOST_PREFIX, b'q'];
const AFTER_BEHIND: [u8; 2] = [HOST_PREFIX, b'q' + 1];
const SOURCE: [u8; 2] = [HOST_PREFIX, b's'];
const WATERMARK: [u8; 2] = [HOST_PREFIX, b'w'];

/// `true` if an entry belongs to the rule itself, not to one of its keys.
pub fn is_the_rules(name: &[u8]) -> bool {
    [&WAITING[..], &BEHIND, &SOURCE, &WATERMARK, &BORN, &METRIC]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// The name of a waiting event: names sort by its time, then by its arrival.
pub fn waiting_name(event_ms: i64, number: u64) -> Box<[u8]> {
    let time = event_ms.cast_unsigned() ^ 1 << 63;
    [&WAITING[..], &time.to_be_bytes(), &number.to_be_bytes()]
        .concat()
        .into()
}

/// The events that wait, those that happened first first: time, number, record.
pub fn waiting(entries: &Entries) -> impl DoubleEndedIterator<Item = (i64, u64, &[u8])> {
    numbered(entries, &WAITING, &AFTER_WAITING)
}

/// Entries whose names are a prefix, a time and a number.
fn numbered<'a>(
    entries: &'a Entries,
    prefix: &'static [u8],
    after: &'static [u8],
) -> impl DoubleEndedIterator<Item = (i64, u64, &'a [u8])> {
    let bounds = (Bound::Included(prefix), Bound::Excluded(after));
    entries
        .range::<[u8], _>(bounds)
        .filter_map(|(name, value)| {
            let (time, number) = name.strip_prefix(prefix)?.split_first_chunk()?;
            let number = u64::from_be_bytes(number.try_into().ok()?);
            let time = (u64::from_be_bytes(*time) ^ 1 << 63).cast_signed();
            Some((time, number, &**value))
        })
}

/// The name of an event that waits because its rule is behind: names sort by monotonic time, then by
/// arrival.
pub fn behind_name(mono_ms: i64, number: u64) -> Box<[u8]> {
    let time = mono_ms.cast_unsigned() ^ 1 << 63;
    [&BEHIND[..], &time.to_be_bytes(), &number.to_be_bytes()]
        .concat()
        .into()
}

/// The events that wait because their rule is behind, in the order of their arrival: monotonic time,
/// number, record.
pub fn behind(entries: &Entries) -> impl Iterator<Item = (i64, u64, &[u8])> {
    numbered(entries, &BEHIND, &AFTER_BEHIND)
}

/// Moves the times of the events that wait because their rule is behind by so many milliseconds.
pub fn shift_behind(entries: &mut Entries, by: i64) {
    let all: Vec<_> = behind(entries)
        .map(|(at, number, record)| (at, number, record.to_vec()))
        .collect();
    for (at, number, _) in &all {
        entries.remove(&behind_name(*at, *number));
    }
    for (at, number, record) in all {
        entries.insert(behind_name(at.saturating_add(by), number), record.into());
    }
}

/// No mark, that of a timestamp, and that of an arrival.
const NO_MARK: u8 = 0;
const TOLD: u8 = 1;
const BY_ARRIVAL: u8 = 2;

/// The entry of a source: mark, last claim, streams; and whether the mark is that of an arrival.
pub fn source_entry(
    name: &str,
    (mark, claim, streams): (Option<i64>, i64, u32),
    by_arrival: bool,
) -> (Box<[u8]>, Box<[u8]>) {
    let mut value = vec![match mark {
        None => NO_MARK,
        Some(_) if by_arrival => BY_ARRIVAL,
        Some(_) => TOLD,
    }];
    value.extend(mark.unwrap_or(0).to_le_bytes());
    value.extend(claim.to_le_bytes());
    value.extend(streams.to_le_bytes());
    (source_name(name), value.into())
}

/// Entry name of a source.
pub fn source_name(name: &str) -> Box<[u8]> {
    [&SOURCE[..], name.as_bytes()].concat().into()
}

/// The known sources, with the arguments of [`source_entry`].
pub fn sources(
    entries: &Entries,
) -> impl Iterator<Item = (Arc<str>, (Option<i64>, i64, u32), bool)> + '_ {
    let from = entries.range::<[u8], _>((Bound::Included(&SOURCE[..]), Bound::Unbounded));
    from.take_while(|(name, _)| name.starts_with(&SOURCE))
        .filter_map(|(name, value)| {
            let name = std::str::from_utf8(name.get(SOURCE.len()..)?).ok()?;
            let (kind, rest) = value.split_first()?;
            let (mark, rest) = rest.split_first_chunk()?;
            let (claim, streams) = rest.split_first_chunk()?;
            let mark = (*kind != NO_MARK).then_some(i64::from_le_bytes(*mark));
            let streams = u32::from_le_bytes(streams.try_into().ok()?);
            // Of one without a mark the first timestamp is still to come.
            let by_arrival = *kind != TOLD;
            let known = (mark, i64::from_le_bytes(*claim), streams);
            Some((name.into(), known, by_arrival))
        })
}

/// The entry of the watermark.
pub fn watermark_entry(current: i64) -> (Box<[u8]>, Box<[u8]>) {
    (WATERMARK.into(), current.to_le_bytes().into())
}

/// The watermark, in milliseconds since 1970.
pub fn watermark(entries: &Entries) -> Option<i64> {
    let value = entries.get(&WATERMARK[..])?;
    (**value).try_into().ok().map(i64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_a_rule_that_is_behind_keep_their_order_in_another_boot() {
        let mut entries = Entries::default();
        for (at, number) in [(70, 2), (5, 1), (5, 0)] {
            entries.insert(
                behind_name(at, number),
                number.to_string().into_bytes().into(),
            );
        }
        entries.insert(waiting_name(1, 9), (*b"x").into());
        assert_eq!(
            &*behind_name(5, 1),
            b"\xffq\x80\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01"
        );
        shift_behind(&mut entries, -60);
        let found: Vec<_> = behind(&entries)
            .map(|(at, number, _)| (at, number))
            .collect();
        assert_eq!(found, [(-55, 0), (-55, 1), (10, 2)]);
        assert!(
            behind(&entries).all(|(_, number, record)| record == number.to_string().as_bytes())
        );
        assert!(entries.keys().all(|name| is_the_rules(name)));
    }

    #[test]
    fn what_is_written_is_found_again_in_order() {
        let mut entries = Entries::default();
        for (event_ms, number) in [(5, 1), (-7, 2), (5, 0), (1_700_000_000_000, 3)] {
            entries.insert(waiting_name(event_ms, number), (*b"x").into());
        }
        let found: Vec<_> = waiting(&entries)
            .map(|(time, number, _)| (time, number))
            .collect();
        assert_eq!(found, [(-7, 2), (5, 0), (5, 1), (1_700_000_000_000, 3)]);
        for (source, by_arrival) in [
            ((Some(-1), 2, 3), false),
            ((Some(-1), i64::MIN, 3), true),
            ((None, i64::MIN, 0), true),
        ] {
            let (name, value) = source_entry("a/b", source, by_arrival);
            entries.insert(name, value);
            assert_eq!(
                sources(&entries).collect::<Vec<_>>(),
                [("a/b".into(), source, by_arrival)]
            );
        }
        let (name, value) = watermark_entry(-9);
        entries.insert(name, value);
        assert_eq!(
            (watermark(&entries), waiting(&entries).count()),
            (Some(-9), 4)
        );
    }
}
