//! Follows the chain of records through one segment up to its end.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use tidemill_base::number::Lsn;

use super::disk::{Disk, DiskFile};
use super::error::JournalError;
use super::findings::{End, Piece, Terms};
use super::format::{ALIGN, HEAD_BYTES, RecordHead};
use super::salvage::next_whole;
use super::window::Window;

/// A record on the walk.
pub(super) struct Found<'a> {
    pub(super) segment: &'a Arc<str>,
    pub(super) offset: u64,
    pub(super) head: RecordHead,
    /// Head and payload.
    pub(super) record: &'a [u8],
}

impl Found<'_> {
    pub(super) fn payload(&self) -> Cow<'_, [u8]> {
        self.head.payload(self.record)
    }
}

/// The end of a walk through one segment.
pub(super) struct Walked {
    pub(super) end: End,
    /// Sectors that could not be read.
    pub(super) unreadable: u64,
    /// The reason why the chain may not end there: the next record may be in a part that cannot be
    /// read.
    pub(super) unclear: Option<JournalError>,
}

/// Follows the chain through one segment to its end.
///
/// # Errors
/// When the next record cannot be read, unless `lenient` takes that for zeros, or `visit` fails.
pub(super) fn walk<D: Disk>(
    disk: &D,
    piece: &Piece,
    lenient: bool,
    visit: impl FnMut(&Found<'_>) -> Result<(), JournalError>,
) -> Result<End, JournalError> {
    let terms = Terms {
        identity: None,
        from_lsn: Lsn::ZERO,
        state_lsn: Lsn::ZERO,
        lenient,
        in_next: Lsn::MAX,
    };
    let walked = walk_past(disk, piece, &terms, &mut Vec::new(), visit)?;
    walked.unclear.map_or(Ok(walked.end), Err)
}

/// Like [`walk`], leniently, and past unreadable records up to `state_lsn`, where the next segment begins with
/// record `in_next`.
pub(super) fn walk_over<D: Disk>(
    disk: &D,
    piece: &Piece,
    (state_lsn, in_next): (Lsn, Lsn),
    visit: impl FnMut(&Found<'_>) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    let terms = Terms {
        identity: None,
        from_lsn: Lsn::ZERO,
        state_lsn,
        lenient: true,
        in_next,
    };
    walk_past(disk, piece, &terms, &mut Vec::new(), visit).map(drop)
}

/// Like [`walk`], and past unreadable records that hold nothing but pending rows: those go to
/// `lost`. Records from `Terms::in_next` on stand in the next segment: whatever bears such a number here is
/// a leftover.
pub(super) fn walk_past<D: Disk>(
    disk: &D,
    piece: &Piece,
    terms: &Terms,
    lost: &mut Vec<(Lsn, Lsn)>,
    mut visit: impl FnMut(&Found<'_>) -> Result<(), JournalError>,
) -> Result<Walked, JournalError> {
    let Piece { name, header, .. } = piece;
    let failed = || JournalError::failed("reading", name);
    let file = disk.open(name).map_err(failed())?;
    let mark = header.identity.mark;
    let mut window = Window::new(&file, terms.lenient).map_err(failed())?;
    let mut end = End::before_all(header);
    let mut unclear = None;
    loop {
        let is_needed = end.next_lsn > terms.state_lsn;
        // A place that cannot be read must not pass for the end of what is needed.
        window.set_lenient(terms.lenient || !is_needed);
        let next = match next(&end, &mut window, mark) {
            Ok(next) => next,
            Err(error) => {
                unclear = Some(failed()(error));
                break;
            }
        };
        if let Some((head, record)) = next {
            visit(&Found {
                segment: name,
                offset: end.offset,
                head,
                record,
            })?;
            end = end.behind(&head);
            continue;
        }
        if is_needed || end.next_lsn >= terms.in_next {
            break;
        }
        let most = terms.state_lsn.saturating_add(1).min(terms.in_next - 1);
        let bounds = (end.next_lsn + 1, most);
        let behind = next_whole(&mut window, end.offset + ALIGN, mark, bounds);
        let Some((offset, head)) = behind.map_err(failed())? else {
            break;
        };
        lost.push((end.next_lsn, head.lsn - 1));
        end = End::before(offset, &head);
    }
    Ok(Walked {
        end,
        unreadable: window.unreadable(),
        unclear,
    })
}

/// The record that continues the chain. What an earlier use of the segment left there instead is not
/// asked for, so a sector in it that cannot be read does no harm.
fn next<'w, F: DiskFile>(
    end: &End,
    window: &'w mut Window<'_, F>,
    mark: u32,
) -> io::Result<Option<(RecordHead, &'w [u8])>> {
    let head = RecordHead::decode(window.get(end.offset, HEAD_BYTES)?, mark);
    if head.is_some_and(|head| end.is_followed_by(&head)) {
        window.record(end.offset, mark)
    } else {
        Ok(None)
    }
}
