use std::collections::BTreeMap;

use super::*;
use tidemill_transport::topic::Topic;

fn row(seq: u64) -> Row {
    Row {
        seq,
        rule: "r".into(),
        topic: Topic::new("t").unwrap(),
        payload: vec![b'x'; (seq % 7) as usize].into(),
        at_ms: 0,
        made_ms: 0,
        qos: 1,
        retain: false,
    }
}

fn store(head_rows: usize) -> Store {
    let mut store = Store::default();
    store.set_bounds(Bounds {
        head_rows,
        chunk_bytes: 300,
        ..Bounds::default()
    });
    store
}

/// Everything that the store knows of, read back from a journal of `places`.
fn read_all(store: &mut Store, places: &BTreeMap<u64, Vec<u64>>) -> Vec<u64> {
    let mut found = Vec::new();
    loop {
        let head: Vec<u64> = store.after(0).map(|held| held.row.seq).collect();
        found.extend(&head);
        store.remove(0, u64::MAX);
        let Some(chunk) = store.begin_reading(None, Lsn::new(u64::MAX)) else {
            return found;
        };
        let is_there = |lsn: &u64| (chunk.lsn..=chunk.last_lsn).contains(&Lsn::new(*lsn));
        let rows = places
            .range(chunk.first..=chunk.last)
            .filter_map(|(seq, lsns)| {
                let lsn = lsns.iter().find(|lsn| is_there(lsn))?;
                Some((Lsn::new(*lsn), row(*seq)))
            })
            .collect();
        assert_eq!(store.refill(rows, |_| true), None);
    }
}

proptest::proptest! {
    #[test]
    fn rows_are_found_in_whatever_order_the_journal_has_them(
        found in proptest::collection::vec((1u64..60, 1u64..8), 1..40),
        head_rows in 1usize..12,
    ) {
        let mut all = store(head_rows);
        let mut places = BTreeMap::<u64, Vec<u64>>::new();
        let runs = found.iter().flat_map(|(first, count)| *first..first + count);
        for (lsn, seq) in (1..).zip(runs) {
            // Whatever is not known yet may still come.
            all.insert(row(seq), Lsn::new(lsn), |first, last| (last + 1).saturating_sub(first));
            places.entry(seq).or_default().push(lsn);
            let bytes: usize = places.keys().map(|seq| row_bytes(&row(*seq))).sum();
            assert_eq!((all.len(), all.bytes()), (places.len() as u64, bytes as u64));
        }
        assert!(read_all(&mut all, &places).iter().eq(places.keys()));
    }
}

#[test]
fn rows_that_follow_on_are_few_chunks() {
    let mut all = store(2);
    // Number 5 is settled.
    let waiting = |first: u64, last: u64| (first..=last).filter(|seq| *seq != 5).count() as u64;
    for seq in [1, 2, 3, 4, 6] {
        all.insert(row(seq), Lsn::new(seq), waiting);
    }
    assert_eq!(all.chunks.len(), 1);
    all.insert(row(8), Lsn::new(8), waiting);
    assert_eq!(all.chunks.len(), 2, "number 7 may still come");
    all.insert(row(7), Lsn::new(9), waiting);
    let last = all.chunks.back().unwrap();
    assert_eq!((all.chunks.len(), last.first, last.last), (2, 8, 8));
}

#[test]
fn a_chunk_in_the_middle_can_be_moved() {
    let mut all = store(1);
    for seq in 1..=20 {
        all.insert(row(seq), Lsn::new(seq), |first, last| {
            (last + 1).saturating_sub(first)
        });
    }
    let count = all.chunks.len();
    assert!(count > 3);
    for _ in 0..count {
        assert!(
            all.begin_reading(Some(Lsn::new(50)), Lsn::new(100))
                .is_some()
        );
        all.moved(Lsn::new(60), None);
    }
    assert!(
        all.begin_reading(Some(Lsn::new(50)), Lsn::new(100))
            .is_none()
    );
    assert_eq!(all.oldest_lsn(), Some(Lsn::new(1)), "the row in memory");
}
