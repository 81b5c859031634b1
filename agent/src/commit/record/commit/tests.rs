use super::super::section::SectionKind;
use super::*;
use crate::event::Version;
use crate::event::clock::{Off, Quality, Synced};
use crate::event::emission::Priority;
use crate::event::state::Due;

fn row(seq: u64, payload: &Bytes) -> Row {
    Row {
        seq,
        rule: "r".into(),
        topic: Topic::new("t").unwrap(),
        payload: payload.clone(),
        at_ms: 998,
        made_ms: if seq == 9 { 115 } else { 118 },
        qos: 1,
        retain: false,
    }
}

fn commit() -> Commit {
    let shared = Bytes::from_static(b"a payload that is shared");
    let state = KeyState {
        slots: vec![1.0],
        timers: [(1, Due { mono_ms: 2 })].into(),
        ..KeyState::default()
    };
    Commit {
        in_seq: 300,
        now: Now {
            mono_ms: 7,
            wall_ms: 1_000,
            quality: Quality::Synced,
        },
        age: Age {
            ms: 120,
            synced: Some(Synced {
                wall_ms: 1_000,
                age_ms: 120,
            }),
            open_ms: None,
        },
        offs: Some(vec![Off {
            at_ms: 5,
            off_ms: 6,
        }]),
        boot: Some(Boot {
            id: "b".into(),
            mono_ms: 6,
            off_ms: 5,
        }),
        generation: 2,
        counts: IntakeCounts {
            received: 1,
            routed: 1,
            ..IntakeCounts::default()
        },
        receipts: vec![Receipt {
            packet: 0x0102,
            hash: 0x0f,
            content: 0x0e,
            spoken: Some(Version::V5),
            in_seq: 299,
            before: 290,
        }],
        voided: vec![Voided {
            first: 0,
            last: 290,
        }],
        event_ids: vec![
            EventIdChange::Applied(EventId::Opaque(1)),
            EventIdChange::Applied(EventId::Numbered {
                producer: "p".into(),
                n: 5,
            }),
            EventIdChange::Forgotten("q".into()),
        ],
        rules: vec![RuleDelta {
            name: "r".into(),
            counts: Ledger {
                received: 1,
                dropped: [("full".into(), 1)].into(),
                ..Ledger::default()
            },
            record: Some(RuleRecord::default()),
            same_naming: true,
            keys: vec![
                ("a".into(), KeyChange::Gone),
                ("b".into(), KeyChange::Whole(state.clone())),
                (
                    "c".into(),
                    KeyChange::Entries(
                        state.clone(),
                        vec![
                            ((*b"x").into(), Some((*b"y").into())),
                            ((*b"z").into(), None),
                        ],
                    ),
                ),
            ],
        }],
        lanes: vec![LaneDelta {
            lane: Some(LaneId {
                destination: "d".into(),
                priority: Priority::High,
            }),
            rows: vec![row(9, &shared), row(10, &shared)],
            relocated: vec![],
            settled: vec![Settled {
                first: 3,
                last: 5,
                how: Settlement::Dead,
            }],
            batch: Some(Some((6, 8))),
            dropped_new: 4,
        }],
        subscriptions: Some("s".into()),
        sections: Vec::new(),
    }
}

#[test]
fn sections_stand_behind_a_commit_that_has_some() {
    let mut with = commit();
    let section = |kind| Section {
        kind: SectionKind::new(kind),
        bytes: b"xy"[..].into(),
    };
    with.sections = vec![section(1_000)];
    let mut expected = commit().encode();
    expected[0] = 5;
    // One section, its kind, its two bytes.
    expected.extend([1, 0xe8, 0x07, 2, b'x', b'y']);
    assert_eq!(with.encode(), expected);
    // Nobody knows it, but it may be skipped.
    assert_eq!(Commit::decode(&expected), Ok(commit()));
    with.sections = vec![section(1_001)];
    assert_eq!(
        Commit::decode(&with.encode()),
        Err(RecordError::Section { kind: 1_001 })
    );
}

