//! Bounds of the waiting rows in memory, with a destination, or moved at once. The same for every
//! gateway; tests take smaller ones, so that a few hundred rows meet every bound.

/// Bounds of each lane, and of all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Rows of a lane that are held in memory; the journal holds the others.
    pub head_rows: usize,
    /// Bytes of them.
    pub head_bytes: usize,
    /// Bytes of rows that are read back at once; what is dropped of rows on disk is dropped by such
    /// chunks.
    pub chunk_bytes: u64,
    /// Rows of a lane that are with a destination at once.
    pub handed_rows: usize,
    /// Bytes of them.
    pub handed_bytes: usize,
    /// Rows of one request to an HTTP destination: no more than are held in memory, because a request
    /// that was out when the process ended goes out whole again.
    pub request_rows: usize,
    /// Bytes of them: no more either.
    pub request_bytes: usize,
    /// Bytes of rows that one commit writes again so that their segments can be used anew.
    pub relocated_bytes: usize,
    /// Bytes of journal that may be kept for the sake of far smaller rows.
    pub pinned_bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            head_rows: 1_024,
            head_bytes: 512 << 10,
            chunk_bytes: 128 << 10,
            handed_rows: 256,
            handed_bytes: 1 << 20,
            request_rows: 256,
            request_bytes: 256 << 10,
            relocated_bytes: 256 << 10,
            pinned_bytes: 16 << 20,
        }
    }
}

impl Bounds {
    /// The same bounds for a lane whose own limits are so low that all its rows stay in memory.
    pub(super) fn holding_all(self) -> Self {
        Self {
            head_rows: usize::MAX,
            head_bytes: usize::MAX,
            ..self
        }
    }
}
