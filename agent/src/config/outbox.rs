//! Limits of the rows that wait for a destination: size, age, and the treatment of rows beyond
//! them.

use serde::Deserialize;
use toml::Spanned;

use super::check::Table;
use tidemill_base::text::Size;

/// Bounds of each lane of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Bytes that may wait.
    pub bytes: u64,
    /// Longest wait of a row, in milliseconds.
    pub age_ms: u64,
    /// Rows that may wait; any number when `None`.
    pub count: Option<u64>,
    /// Treatment of a new row at the bound of bytes or count.
    pub when_full: WhenFull,
}

impl OutboxLimits {
    /// Defaults of a destination without outbox settings.
    pub const DESTINATION: Self = Self {
        bytes: 256 << 20,
        age_ms: 7 * 24 * 3_600_000,
        count: None,
        when_full: WhenFull::DropOldest,
    };

    /// Limits of the lanes to the local broker, which is seldom away for long.
    pub const LOCAL: Self = Self {
        bytes: 64 << 20,
        ..Self::DESTINATION
    };
}

/// Treatment of a row that finds no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The oldest rows make room, and a gap record lists them.
    DropOldest,
    /// The new row itself is dropped.
    DropNewest,
    /// Sensors get no acknowledgements until there is room.
    Block,
}

/// The keys of an `outbox` table of one destination.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutboxTable {
    bytes: Option<Spanned<Size>>,
    age: Option<Spanned<String>>,
    count: Option<Spanned<u64>>,
    when_full: Option<WhenFull>,
}

/// Below this a lane could not hold two messages of ordinary size.
const BYTES_MIN: u64 = 64 << 10;
const BYTES_MAX: u64 = 1 << 40;
const AGE_MS_MAX: u64 = 3_660 * 24 * 3_600_000;

impl OutboxTable {
    /// Checks the table, with `default` for what it leaves out.
    pub(super) fn checked(&self, table: &Table<'_>, default: OutboxLimits) -> OutboxLimits {
        let name = format!("{}.outbox", table.name);
        let table = Table {
            name: &name,
            ..*table
        };
        let bytes = BYTES_MIN..=BYTES_MAX;
        let outside = "lies between 1s and 3660d";
        let age = self.age.as_ref();
        let age = table.duration("age", age, 1_000..=AGE_MS_MAX, default.age_ms, outside);
        let count = self.count.as_ref();
        OutboxLimits {
            bytes: table.size("bytes", self.bytes.as_ref(), bytes, default.bytes),
            age_ms: u64::try_from(age.as_millis()).unwrap_or(AGE_MS_MAX),
            count: count.map(|_| table.number("count", count, 1..=1_u64 << 40, 1)),
            when_full: self.when_full.unwrap_or(default.when_full),
        }
    }
}
