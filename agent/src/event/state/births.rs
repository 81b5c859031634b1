//! Sparkplug B births heard by a rule: names and types of metrics, by node and device. They are
//! entries of the key that holds what belongs to none of the rule's keys, and so are journalled,
//! kept and limited as entries are.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::Entries;
use super::entries::{HOST_PREFIX, entry_bytes};
use crate::event::payload::sparkplug::{Birth, DataType, Known, Place};

/// A node or a device, with the number of the event that was its birth.
pub(super) const BORN: [u8; 2] = [HOST_PREFIX, b'b'];
/// A metric: the node or device, a zero, which no topic has, and what a message calls it.
pub(super) const METRIC: [u8; 2] = [HOST_PREFIX, b'm'];

const ALIAS: u8 = b'a';
const NAME: u8 = b'n';

/// Names and values of entries.
pub type Told = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// The entries of a birth.
pub fn told(place: &str, number: u64, births: &[Birth<'_>]) -> Told {
    let mut told = Told::new();
    told.insert(born_name(place), number.to_le_bytes().into());
    for birth in births {
        let data_type = birth.data_type.code();
        match birth.alias {
            Some(alias) => {
                let value = [&[data_type], birth.name.as_bytes()].concat();
                told.insert(alias_name(place, alias), value.into());
            }
            // Messages may leave out the type of a metric; of others they say all that there is.
            None if birth.data_type.matters() => {
                told.insert(metric_name(place, birth.name), [data_type].into());
            }
            None => {}
        }
    }
    told
}

/// The births of a node or a device.
pub struct Table<'a> {
    entries: &'a Entries,
    place: &'a str,
}

impl<'a> Table<'a> {
    /// The births of the given place.
    pub fn new(entries: &'a Entries, place: &'a str) -> Self {
        Self { entries, place }
    }

    /// `true` if its birth was heard.
    pub fn is_born(&self) -> bool {
        self.entries.contains_key(&born_name(self.place))
    }
}

impl Known for Table<'_> {
    fn by_alias(&self, alias: u64) -> Option<(&str, DataType)> {
        let value = self.entries.get(&alias_name(self.place, alias))?;
        let (data_type, name) = value.split_first()?;
        let name = std::str::from_utf8(name).ok()?;
        Some((name, DataType::numbered((*data_type).into())))
    }

    fn by_name(&self, name: &str) -> Option<DataType> {
        let value = self.entries.get(&metric_name(self.place, name))?;
        Some(DataType::numbered((*value.first()?).into()))
    }
}

/// The names of all entries of a place; of a node those of its devices with them, which have to be born
/// again after it.
pub fn names_of(entries: &Entries, place: &Place) -> Vec<Box<[u8]>> {
    let belongs = |told: &[u8]| {
        let rest = told.strip_prefix(place.as_str().as_bytes());
        rest.is_some_and(|rest| match rest.first() {
            None => true,
            Some(b'/') => !place.is_device(),
            Some(_) => false,
        })
    };
    all(entries)
        .filter(|(told, ..)| belongs(told))
        .map(|(_, name, _)| name.into())
        .collect()
}

/// The place that was born longest ago, but for one, with the names of its own entries.
pub fn oldest(entries: &Entries, but: &str) -> Option<Vec<Box<[u8]>>> {
    let born = from(entries, BORN)
        .filter_map(|(name, value)| {
            let number = (**value).try_into().ok().map(u64::from_le_bytes)?;
            Some((number, name.get(BORN.len()..)?))
        })
        .filter(|(_, place)| *place != but.as_bytes());
    let (_, oldest) = born.min()?;
    let names = all(entries).filter(|(place, ..)| *place == oldest);
    Some(names.map(|(_, name, _)| name.into()).collect())
}

/// `true` if an entry belongs to a birth.
pub fn is_birth(name: &[u8]) -> bool {
    name.starts_with(&BORN) || name.starts_with(&METRIC)
}

/// Bytes that all of it counts for.
pub fn bytes(entries: &Entries) -> usize {
    all(entries)
        .map(|(_, name, value)| entry_bytes(name, value))
        .sum()
}

