//! Panes that have fired and are kept for late events: entries of the key that the host writes, so that a
//! commit holds those alone that changed. A name is `ff 'k'` and the pane's start; beside them `ff 'l'`
//! tells up to when panes had to go because they had no room.

use std::ops::Bound;

use super::entries::HOST_PREFIX;
use super::{Entries, KeyState, Pane};

const PREFIX: [u8; 2] = [HOST_PREFIX, b'k'];
const AFTER: [u8; 2] = [HOST_PREFIX, b'k' + 1];
/// Entry that tells up to when panes are gone.
pub const GONE_UNTIL: [u8; 2] = [HOST_PREFIX, b'l'];

/// The name of a kept pane among the entries of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeptName([u8; 10]);

impl KeptName {
    /// The name of the pane that begins at a moment of event time.
    pub fn of(start_ms: i64) -> Self {
        let mut name = [0; 10];
        let (prefix, rest) = name.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(&PREFIX);
        rest.copy_from_slice(&(start_ms.cast_unsigned() ^ 1 << 63).to_be_bytes());
        Self(name)
    }

    /// Name of the entry.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl KeyState {
    /// The kept panes, earliest first.
    pub fn kept(&self) -> impl DoubleEndedIterator<Item = Pane> + '_ {
        range(&self.entries).filter_map(|(name, value)| read(name, value))
    }

    /// Number of kept panes.
    pub fn kept_count(&self) -> usize {
        range(&self.entries).count()
    }

    /// The kept pane that begins at a moment of event time.
    pub fn kept_at(&self, start_ms: i64) -> Option<Pane> {
        let name = KeptName::of(start_ms);
        read(name.as_bytes(), self.entries.get(name.as_bytes())?)
    }

    /// Keeps a pane; returns the name of its entry.
    pub fn keep(&mut self, pane: &Pane) -> KeptName {
        let name = KeptName::of(pane.start_ms);
        self.entries.insert(name.as_bytes().into(), written(pane));
        name
    }

    /// Lets go of kept panes that end up to a moment; returns the names of their entries.
    pub fn drop_kept_until(&mut self, end_ms: i64) -> Vec<KeptName> {
        let ended = self.kept().take_while(|pane| pane.end_ms <= end_ms);
        let names: Vec<KeptName> = ended.map(|pane| KeptName::of(pane.start_ms)).collect();
        for name in &names {
            self.entries.remove(name.as_bytes());
        }
        names
    }

    /// The end of the last pane that had to go although late events could have reached it.
    pub fn gone_until(&self) -> i64 {
        let value = self.entries.get(&GONE_UNTIL[..]);
        let value = value.and_then(|value| (**value).try_into().ok());
        value.map_or(i64::MIN, i64::from_le_bytes)
    }

    /// Sets the end of the last pane that had to go.
    pub fn set_gone_until(&mut self, end_ms: i64) {
        let value = end_ms.to_le_bytes();
        self.entries.insert(GONE_UNTIL.into(), value.into());
    }
}

/// `true` if an entry is a kept pane, or tells which are gone.
pub(super) fn is_one(name: &[u8]) -> bool {
    name.starts_with(&PREFIX) || name == GONE_UNTIL
}

/// Changes the slots of a kept pane in the value of its entry.
pub(super) fn with_slots(
    name: &[u8],
    value: &[u8],
    change: impl FnOnce(&[f64]) -> Vec<f64>,
) -> Option<Box<[u8]>> {
    let mut pane = read(name, value)?;
    pane.slots = change(&pane.slots);
    Some(written(&pane))
}

fn written(pane: &Pane) -> Box<[u8]> {
    let mut value = Vec::with_capacity(20 + 8 * pane.slots.len());
    value.extend(pane.end_ms.to_le_bytes());
    value.extend(pane.folded.to_le_bytes());
    value.extend(pane.fired.to_le_bytes());
    pane.slots
        .iter()
        .for_each(|slot| value.extend(slot.to_le_bytes()));
    value.into()
}

/// On the time scale of its window, event time, a pane begins and ends as its labels say.
fn read(name: &[u8], value: &[u8]) -> Option<Pane> {
    let start = name.strip_prefix(&PREFIX)?.try_into().ok()?;
    let start_ms = (u64::from_be_bytes(start) ^ 1 << 63).cast_signed();
    let (end_ms, rest) = value.split_first_chunk()?;
    let (folded, rest) = rest.split_first_chunk()?;
    let (fired, rest) = rest.split_first_chunk()?;
    let (slots, _) = rest.as_chunks();
    let end_ms = i64::from_le_bytes(*end_ms);
    Some(Pane {
        start_ms,
        end_ms,
        from: start_ms,
        due: Some(end_ms),
        folded: u64::from_le_bytes(*folded),
        fired: u32::from_le_bytes(*fired),
        slots: slots.iter().map(|slot| f64::from_le_bytes(*slot)).collect(),
    })
}

fn range(entries: &Entries) -> impl DoubleEndedIterator<Item = (&Box<[u8]>, &Box<[u8]>)> + '_ {
    entries.range::<[u8], _>((Bound::Included(&PREFIX[..]), Bound::Excluded(&AFTER[..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pane(start_ms: i64, slots: &[f64]) -> Pane {
        Pane {
            start_ms,
            end_ms: start_ms + 10,
            from: start_ms,
            due: Some(start_ms + 10),
            folded: 3,
            fired: 1,
            slots: slots.to_vec(),
        }
    }

    #[test]
    fn panes_are_kept_in_the_order_of_their_times_until_they_are_dropped() {
        let mut state = KeyState::default();
        state.put_row(5, b"no pane");
        for start_ms in [7, -3, 1_700_000_000_000] {
            state.keep(&pane(start_ms, &[1.5, -2.0]));
        }
        assert_eq!(state.kept_at(7), Some(pane(7, &[1.5, -2.0])));
        assert_eq!(state.kept_at(8), None);
        let starts: Vec<i64> = state.kept().map(|pane| pane.start_ms).collect();
        assert_eq!(starts, [-3, 7, 1_700_000_000_000]);
        assert_eq!(state.drop_kept_until(17).len(), 2);
        assert_eq!((state.kept().count(), state.rows().count()), (1, 1));
        assert_eq!(state.gone_until(), i64::MIN);
        state.set_gone_until(-9);
        assert_eq!((state.gone_until(), state.kept().count()), (-9, 1));
    }

    #[test]
    fn bytes_on_disk_are_stable() {
        let mut state = KeyState::default();
        state.keep(&pane(2, &[1.0]));
        state.set_gone_until(-1);
        let entries: Vec<_> = state.entries.iter().collect();
        #[rustfmt::skip]
        let kept: [&[u8]; 2] = [
            &[0xff, b'k', 0x80, 0, 0, 0, 0, 0, 0, 2],    // its start, with the top bit turned
            &[
                12, 0, 0, 0, 0, 0, 0, 0,                 // its end
                3, 0, 0, 0, 0, 0, 0, 0,                  // events folded
                1, 0, 0, 0,                              // how often it fired
                0, 0, 0, 0, 0, 0, 0xf0, 0x3f,            // one slot: 1.0
            ],
        ];
        assert_eq!((&**entries[0].0, &**entries[0].1), (kept[0], kept[1]));
        assert_eq!(
            (&**entries[1].0, &**entries[1].1),
            (&b"\xffl"[..], &[0xff; 8][..])
        );
    }
}
