//! Reads records back while others are appended: rows of lanes that wait for days, and what people ask
//! for who look. It opens files of its own and sees durable records only.

use std::collections::VecDeque;
use std::sync::Arc;

use tidemill_base::number::Lsn;

use super::Shared;
use super::disk::Disk;
use super::error::JournalError;
use super::findings::Piece;
use super::format::HEADER_BYTES;
use super::window::Window;

/// Places remembered, so that sequential reads do not begin at the start of a segment: more than
/// there are lanes that read at the same time.
const PLACES_MAX: usize = 32;

/// Reads a journal that somebody else writes. A clone reads on its own.
pub struct Reader<D: Disk> {
    disk: D,
    shared: Arc<Shared>,
    mark: u32,
    /// Positions of records likely to be read next, the most recent last.
    places: VecDeque<Place>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    lsn: Lsn,
    /// First LSN and salt of the segment: its name may refer to another one by now.
    segment: (Lsn, u64),
    offset: u64,
}

/// The records to read from one segment.
struct Part {
    piece: Piece,
    from_lsn: Lsn,
    last_lsn: Lsn,
}

impl<D: Disk> Clone for Reader<D> {
    fn clone(&self) -> Self {
        Self::new(self.disk.clone(), Arc::clone(&self.shared), self.mark)
    }
}

impl<D: Disk> Reader<D> {
    pub(super) fn new(disk: D, shared: Arc<Shared>, mark: u32) -> Self {
        Self {
            disk,
            shared,
            mark,
            places: VecDeque::new(),
        }
    }

    pub(super) fn disk(&self) -> &D {
        &self.disk
    }

    /// The segments of the chain, and the highest LSN on the medium.
    pub(super) fn pieces(&self) -> (Vec<Piece>, Lsn) {
        let positions = self.shared.lock();
        let pieces = positions.pieces.iter().cloned().collect();
        (pieces, positions.durable_lsn)
    }

    /// The highest LSN that can be read.
    pub fn durable_lsn(&self) -> Lsn {
        self.shared.lock().durable_lsn
    }

    /// The oldest record there is, or the next one if there is none.
    pub fn first_lsn(&self) -> Lsn {
        self.shared.lock().first_lsn()
    }

    /// Records from `from_lsn` on (this one included) as far as they are durable, in order: payloads of
    /// up to `max_bytes` together, but one record at least. Nothing if there is none yet.
    ///
    /// # Errors
    /// When the journal begins behind `from_lsn`, a record cannot be read, or the disk fails.
    pub fn read(
        &mut self,
        from_lsn: Lsn,
        max_bytes: usize,
    ) -> Result<Vec<(Lsn, Vec<u8>)>, JournalError> {
        let mut records = Vec::new();
        let mut left = max_bytes;
        let mut lsn = from_lsn;
        while let Some(part) = self.part(lsn)? {
            let read = self.read_part(&part, &mut left, &mut records);
            if let Err(error) = read {
                // It may have been given up and used again meanwhile: then this says so instead.
                self.part(lsn)?;
                return Err(error);
            }
            lsn = records.last().map_or(lsn, |(last, _)| *last + 1);
            if left == 0 || lsn <= part.last_lsn {
                break;
            }
        }
        Ok(records)
    }

    /// The segment of record `lsn`; `None` if the record is not durable yet.
    fn part(&self, lsn: Lsn) -> Result<Option<Part>, JournalError> {
        let positions = self.shared.lock();
        let durable_lsn = positions.durable_lsn;
        let first = positions.first_lsn();
        if lsn < first {
            return Err(JournalError::Gap { wanted: lsn, first });
        }
        let pieces = &positions.pieces;
        let behind = pieces.partition_point(|piece| piece.header.first_lsn <= lsn);
        let piece = behind.checked_sub(1).and_then(|at| pieces.get(at));
        let next = pieces.get(behind).map(|piece| piece.header.first_lsn);
        Ok(piece.filter(|_| lsn <= durable_lsn).map(|piece| Part {
            piece: piece.clone(),
            from_lsn: lsn,
            last_lsn: next.map_or(durable_lsn, |next| durable_lsn.min(next - 1)),
        }))
    }

    fn read_part(
        &mut self,
        part: &Part,
        left: &mut usize,
        records: &mut Vec<(Lsn, Vec<u8>)>,
    ) -> Result<(), JournalError> {
        let name = &part.piece.name;
        let failed = || JournalError::failed("reading", name);
        let file = self.disk.open(name).map_err(failed())?;
        let mut window = Window::new(&file, false).map_err(failed())?;
        let (mut lsn, mut offset) = self.place(part);
        while lsn <= part.last_lsn && (*left > 0 || records.is_empty()) {
            let record = window.record(offset, self.mark).map_err(failed())?;
            let Some((head, record)) = record.filter(|(head, _)| head.lsn == lsn) else {
                return Err(JournalError::Corrupt {
                    segment: name.to_string(),
                    offset,
                    lsn,
                    witness: "it was on disk before".to_owned(),
                });
            };
            if lsn >= part.from_lsn {
                let payload = head.payload(record);
                if payload.len() > *left && !records.is_empty() {
                    *left = 0;
                    break;
                }
                *left = left.saturating_sub(payload.len());
                records.push((lsn, payload.into_owned()));
            }
            lsn += 1;
            offset += head.size();
        }
        self.remember(part, lsn, offset);
        Ok(())
    }

    /// A place at or before the first record asked for. One that is remembered is forgotten: the
    /// reading goes on from another one.
    fn place(&mut self, part: &Part) -> (Lsn, u64) {
        let header = &part.piece.header;
        let segment = (header.first_lsn, header.salt);
        let known = self
            .places
            .iter()
            .enumerate()
            .filter(|(_, place)| place.segment == segment && place.lsn <= part.from_lsn);
        let best = known.max_by_key(|(_, place)| place.lsn).map(|(at, _)| at);
        let place = best.and_then(|at| self.places.remove(at));
        place.map_or((header.first_lsn, HEADER_BYTES as u64), |place| {
            (place.lsn, place.offset)
        })
    }

    fn remember(&mut self, part: &Part, lsn: Lsn, offset: u64) {
        let header = &part.piece.header;
        if self.places.len() == PLACES_MAX {
            self.places.pop_front();
        }
        self.places.push_back(Place {
            lsn,
            segment: (header.first_lsn, header.salt),
            offset,
        });
    }
}