/// All entries of births: place, name, value.
fn all(entries: &Entries) -> impl Iterator<Item = (&[u8], &[u8], &[u8])> {
    let born = from(entries, BORN).map(|(name, value)| (name.get(BORN.len()..), name, value));
    let metrics = from(entries, METRIC).map(|(name, value)| {
        let place = name.get(METRIC.len()..);
        (
            place.and_then(|rest| rest.split(|byte| *byte == 0).next()),
            name,
            value,
        )
    });
    born.chain(metrics)
        .filter_map(|(place, name, value)| Some((place?, &**name, &**value)))
}

fn from(entries: &Entries, prefix: [u8; 2]) -> impl Iterator<Item = (&Box<[u8]>, &Box<[u8]>)> {
    let bounds = (Bound::Included(&prefix[..]), Bound::Unbounded);
    let from = entries.range::<[u8], _>(bounds);
    from.take_while(move |(name, _)| name.starts_with(&prefix))
}

fn born_name(place: &str) -> Box<[u8]> {
    [&BORN[..], place.as_bytes()].concat().into()
}

fn alias_name(place: &str, alias: u64) -> Box<[u8]> {
    [
        &METRIC[..],
        place.as_bytes(),
        &[0, ALIAS],
        &alias.to_be_bytes(),
    ]
    .concat()
    .into()
}

fn metric_name(place: &str, name: &str) -> Box<[u8]> {
    [&METRIC[..], place.as_bytes(), &[0, NAME], name.as_bytes()]
        .concat()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn birth(alias: Option<u64>, name: &str, data_type: u64) -> Birth<'_> {
        Birth {
            alias,
            name,
            data_type: DataType::numbered(data_type),
        }
    }

    fn hear(entries: &mut Entries, topic: &str, number: u64, births: &[Birth<'_>]) {
        let (place, _) = Place::of_topic(topic).unwrap();
        for name in names_of(entries, &place) {
            entries.remove(&name);
        }
        for (name, value) in told(place.as_str(), number, births) {
            entries.insert(name, value);
        }
    }

    #[test]
    fn metrics_are_found_under_the_node_or_device_that_told_them() {
        let mut entries = Entries::default();
        let (temp, level) = (birth(Some(7), "temp", 10), birth(None, "level", 3));
        hear(
            &mut entries,
            "spBv1.0/G/NBIRTH/N",
            1,
            &[temp.clone(), level],
        );
        hear(
            &mut entries,
            "spBv1.0/G/DBIRTH/N/D",
            2,
            &[birth(Some(7), "rpm", 7)],
        );
        hear(
            &mut entries,
            "spBv1.0/G/NBIRTH/N2",
            3,
            &[birth(None, "text", 12)],
        );
        let of = |place| Table::new(&entries, place);
        assert_eq!(
            of("G/N").by_alias(7),
            Some(("temp", DataType::numbered(10)))
        );
        assert_eq!(
            of("G/N/D").by_alias(7),
            Some(("rpm", DataType::numbered(7)))
        );
        assert_eq!(of("G/N").by_name("level"), Some(DataType::numbered(3)));
        assert_eq!(of("G/N2").by_name("text"), None);
        assert!(of("G/N2").is_born() && !of("G/N2/D").is_born());
        assert_eq!(bytes(&entries), entries.bytes());
        // A node that is born again knows nothing of its devices.
        hear(&mut entries, "spBv1.0/G/NBIRTH/N", 4, &[temp]);
        assert_eq!(Table::new(&entries, "G/N").by_name("level"), None);
        assert!(!Table::new(&entries, "G/N/D").is_born());
        assert!(Table::new(&entries, "G/N2").is_born());
    }

    #[test]
    fn the_place_that_was_born_longest_ago_is_the_oldest() {
        let mut entries = Entries::default();
        for (node, number) in [("a", 5), ("b", 4), ("c", 6)] {
            let topic = format!("spBv1.0/G/NBIRTH/{node}");
            hear(&mut entries, &topic, number, &[birth(Some(1), "x", 10)]);
        }
        let place_of = |names: Vec<Box<[u8]>>| -> Vec<Box<[u8]>> {
            assert_eq!(names.len(), 2);
            names
        };
        let oldest_but = |but| oldest(&entries, but).map(place_of).unwrap();
        assert!(oldest_but("G/a").contains(&born_name("G/b")));
        assert!(oldest_but("G/b").contains(&born_name("G/a")));
    }
}
