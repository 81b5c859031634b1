//! Lines that have to be sent once more.

use core::ops::RangeInclusive;

/// A window of 32 numbers: bit k stands for `from + k`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Again {
    bits: u32,
    from: u32,
}

impl Again {
    /// Notes a line; what lies too far from the others is asked for once more anyway.
    pub(super) fn add(&mut self, number: u32) {
        if self.bits == 0 {
            self.from = number;
        }
        if let Some(down) = self.from.checked_sub(number) {
            self.bits = self.bits.checked_shl(down).unwrap_or(0) | 1;
            self.from = number;
        } else {
            self.bits |= 1_u32.checked_shl(number - self.from).unwrap_or(0);
        }
    }

    /// Takes the lowest line out that is still held.
    pub(super) fn next(&mut self, held: RangeInclusive<u32>) -> Option<u32> {
        while self.bits != 0 {
            let bit = self.bits.trailing_zeros();
            self.bits &= self.bits - 1;
            let number = self.from.saturating_add(bit);
            if held.contains(&number) {
                return Some(number);
            }
        }
        None
    }
}
