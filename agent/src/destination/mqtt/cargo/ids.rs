//! Packet identifiers of messages on their way: given out in turn, and never one that waits for its
//! acknowledgement, in whatever order those come. Pure.

/// Identifiers are 1 to 65,535; one bit for each.
const WORDS: usize = (u16::MAX as usize + 1) / u64::BITS as usize;

#[derive(Debug)]
pub(super) struct PacketIds {
    used: Box<[u64; WORDS]>,
    last: u16,
}

impl PacketIds {
    pub(super) fn new() -> Self {
        Self {
            used: Box::new([0; WORDS]),
            last: 0,
        }
    }

    /// The next free identifier. Who asks keeps far fewer than 65,535 in use.
    pub(super) fn take(&mut self) -> u16 {
        for _ in 0..u16::MAX {
            self.last = self.last % u16::MAX + 1;
            let (word, bit) = place(self.last);
            if let Some(word) = self.used.get_mut(word).filter(|word| **word & bit == 0) {
                *word |= bit;
                break;
            }
        }
        self.last
    }

    /// Frees an identifier: nothing waits for its acknowledgement any more.
    pub(super) fn free(&mut self, id: u16) {
        let (word, bit) = place(id);
        if let Some(word) = self.used.get_mut(word) {
            *word &= !bit;
        }
    }

    /// A new connection: nothing waits.
    pub(super) fn free_all(&mut self) {
        self.used.fill(0);
    }
}

fn place(id: u16) -> (usize, u64) {
    (usize::from(id / 64), 1 << (id % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_that_waits_is_not_given_out_again() {
        let mut ids = PacketIds::new();
        let slow = ids.take();
        assert_eq!(slow, 1);
        for _ in 0..200_000 {
            let id = ids.take();
            assert!(id != 0 && id != slow);
            ids.free(id);
        }
        ids.free(slow);
        let all: std::collections::BTreeSet<u16> = (0..u16::MAX).map(|_| ids.take()).collect();
        assert_eq!(all.len(), usize::from(u16::MAX));
        ids.free_all();
        assert!(all.contains(&ids.take()));
    }
}
