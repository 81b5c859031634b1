//! Why the journal cannot go on, and who has to do something about it.

use std::io;
use std::path::PathBuf;

use tidemill_base::number::Lsn;

use super::disk::is_full;
use super::format::FORMAT;

/// Why the journal cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// No room for another segment: a stall. What was appended stays, and the same record may be
    /// appended again once there is room.
    #[error("no room for another {bytes} bytes of journal")]
    Full {
        /// Bytes asked for.
        bytes: u64,
    },
    /// The disk failed. Nothing more may be written: the process has to end and start anew.
    #[error("the journal's disk failed, {doing} {file}: {error}")]
    Failed {
        /// The operation that failed.
        doing: &'static str,
        /// The file it failed on.
        file: String,
        /// The error of the system.
        error: io::Error,
    },
    /// The disk failed before, and nothing was written since.
    #[error("the journal's disk failed before; the agent has to start anew")]
    FailedBefore,
    /// A record is longer than a segment.
    #[error("a record of {bytes} bytes is longer than the journal takes ({max})")]
    TooLarge {
        /// Its payload.
        bytes: usize,
        /// The longest payload.
        max: usize,
    },
    /// A record that was on disk cannot be read any more.
    #[error(
        "journal segment {segment} is damaged at byte {offset}: record {lsn} cannot be read, though \
         {witness}; nothing was changed. `tidemill inspect journal` shows what is there, \
         `tidemill repair` cuts the journal at that place and keeps what it cuts"
    )]
    Corrupt {
        /// Name of the segment.
        segment: String,
        /// Offset in the file.
        offset: u64,
        /// The first record that is missing.
        lsn: Lsn,
        /// The evidence that the record was on disk.
        witness: String,
    },
    /// The journal does not hold what the state asks for.
    #[error(
        "record {wanted} is needed, but the journal begins with record {first}; put the files back \
         that were there, or let `tidemill repair` go on without"
    )]
    Gap {
        /// The record asked for.
        wanted: Lsn,
        /// The first record there is, or the first one ever if there is none.
        first: Lsn,
    },
    /// Written by another version of Tidemill.
    #[error("journal segment {segment} has format {found}, this version reads format {FORMAT}")]
    Format {
        /// Name of the segment.
        segment: String,
        /// Its format.
        found: u8,
    },
    /// The segments belong to another data directory.
    #[error(
        "journal segment {segment} belongs to incarnation {found}, this data directory is \
         {expected}; put the journal back that belongs here"
    )]
    Incarnation {
        /// Name of the segment.
        segment: String,
        /// The content that was found.
        found: String,
        /// The content that was expected.
        expected: String,
    },
    /// The file beside the journal that says which incarnation it is cannot be used.
    #[error("{path}: {what}")]
    Identity {
        /// The file.
        path: PathBuf,
        /// The problem.
        what: String,
    },
    /// A repair was begun and not finished.
    #[error("a repair of {0} was interrupted; run `tidemill repair` again")]
    RepairUnfinished(PathBuf),
    /// Whoever read the records back could not use one.
    #[error("record {lsn} of the journal cannot be used: {error}")]
    Replay {
        /// The record.
        lsn: Lsn,
        /// The problem with it.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl JournalError {
    /// For `map_err` at one step: no room is a stall, anything else the end.
    pub(super) fn at<'a>(
        doing: &'static str,
        file: &'a str,
        bytes: u64,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |error| {
            if is_full(&error) {
                return Self::Full { bytes };
            }
            Self::failed(doing, file)(error)
        }
    }

    /// For `map_err` at one step that asks for no room.
    pub(super) fn failed<'a>(
        doing: &'static str,
        file: &'a str,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        let file = file.to_owned();
        move |error| Self::Failed { doing, file, error }
    }

    /// `true` if the error ends by itself once somebody frees space.
    pub fn is_stall(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}
