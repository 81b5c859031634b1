//! The thread that owns the journal, over a disk that is full or fails.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use super::*;
use crate::{Appended, Writer, WriterState};
use tidemill_base::heartbeat::Heartbeats;
use tidemill_base::number::Lsn;

/// A thread over `disk`, and a channel that hears every wake-up.
fn writer(disk: &ModelDisk) -> (Writer<ModelDisk>, Arc<WriterState>, Receiver<()>) {
    let (journal, _) = open(disk, 1, Lsn::ZERO).unwrap();
    let (sender, woken) = sync_channel(1);
    let writer = Writer::start(journal, Heartbeats::default().pulse("journal"), move || {
        let _ = sender.try_send(());
    })
    .unwrap();
    let state = writer.state();
    (writer, state, woken)
}

fn wait(woken: &Receiver<()>, until: impl Fn() -> bool) {
    while !until() {
        woken.recv().unwrap();
    }
}

fn append(writer: &Writer<ModelDisk>, lsn: Lsn, bytes: Vec<u8>) {
    let mut bytes = bytes;
    loop {
        match writer.append(lsn, bytes) {
            Appended::Taken => return,
            Appended::Full(back) => bytes = back,
            Appended::Ended => panic!("ended"),
        }
        std::thread::yield_now();
    }
}

#[test]
fn what_is_handed_over_becomes_durable() {
    let disk = ModelDisk::default();
    let (writer, state, woken) = writer(&disk);
    for lsn in 1..=200 {
        append(&writer, Lsn::new(lsn), lsn.to_le_bytes().to_vec());
    }
    wait(&woken, || state.durable_lsn() == Lsn::new(200));
    let read = writer.reader().read(Lsn::new(200), 1).unwrap();
    assert_eq!(read, [(Lsn::new(200), 200u64.to_le_bytes().to_vec())]);
    let latencies = state.latencies();
    assert_eq!(latencies.count, 200);
    assert!(latencies.max_us >= latencies.mean_us());
    assert_eq!(writer.stop().unwrap(), Lsn::new(200));
    assert!(state.has_ended() && state.failure().is_none());
    disk.crash(3);
    assert_eq!(open(&disk, 2, Lsn::ZERO).unwrap().1.len(), 200);
}

#[test]
fn what_waits_is_written_before_the_thread_ends() {
    let disk = ModelDisk::default();
    let (writer, _, _) = writer(&disk);
    for lsn in 1..=50 {
        append(&writer, Lsn::new(lsn), vec![1; 300]);
    }
    assert_eq!(writer.stop().unwrap(), Lsn::new(50));
}

#[test]
fn a_full_disk_stalls_the_thread_until_there_is_room() {
    let disk = ModelDisk::default();
    disk.set_room(Some(1));
    let (writer, state, woken) = writer(&disk);
    for lsn in 1..=6 {
        append(&writer, Lsn::new(lsn), vec![lsn as u8; 1000]);
    }
    wait(&woken, || state.is_stalled());
    assert_eq!(
        state.durable_lsn(),
        Lsn::new(3),
        "what found room is durable"
    );
    // The channel takes no more than its limit meanwhile, and its sender is not held up.
    let refused = (7..).find(|lsn| writer.append(Lsn::new(*lsn), vec![0; 1000]) != Appended::Taken);
    let refused = refused.unwrap();
    assert!(state.is_stalled() && refused < 80);
    disk.set_room(None);
    wait(&woken, || state.durable_lsn() == Lsn::new(refused - 1));
    assert!(!state.is_stalled());
    append(&writer, Lsn::new(refused), vec![1]);
    assert_eq!(writer.stop().unwrap(), Lsn::new(refused));
}

#[test]
fn room_made_by_recycling_ends_a_stall() {
    let disk = ModelDisk::default();
    disk.set_room(Some(2));
    let (writer, state, woken) = writer(&disk);
    for lsn in 1..=8 {
        append(&writer, Lsn::new(lsn), vec![lsn as u8; 1000]);
    }
    wait(&woken, || state.is_stalled());
    assert_eq!(
        (state.durable_lsn(), state.first_lsn()),
        (Lsn::new(6), Lsn::new(1))
    );
    writer.recycle(Lsn::new(4));
    wait(&woken, || state.durable_lsn() == Lsn::new(8));
    assert_eq!(state.first_lsn(), Lsn::new(4));
    assert_eq!(writer.stop().unwrap(), Lsn::new(8));
}

#[test]
fn a_thread_that_is_stopped_does_not_wait_for_room() {
    let disk = ModelDisk::default();
    disk.set_room(Some(0));
    let (writer, state, woken) = writer(&disk);
    append(&writer, Lsn::new(1), vec![1]);
    wait(&woken, || state.is_stalled());
    assert_eq!(writer.stop().unwrap(), Lsn::ZERO);
}

