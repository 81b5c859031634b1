//! Records behind a place that cannot be read: found one by one, by the journal's mark and their checksums.

use std::io;

use tidemill_base::number::Lsn;

use super::disk::{Disk, DiskFile};
use super::error::JournalError;
use super::findings::Piece;
use super::format::{ALIGN, HEADER_BYTES, RecordHead};
use super::reader::Reader;
use super::window::Window;

/// Why not all that is whole was handed over.
#[derive(Debug, thiserror::Error)]
pub enum SalvageError<E> {
    /// Whoever visited the records could not use one.
    #[error("{0}")]
    Visit(E),
    /// A segment could not be opened now, which says nothing of what is in it.
    #[error(transparent)]
    Unopened(JournalError),
}

/// Bytes of the mark.
const MARK_BYTES: usize = 4;

/// The next whole record from `offset` on with an LSN in these bounds, and where it stands. What an earlier use
/// of the segment left has lower ones.
pub(super) fn next_whole<F: DiskFile>(
    window: &mut Window<'_, F>,
    mut offset: u64,
    mark: u32,
    (least, most): (Lsn, Lsn),
) -> io::Result<Option<(u64, RecordHead)>> {
    while offset + ALIGN <= window.bytes() {
        if window.get(offset, MARK_BYTES)? == mark.to_le_bytes()
            && let Some((head, _)) = window.record(offset, mark)?
            && (least..=most).contains(&head.lsn)
            && head.durable_lsn < head.lsn
        {
            return Ok(Some((offset, head)));
        }
        offset += ALIGN;
    }
    Ok(None)
}

impl<D: Disk> Reader<D> {
    /// Hands all durable records from `from_lsn` to `to_lsn` to `visit` that can be read, in order, and goes on
    /// behind those that cannot. A segment that is not there any more has none.
    ///
    /// # Errors
    /// When `visit` fails, at once; or when segments that are there could not be opened, after the others.
    pub fn read_what_is_whole<E>(
        &mut self,
        (from_lsn, to_lsn): (Lsn, Lsn),
        mut visit: impl FnMut(Lsn, &[u8]) -> Result<(), E>,
    ) -> Result<(), SalvageError<E>> {
        let mut unopened = None;
        let (pieces, durable_lsn) = self.pieces();
        let to_lsn = to_lsn.min(durable_lsn);
        let mut expected = from_lsn;
        for (number, piece) in pieces.iter().enumerate() {
            let next = pieces.get(number + 1).map(|next| next.header.first_lsn);
            let last = next.map_or(durable_lsn, |next| durable_lsn.min(next - 1));
            if last < expected || piece.header.first_lsn > to_lsn {
                continue;
            }
            let records = whole_records(self.disk(), piece, (expected, last.min(to_lsn)));
            let records = records.unwrap_or_else(|error| {
                unopened.get_or_insert(error);
                Vec::new()
            });
            for (lsn, payload) in records {
                visit(lsn, &payload).map_err(SalvageError::Visit)?;
                expected = lsn + 1;
            }
        }
        unopened.map_or(Ok(()), |error| Err(SalvageError::Unopened(error)))
    }
}

fn whole_records<D: Disk>(
    disk: &D,
    piece: &Piece,
    (first, last): (Lsn, Lsn),
) -> Result<Vec<(Lsn, Vec<u8>)>, JournalError> {
    let failed = || JournalError::failed("reading", &piece.name);
    let file = match disk.open(&piece.name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened.map_err(failed())?,
    };
    let mut window = Window::new(&file, true).map_err(failed())?;
    let mark = piece.header.identity.mark;
    let mut records = Vec::new();
    let (mut offset, mut least) = (HEADER_BYTES as u64, piece.header.first_lsn);
    while let Some((at, head)) =
        next_whole(&mut window, offset, mark, (least, last)).map_err(failed())?
    {
        (offset, least) = (at + head.size(), head.lsn + 1);
        let record = window.record(at, mark).map_err(failed())?;
        if let Some((_, record)) = record.filter(|_| head.lsn >= first) {
            records.push((head.lsn, head.payload(record).into_owned()));
        }
    }
    Ok(records)
}
