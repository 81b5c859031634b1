//! Exactly once: a row's effect and the highest number of its lane are stored in one transaction.
//! Whoever sends a row again finds its number taken.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::effect;
use crate::row::{Lane, Row};

/// The database.
pub struct Store {
    database: Connection,
}

/// What became of some rows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    pub new: usize,
    /// Were here already.
    pub repeated: usize,
    /// Numbers that were passed over: a gateway never does that, so somebody else took those rows.
    pub missing: i64,
}

impl Store {
    /// Opens the database, or makes it.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        let database = Connection::open(path)?;
        // What was committed must be there after a power cut: we acknowledge it. `show` may look in
        // while rows come.
        database.execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA busy_timeout = 10000;
             CREATE TABLE IF NOT EXISTS lanes (
               gateway     TEXT NOT NULL,
               incarnation TEXT NOT NULL,
               lane        TEXT NOT NULL,
               highest     INTEGER NOT NULL,
               PRIMARY KEY (gateway, incarnation, lane)
             ) STRICT;",
        )?;
        effect::prepare(&database)?;
        Ok(Self { database })
    }

    /// Applies rows, in the order in which they came, all of them or none. Once this returns they
    /// may be acknowledged.
    pub fn apply(&mut self, rows: &[Row]) -> rusqlite::Result<Applied> {
        let transaction = self.database.transaction()?;
        let mut applied = Applied::default();
        for row in rows {
            let highest = highest(&transaction, &row.lane)?;
            if highest.is_some_and(|highest| row.seq <= highest) {
                applied.repeated += 1;
                continue;
            }
            // A receiver that is new to a lane begins wherever the lane is.
            applied.missing += highest.map_or(0, |highest| row.seq - highest - 1);
            effect::apply(&transaction, row)?;
            set_highest(&transaction, row)?;
            applied.new += 1;
        }
        transaction.commit()?;
        Ok(applied)
    }

    /// What was counted, and how far each lane is.
    pub fn shown(&self) -> rusqlite::Result<String> {
        let mut text = effect::shown(&self.database)?;
        let mut statement = self.database.prepare(
            "SELECT gateway || ' ' || lane || ' ' || incarnation, highest FROM lanes ORDER BY 1",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (lane, highest): (String, i64) = (row.get(0)?, row.get(1)?);
            text.push_str(&format!("lane {lane}: {highest} rows\n"));
        }
        Ok(text)
    }
}

fn highest(transaction: &Transaction<'_>, lane: &Lane) -> rusqlite::Result<Option<i64>> {
    transaction
        .prepare_cached(
            "SELECT highest FROM lanes WHERE gateway = ?1 AND incarnation = ?2 AND lane = ?3",
        )?
        .query_row(params![lane.gateway, lane.incarnation, lane.name], |row| {
            row.get(0)
        })
        .optional()
}

fn set_highest(transaction: &Transaction<'_>, row: &Row) -> rusqlite::Result<()> {
    let lane = &row.lane;
    transaction
        .prepare_cached(
            "INSERT INTO lanes VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (gateway, incarnation, lane) DO UPDATE SET highest = ?4",
        )?
        .execute(params![lane.gateway, lane.incarnation, lane.name, row.seq])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(lane: &str, incarnation: &str, seq: i64) -> Row {
        Row {
            lane: Lane {
                gateway: "gw".to_owned(),
                incarnation: incarnation.to_owned(),
                name: lane.to_owned(),
            },
            seq,
            topic: "t".to_owned(),
            payload: seq.to_string().into_bytes(),
        }
    }

    #[test]
    fn each_row_counts_once_also_after_the_database_was_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("database");
        let mut store = Store::open(&path).unwrap();
        let applied = store.apply(&[row("a", "0", 1), row("a", "0", 2), row("a", "0", 1)]);
        let expected = |new, repeated, missing| Applied {
            new,
            repeated,
            missing,
        };
        assert_eq!(applied.unwrap(), expected(2, 1, 0));
        drop(store);
        let mut store = Store::open(&path).unwrap();
        for (rows, expected) in [
            (vec![row("a", "0", 2), row("a", "0", 3)], expected(1, 1, 0)),
            // Another lane and another incarnation count for themselves.
            (vec![row("b", "0", 2), row("a", "1", 1)], expected(2, 0, 0)),
            (vec![row("a", "0", 6)], expected(1, 0, 2)),
        ] {
            assert_eq!(store.apply(&rows).unwrap(), expected);
        }
        let shown = store.shown().unwrap();
        assert!(shown.starts_with("t: 6 messages, the last 6\n"), "{shown}");
        assert!(shown.contains("lane gw a 0: 6 rows\n"), "{shown}");
    }
}
