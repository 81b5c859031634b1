//! A ring of lines in the caller's memory: each with two bytes of length in front, the oldest evicted when a
//! new one needs its room. Lines are known by number; `base` is the number before the oldest.

/// Lines held until they are safe.
#[derive(Debug)]
pub(crate) struct Ring<'m> {
    memory: &'m mut [u8],
    /// The place of the oldest line.
    start: usize,
    /// Bytes in use.
    used: usize,
    /// Lines held.
    count: u32,
    base: u32,
    /// A line whose place is known, so that lines in a row are found without a walk from the oldest.
    found: (u32, usize),
}

/// Bytes of length in front of a line.
const HEAD: usize = 2;

impl<'m> Ring<'m> {
    pub(crate) fn new(memory: &'m mut [u8]) -> Self {
        Self {
            memory,
            start: 0,
            used: 0,
            count: 0,
            base: 0,
            found: (1, 0),
        }
    }

    /// The number before the oldest line held.
    pub(crate) fn base(&self) -> u32 {
        self.base
    }

    /// The highest number made. Lines beyond the last number wait without one.
    pub(crate) fn top(&self) -> u32 {
        self.base.saturating_add(self.count)
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Calls the oldest line 1 again.
    pub(crate) fn renumber(&mut self) {
        self.base = 0;
        self.found = (1, self.start);
    }

    /// `true` if a line of this length can be held at all.
    pub(crate) fn can_hold(&self, len: usize) -> bool {
        len + HEAD <= self.memory.len() && len <= usize::from(u16::MAX)
    }

    /// `true` if a line of this length can be held now.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        self.memory.len() - self.used >= len + HEAD
    }

    /// Takes a line for which there is room. Ends of lines in it become spaces.
    pub(crate) fn push(&mut self, line: &[u8]) {
        let [low, high] = (line.len() as u16).to_le_bytes();
        let mut place = self.wrapped(self.start + self.used);
        let clean = |byte: &u8| match byte {
            b'\n' | b'\r' => b' ',
            other => *other,
        };
        for byte in [low, high].into_iter().chain(line.iter().map(clean)) {
            if let Some(to) = self.memory.get_mut(place) {
                *to = byte;
            }
            place = self.wrapped(place + 1);
        }
        self.used += line.len() + HEAD;
        self.count += 1;
    }

    /// Lets the oldest line go; its number becomes `base`.
    pub(crate) fn pop(&mut self) {
        if self.count == 0 {
            return;
        }
        let len = self.len_at(self.start);
        self.start = self.wrapped(self.start + len);
        self.used -= len;
        self.count -= 1;
        self.base = self.base.wrapping_add(1);
        if self.found.0 <= self.base {
            self.found = (self.base.wrapping_add(1), self.start);
        }
    }

    /// Returns a line held, in two pieces where it lies across the end of the memory.
    pub(crate) fn get(&mut self, number: u32) -> [&[u8]; 2] {
        if number <= self.base || number > self.top() {
            return [&[], &[]];
        }
        if self.found.0 > number {
            self.found = (self.base + 1, self.start);
        }
        while self.found.0 < number {
            let (at, place) = self.found;
            self.found = (at + 1, self.wrapped(place + self.len_at(place)));
        }
        let len = self.len_at(self.found.1) - HEAD;
        let begin = self.wrapped(self.found.1 + HEAD);
        let end = begin + len;
        let size = self.memory.len();
        let piece = |from: usize, to: usize| self.memory.get(from..to).unwrap_or_default();
        if end <= size {
            [piece(begin, end), &[]]
        } else {
            [piece(begin, size), piece(0, end - size)]
        }
    }

    /// Bytes that the line at this place takes, its length included.
    fn len_at(&self, place: usize) -> usize {
        let byte = |place: usize| self.memory.get(self.wrapped(place)).copied().unwrap_or(0);
        usize::from(u16::from_le_bytes([byte(place), byte(place + 1)])) + HEAD
    }

    fn wrapped(&self, place: usize) -> usize {
        if place >= self.memory.len() {
            place - self.memory.len()
        } else {
            place
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::collections::VecDeque;
    use std::vec::Vec;

    /// Every size of memory and every pattern of lengths against a list.
    #[test]
    fn the_ring_holds_what_a_list_holds() {
        for size in 3..40 {
            let mut memory = std::vec![0; size];
            let mut ring = Ring::new(&mut memory);
            let mut list: VecDeque<Vec<u8>> = VecDeque::new();
            for step in 0..200_usize {
                let line: Vec<u8> = (0..step * 7 % 11)
                    .map(|at| b'a' + (step + at) as u8 % 26)
                    .collect();
                if !ring.can_hold(line.len()) {
                    continue;
                }
                while !ring.has_room(line.len()) {
                    ring.pop();
                    list.pop_front();
                }
                ring.push(&line);
                list.push_back(line);
                if step % 5 == 0 {
                    ring.pop();
                    list.pop_front();
                }
                assert_eq!(ring.count() as usize, list.len());
                // From the newest to the oldest and back: the remembered place serves both ways.
                for index in (0..list.len()).rev().chain(0..list.len()) {
                    let number = ring.base() + 1 + index as u32;
                    assert_eq!(
                        ring.get(number).concat(),
                        list[index],
                        "size {size} step {step}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_line_cannot_end_within_another() {
        let mut memory = [0; 16];
        let mut ring = Ring::new(&mut memory);
        ring.push(b"a\r\nb");
        assert_eq!(ring.get(1).concat(), b"a  b");
    }
}
