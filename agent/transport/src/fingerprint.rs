//! Message identity beyond the packet identifier, which is reused. The hash is kept on disk
//! (docs/formats.md), so its input never changes.

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::message::{Fingerprint, SubscriptionIds, lower_half};

/// The hash of one copy of a message: over MQTT 5 each subscription gets a copy, and an identifier
/// that was free again may belong to another copy of the same message. If a copy names no
/// subscription the hash is the message's own; otherwise XXH3 with 128 bits of that, little-endian,
/// and of the subscription identifiers in the order in which they are named, four bytes each.
pub fn of_copy(message: u128, subscriptions: &SubscriptionIds) -> u128 {
    let ids = match subscriptions {
        SubscriptionIds::Unknown => return message,
        SubscriptionIds::One(id) => {
            // At once, which is quicker: nearly all copies name one.
            let mut bytes = [0; 20];
            let (content, subscription) = bytes.split_at_mut(16);
            content.copy_from_slice(&message.to_le_bytes());
            subscription.copy_from_slice(&id.to_le_bytes());
            return xxh3_128(&bytes);
        }
        SubscriptionIds::Many(ids) => ids,
    };
    let mut hash = Xxh3::new();
    hash.update(&message.to_le_bytes());
    for id in ids {
        hash.update(&id.to_le_bytes());
    }
    hash.digest128()
}

/// Fingerprint of a copy: the subscriptions it names are not part of the hash of its content alone.
pub fn of(message: Fingerprint, subscriptions: &SubscriptionIds) -> Fingerprint {
    Fingerprint {
        hash: of_copy(message.hash, subscriptions),
        ..message
    }
}

/// Computes fingerprints; kept, because setting up the hash costs more than a small message does.
#[derive(Default)]
pub struct Fingerprints {
    hash: Xxh3,
}

impl Fingerprints {
    /// XXH3 with 128 bits of topic, payload and user properties in their order, name before value.
    /// Each is preceded by its length as four little-endian bytes. The hash of the content alone is
    /// the lower half of the same over topic and payload.
    pub fn of(
        &mut self,
        topic: &[u8],
        payload: &[u8],
        properties: &[(String, String)],
    ) -> Fingerprint {
        self.begin(topic, payload.len());
        self.more(payload);
        self.end(properties)
    }

    /// The same in pieces, for a payload that is not in memory as a whole: first the topic and how
    /// long the payload will be.
    pub fn begin(&mut self, topic: &[u8], payload_bytes: usize) {
        self.hash.reset();
        self.length(topic.len());
        self.more(topic);
        self.length(payload_bytes);
    }

    /// A piece of the payload.
    pub fn more(&mut self, piece: &[u8]) {
        self.hash.update(piece);
    }

    /// The user properties, and the numbers.
    pub fn end(&mut self, properties: &[(String, String)]) -> Fingerprint {
        let bare = self.hash.digest128();
        let content = lower_half(bare);
        if properties.is_empty() {
            return Fingerprint {
                hash: bare,
                content,
            };
        }
        for (name, value) in properties {
            self.length(name.len());
            self.more(name.as_bytes());
            self.length(value.len());
            self.more(value.as_bytes());
        }
        Fingerprint {
            hash: self.hash.digest128(),
            content,
        }
    }

    fn length(&mut self, bytes: usize) {
        // A packet has fewer than 2^28 bytes.
        let length = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.hash.update(&length.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(topic: &str, payload: &[u8], properties: &[(&str, &str)], expected: u128) {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let properties: Vec<_> = properties.iter().map(own).collect();
        let mut fingerprints = Fingerprints::default();
        fingerprints.of(b"another", b"message", &[]);
        let found = fingerprints.of(topic.as_bytes(), payload, &properties);
        let hash = found.hash;
        assert_eq!(hash, expected, "{topic} {properties:?}: {hash:#034x}");
        fingerprints.begin(topic.as_bytes(), payload.len());
        payload.chunks(7).for_each(|piece| fingerprints.more(piece));
        assert_eq!(fingerprints.end(&properties), found, "in pieces");
        let bare = fingerprints.of(topic.as_bytes(), payload, &[]);
        assert_eq!(found.content, lower_half(bare.hash));
    }

    #[test]
    fn the_number_is_the_same_for_ever() {
        // Computed with another implementation, python-xxhash.
        check("a/b", b"21.5", &[], 0xb343456f_ae6b3639_ec28c720_f4f26e63);
        check("a/b", b"", &[], 0x09d8043f_b8b98790_37e067c8_61e36f9c);
        let properties = [("eid", "7"), ("eid", "8")];
        check(
            "a/b",
            b"21.5",
            &properties,
            0x1e770b8b_4b123f1d_5797a91d_8636651b,
        );
        check(
            "a/b",
            &[b'x'; 100_000],
            &[],
            0x9c48bdc0_4a6749aa_b02becec_0e25d30e,
        );
    }

    #[test]
    fn copies_of_a_message_differ_by_the_subscriptions_they_name() {
        let copies = [
            SubscriptionIds::Unknown,
            SubscriptionIds::One(1),
            SubscriptionIds::One(2),
            SubscriptionIds::Many([1, 2].into()),
        ];
        let numbers = copies.each_ref().map(|ids| of_copy(7, ids));
        assert_eq!(numbers[0], 7);
        for (place, one) in numbers.iter().enumerate() {
            assert_eq!(numbers.iter().position(|other| other == one), Some(place));
        }
        // Those of one are made another way.
        for id in [0, 1, 268_435_455] {
            let by_pieces = of_copy(u128::MAX / 3, &SubscriptionIds::Many([id].into()));
            assert_eq!(of_copy(u128::MAX / 3, &SubscriptionIds::One(id)), by_pieces);
        }
    }

    #[test]
    fn what_stands_where_matters() {
        let mut fingerprints = Fingerprints::default();
        let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        let all = [
            fingerprints.of(b"ab", b"c", &[]),
            fingerprints.of(b"a", b"bc", &[]),
            fingerprints.of(b"ab", b"", &pair("c", "")),
            fingerprints.of(b"ab", b"", &pair("", "c")),
            fingerprints.of(b"ab", b"c", &pair("", "")),
        ];
        for (place, one) in all.iter().enumerate() {
            assert_eq!(all.iter().position(|other| other == one), Some(place));
        }
    }
}
