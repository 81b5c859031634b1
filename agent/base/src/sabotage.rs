//! Faults that tests build in on purpose, to show that they would be noticed. Without the feature
//! `sabotage`, which no release has, [`is`] is `false` at compile time.

/// Faults that can be built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Item 2: the connection ends at a malformed message, which the broker sends again.
    MalformedHangsUp,
    /// Item 2: each subscription identifier of a copy counts a byte too many, so that properties behind
    /// them are taken for the payload.
    IdentifiersMiscounted,
    /// Messages are acknowledged before their batch is durable.
    AckBeforeSync,
    /// Requests are answered before the commit of their effects is durable.
    AnswerBeforeSync,
    /// Emissions leave before their batch is durable.
    SendBeforeSync,
    /// An acknowledgement goes out on another connection than its message came on.
    AckAcrossEpochs,
    /// Events left by a dead connection are taken for messages of the new one.
    StaleEventsKept,
    /// No receipts are kept.
    NoReceipt,
    /// A receipt matches by packet identifier alone.
    ReceiptWithoutHash,
    /// A receipt is void as soon as its packet identifier was acknowledged.
    ReceiptDroppedById,
    /// A lane's cursor moves to the highest acknowledgement, over rows that have none.
    CursorAhead,
    /// Segments are recycled by cursors that are not durable yet.
    RecyclingOnVolatileCursor,
    /// A checkpoint is written before its LSN is durable.
    CheckpointAheadOfDurable,
    /// All lanes share one sequence.
    OneSequenceOverLanes,
    /// An HTTP batch is cut anew after a restart.
    BatchCutAnew,
    /// Records that were read back are believed to be on the medium.
    TailNotRewritten,
    /// After a failed sync the next one is believed.
    SyncErrorIgnored,
    /// A batch is not committed whole.
    HalfBatch,
    /// Item 10: a commit is one record, however long.
    CommitNotCut,
    /// Item 8: what is confirmed voids all receipts of lower events, acknowledged or not.
    ConfirmedByNumber,
    /// Item 8: a message that had no receipt when it came first gets one behind all others.
    RepeatedWithoutReceiptLast,
    /// Item 9: the broker is asked for an answer only in a flood, and by the keep-alive.
    AskOnlyInFloods,
    /// Item 14: a receipt knows one hash, so it is void where the version of MQTT changes.
    OneHash,
    /// Item 15: any number of a producer moves its mark, and the first one is its mark at once.
    AnyNumberMoves,
    /// Item 17: an HTTP exchange has one limit for all of it, however much it moves.
    ExchangeInOneGo,
    /// Item 18: a row that an HTTP endpoint refuses alone is dead at once, though it refuses all.
    RefusalIsVerdict,
    /// Item 18: the oldest dead letter makes room, whatever its cause.
    ShelfWithoutShares,
    /// Item 7: state databases keep long values, sync only sled's log before their mark is set, and are
    /// believed whatever they hold.
    PondNotDurable,
    /// Item 5: rows that cannot be read when their chunk moves still count as waiting.
    MovedUncounted,
    /// Item 5: rows that cannot be read are tried for ever.
    UnreadableForEver,
    /// Item 11: nothing is kept in reserve, and the mill does not know of the disk's room, so what is taken
    /// in may leave none for the checkpoint that would make room.
    NothingInReserve,
    /// Item 11: rows that keep the disk full where they stand are written anew, and then wait for a commit
    /// that nothing hurries.
    MovedLazily,
    /// Item 13: rows age by the wall clock.
    AgeByWallClock,
    /// The cursor of a pane that closes stands at the last key from the first one on.
    PaneCursorAhead,
    /// The cursor of a pane that closes stands in no commit.
    PaneCursorNotJournalled,
    /// A pane that was closing begins anew after a start.
    PaneFiredTwice,
}

#[cfg(feature = "sabotage")]
mod active {
    use super::Sabotage;
    use std::cell::Cell;

    thread_local! {
        static ACTIVE: Cell<Option<Sabotage>> = const { Cell::new(None) };
    }

    /// Breaks this thread's agent in one way, or mends it.
    pub fn set(fault: Option<Sabotage>) {
        ACTIVE.set(fault);
    }

    /// `true` if this fault is active.
    pub fn is(fault: Sabotage) -> bool {
        ACTIVE.get() == Some(fault)
    }
}

#[cfg(feature = "sabotage")]
pub use active::{is, set};

/// `false`: this build has no faults.
#[cfg(not(feature = "sabotage"))]
#[inline(always)]
pub const fn is(_: Sabotage) -> bool {
    false
}