#[test]
fn a_failed_sync_ends_the_thread_with_its_reason() {
    let disk = ModelDisk::default();
    let (writer, state, woken) = writer(&disk);
    append(&writer, Lsn::new(1), vec![1]);
    wait(&woken, || state.durable_lsn() == Lsn::new(1));
    disk.fail_next_sync(1);
    append(&writer, Lsn::new(2), vec![2]);
    wait(&woken, || state.has_ended());
    assert_eq!(state.durable_lsn(), Lsn::new(1));
    let failure = state.failure().unwrap();
    assert!(matches!(*failure, JournalError::Failed { .. }));
    assert_eq!(writer.append(Lsn::new(3), vec![3]), Appended::Ended);
    assert!(
        writer
            .stop()
            .unwrap_err()
            .to_string()
            .contains("a failed sync")
    );
}

#[test]
fn a_sender_gets_back_what_is_too_much() {
    let disk = ModelDisk::default();
    disk.set_room(Some(0));
    let (writer, state, woken) = writer(&disk);
    append(&writer, Lsn::new(1), vec![1]);
    wait(&woken, || state.is_stalled());
    assert_eq!(
        writer.append(Lsn::new(2), vec![0; 8 << 20]),
        Appended::Full(vec![0; 8 << 20])
    );
    assert_eq!(writer.append(Lsn::new(2), vec![0; 8]), Appended::Taken);
}

/// A thread whose journal keeps so many segments in reserve.
fn writer_with_reserve(
    disk: &ModelDisk,
    reserve: usize,
) -> (Writer<ModelDisk>, Arc<WriterState>, Receiver<()>) {
    let settings = Settings {
        reserve,
        ..settings(1)
    };
    let journal = Journal::open(disk.clone(), settings, Lsn::ZERO, |_, _| Ok(())).unwrap();
    let (sender, woken) = sync_channel(1);
    let writer = Writer::start(journal, Heartbeats::default().pulse("journal"), move || {
        let _ = sender.try_send(());
    })
    .unwrap();
    let state = writer.state();
    (writer, state, woken)
}

#[test]
fn what_makes_room_again_finds_room_on_a_full_disk() {
    let disk = ModelDisk::default();
    disk.set_room(Some(4));
    let (writer, state, woken) = writer_with_reserve(&disk, 2);
    wait(&woken, || state.room() == 3 * SEGMENT_BYTES);
    assert!(!state.lacks_spare());
    // Whoever asks first, as the agent does, stops before the reserve is touched.
    let mut lsn = 0;
    while state.room() >= state.reserve() || !state.lacks_spare() {
        lsn += 1;
        append(&writer, Lsn::new(lsn), vec![lsn as u8; 900]);
        wait(&woken, || state.durable_lsn() == Lsn::new(lsn));
        if !state.lacks_spare() && state.room() < state.reserve() {
            wait(&woken, || {
                state.lacks_spare() || state.room() >= state.reserve()
            });
        }
    }
    assert!(
        !state.is_stalled() && state.room() > SEGMENT_BYTES,
        "{}",
        state.room()
    );
    // A record that settles rows is written all the same, and makes room.
    lsn += 1;
    append(&writer, Lsn::new(lsn), vec![0; 900]);
    wait(&woken, || state.durable_lsn() == Lsn::new(lsn));
    writer.recycle(Lsn::new(lsn));
    wait(&woken, || {
        !state.lacks_spare() && state.room() >= state.reserve()
    });
    for _ in 0..8 {
        lsn += 1;
        append(&writer, Lsn::new(lsn), vec![0; 900]);
        wait(&woken, || state.durable_lsn() == Lsn::new(lsn));
        writer.recycle(Lsn::new(lsn));
    }
    assert_eq!(writer.stop().unwrap(), Lsn::new(lsn));
}

#[test]
fn a_disk_that_is_too_small_for_a_reserve_says_so_and_keeps_what_is_there() {
    let disk = ModelDisk::default();
    disk.set_room(Some(2));
    let (writer, state, woken) = writer_with_reserve(&disk, 2);
    wait(&woken, || state.lacks_spare());
    append(&writer, Lsn::new(1), vec![1; 900]);
    wait(&woken, || state.durable_lsn() == Lsn::new(1));
    assert!(state.room() < state.reserve() && state.lacks_spare());
    // Somebody makes room, and the thread notices by itself.
    disk.set_room(None);
    wait(&woken, || {
        !state.lacks_spare() && state.room() >= state.reserve()
    });
    assert_eq!(writer.stop().unwrap(), Lsn::new(1));
}

#[test]
fn a_disk_that_asks_for_room_to_overwrite_gives_segments_up_all_the_same() {
    let disk = ModelDisk::default();
    let (writer, state, woken) = writer_with_reserve(&disk, 1);
    for lsn in 1..=40 {
        append(&writer, Lsn::new(lsn), vec![lsn as u8; 900]);
    }
    wait(&woken, || state.durable_lsn() == Lsn::new(40));
    disk.set_full_for_overwriting(true);
    writer.recycle(Lsn::new(40));
    wait(&woken, || state.first_lsn() > Lsn::new(30));
    assert!(!state.has_ended());
    disk.set_full_for_overwriting(false);
    append(&writer, Lsn::new(41), vec![1; 900]);
    wait(&woken, || state.durable_lsn() == Lsn::new(41));
    assert_eq!(writer.stop().unwrap(), Lsn::new(41));
}