#[test]
fn bytes_on_disk_are_stable() {
    let mut expected: Vec<u8> = Vec::new();
    #[rustfmt::skip]
    let parts: &[&[u8]] = &[
        &[4],                                     // format
        &[0xac, 0x02],                            // events taken in: 300
        &[7],                                     // monotonic time
        &[0xd0, 0x0f, 2],                         // wall time: 1000, signed; synced
        &[120, 4],                                // age clock; it is synced now
        &[1, 1, 5, 6],                            // times without power changed: one, when and how long
        &[1, 1, b'b', 6, 5],                      // boot id, when it began to count, 5 ms without power
        &[2],                                     // generation
        &[1, 1, 0, 0, 0, 0, 0],                   // received, routed, unrouted, repeated, surplus, dead, too old
        &[1],                                     // one receipt
        &[0x02, 0x01, 2 | 4 | 8],                 // its packet identifier; MQTT 5, with a second hash and a place
        &[0x0f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // its hash
        &[1],                                     // its event: 1 before the last
        &[0x0e, 0, 0, 0, 0, 0, 0, 0],             // the hash of its content
        &[9],                                     // it stands before the receipt of event 299 - 9
        &[1, 0, 0xa2, 0x02],                      // one run is void: from the start to that of event 290
        &[3],                                     // three changes of event ids
        &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // opaque
        &[1, 1, b'p', 5],                         // p:5
        &[2, 1, b'q'],                            // q is forgotten
        &[1],                                     // one rule
        &[1, b'r'],                               // its name
        &[1, 1],                                  // columns that are not 0: received, 1
        &[1, 4, b'f', b'u', b'l', b'l', 1],       // one reason for drops
        &[1, 15, 3, 0, 0, 0, 0],                  // its record: 15 bytes, format, schema
        &[0, 0, 0, 0, 0, 0, 0, 0, 0],             // no window, no open pane, no schedule
        &[2],                                     // names as before
        &[3],                                     // three keys
        &[1, b'a', 0],                            // a is gone
        &[1, b'b', 1, 37],                        // b: whole, 37 bytes
        &[2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0], // format, one slot, no entries
        &[1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // one timer, no pane
        &[1, b'c', 2, 37],                        // c: without entries, 37 bytes
        &[2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0],
        &[1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[2, 1, b'x', 1, 1, b'y', 1, b'z', 0, 0], // two changed entries: x is y, z is gone
        &[1],                                     // one lane
        &[6, b'd', b'/', b'h', b'i', b'g', b'h'], // its name
        &[2],                                     // two rows
        &[1 | 16, 18],                            // QoS 1, an age of its own; number 9, signed
        &[1, b'r', 1, b't', 4, 5, 24],            // rule, topic, 2 ms before the commit, 5 by the age clock, 24 bytes
        b"a payload that is shared",
        &[1 | 4 | 8, 2, 1, b't', 4, 0],           // same rule, the payload of the row before; number + 1
        &[0],                                     // none relocated
        &[1, 3, 2, 1],                            // one range settled: 3 to 5, dead
        &[6, 8],                                  // rows 6 to 8 are one request
        &[4],                                     // four new rows found no room
        &[1, 1, b's'],                            // subscriptions
    ];
    parts.iter().for_each(|part| expected.extend(*part));
    assert_eq!(commit().encode(), expected);
    assert_eq!(Commit::decode(&expected), Ok(commit()));
}

#[test]
fn what_the_build_before_wrote_is_read() {
    #[rustfmt::skip]
    let parts: &[&[u8]] = &[
        &[2],                // format
        &[0xac, 0x02],       // events taken in: 300
        &[7],                // monotonic time
        &[0xd0, 0x0f, 1],    // wall time: 1000, signed; restored
        &[0],                // no boot
        &[2],                // generation
        &[0xa2, 0x02],       // receipts up to event 290 are void
        &[1, 1, 0, 0, 0, 0], // received, routed, unrouted, repeated, surplus, dead
        &[1],                // one receipt
        &[0x02, 0x01],       // its packet identifier
        &[0x0f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // its hash
        &[1],                // its event: 1 before the last
        &[1, 1, 1, b'p', 5], // one event id: p:5
        &[0, 0, 0],          // no rules, lanes; subscriptions as before
    ];
    let read = Commit::decode(&parts.concat()).unwrap();
    let receipt = Receipt {
        packet: 0x0102,
        hash: 0x0f,
        content: 0x0f,
        spoken: None,
        in_seq: 299,
        before: 0,
    };
    let producer = "p".into();
    let id = EventId::Numbered { producer, n: 5 };
    assert_eq!(read.event_ids, [EventIdChange::AppliedBefore(id)]);
    let (first, last) = (0, 290);
    assert_eq!(read.receipts, [receipt]);
    assert_eq!(read.voided, [Voided { first, last }]);
    assert_eq!(
        (read.in_seq, read.generation, read.counts.routed),
        (300, 2, 1)
    );
}

#[test]
fn what_was_cut_is_refused_and_another_format_is_named() {
    let bytes = commit().encode();
    for len in 0..bytes.len() {
        assert_eq!(
            Commit::decode(&bytes[..len]),
            Err(RecordError::Damaged),
            "{len}"
        );
    }
    let mut newer = bytes.clone();
    newer[0] = 9;
    let error = Commit::decode(&newer).unwrap_err().to_string();
    assert_eq!(
        error,
        "written by a newer version of Tidemill: a record has format 9, this one reads up to 5"
    );
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(Commit::decode(&longer), Err(RecordError::Damaged));
}

#[test]
fn a_payload_that_is_passed_on_to_many_stands_there_once() {
    let payload = Bytes::from(vec![b'x'; 10_000]);
    let mut commit = Commit::default();
    commit.age.ms = 120;
    for destination in ["a", "b", "c"] {
        commit.lanes.push(LaneDelta {
            lane: Some(format!("{destination}/normal").parse().unwrap()),
            rows: vec![row(1, &payload), row(2, &payload)],
            ..LaneDelta::default()
        });
    }
    let bytes = commit.encode();
    assert!(bytes.len() < 10_200, "{}", bytes.len());
    assert_eq!(Commit::decode(&bytes), Ok(commit));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(mut bytes: Vec<u8>, flips in proptest::collection::vec(0usize..400, 0..4)) {
        bytes.insert(0, COMMIT_FORMAT);
        let _ = Commit::decode(&bytes);
        let mut real = commit().encode();
        for at in flips {
            if let Some(byte) = real.get_mut(at) {
                *byte ^= 0x21;
            }
        }
        let _ = Commit::decode(&real);
    }
}
