//! What a row is good for. This is the file to change: whatever is done here with the transaction is
//! done exactly once for each row. What reaches outside of it (mail, another database) is not.

use rusqlite::{Connection, Transaction, params};

use crate::row::Row;

/// Makes the tables of the effect.
pub fn prepare(database: &Connection) -> rusqlite::Result<()> {
    database.execute_batch(
        "CREATE TABLE IF NOT EXISTS counts (
           topic    TEXT PRIMARY KEY,
           messages INTEGER NOT NULL,
           last     BLOB NOT NULL
         ) STRICT;",
    )
}

/// Counts the row under its topic: an effect that would show if it happened twice.
pub fn apply(transaction: &Transaction<'_>, row: &Row) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO counts VALUES (?1, 1, ?2)
             ON CONFLICT (topic) DO UPDATE SET messages = messages + 1, last = ?2",
        )?
        .execute(params![row.topic, row.payload])?;
    Ok(())
}

/// What was counted, a line a topic.
pub fn shown(database: &Connection) -> rusqlite::Result<String> {
    let mut text = String::new();
    let mut statement =
        database.prepare("SELECT topic, messages, last FROM counts ORDER BY topic")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (topic, messages): (String, i64) = (row.get(0)?, row.get(1)?);
        let last: Vec<u8> = row.get(2)?;
        let last = String::from_utf8_lossy(&last);
        text.push_str(&format!("{topic}: {messages} messages, the last {last}\n"));
    }
    Ok(text)
}
