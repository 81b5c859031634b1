use super::*;

fn fingerprint(content: u64) -> Fingerprint {
    let hash = content.into();
    Fingerprint { hash, content }
}

/// Receipts as they were made over MQTT 5 on an earlier connection: identifier, content, event.
fn kept(receipts: impl IntoIterator<Item = (u16, u64, u64)>) -> Receipts {
    let mut made = Receipts::restore(1, []);
    made.reconnected(Version::V5);
    for (packet, content, in_seq) in receipts {
        made.insert(packet, fingerprint(content), in_seq);
    }
    made.reconnected(Version::V5);
    made
}

fn delivery(packet: u16, dup: bool, content: u64) -> Delivery {
    Delivery {
        epoch: 1,
        packet,
        dup,
        fingerprint: fingerprint(content),
    }
}

impl Receipts {
    fn repeats(&mut self, packet: u16, content: u64) -> Option<u64> {
        self.meets(&delivery(packet, true, content)).applied
    }

    fn events(&self) -> Vec<u64> {
        self.iter().map(|receipt| receipt.in_seq).collect()
    }
}

#[test]
fn only_the_same_content_under_the_same_identifier_was_applied() {
    let mut receipts = kept([(5, 77, 1), (6, 78, 2)]);
    assert_eq!(receipts.repeats(5, 78), None);
    assert_eq!(receipts.repeats(7, 77), None);
    assert_eq!(receipts.repeats(5, 77), Some(1));
    assert_eq!(receipts.repeats(6, 78), Some(2));
}

#[test]
fn what_is_sent_again_comes_in_order() {
    let mut receipts = kept([(5, 7, 1), (6, 8, 2)]);
    assert_eq!(receipts.repeats(6, 8), Some(2));
    assert_eq!(receipts.repeats(5, 7), None, "the broker has settled it");
    assert_eq!(receipts.repeats(6, 8), None, "once a connection");
    receipts.insert(7, fingerprint(9), 3);
    assert_eq!(receipts.repeats(7, 9), Some(3), "the broker is impatient");
    receipts.reconnected(Version::V5);
    assert_eq!((receipts.repeats(6, 8), receipts.len()), (Some(2), 2));
}

#[test]
fn a_later_message_takes_the_identifier_over() {
    let mut receipts = kept([(5, 7, 1), (5, 9, 3)]);
    assert_eq!(receipts.repeats(5, 7), None);
    assert_eq!(receipts.repeats(5, 9), Some(3));
    let (first, last) = (0, 3);
    assert_eq!(receipts.confirm(3), Some(Voided { first, last }));
    receipts.reconnected(Version::V5);
    assert_eq!((receipts.repeats(5, 9), receipts.len()), (None, 0));
}

#[test]
fn an_identifier_that_is_given_out_on_this_connection_stands_for_no_earlier_message() {
    let mut receipts = kept([(4, 1, 1), (5, 7, 2)]);
    assert_eq!(receipts.repeats(4, 1), Some(1));
    receipts.meets(&delivery(5, false, 8));
    receipts.insert(5, fingerprint(8), 3);
    assert_eq!(receipts.repeats(5, 7), None);
    assert_eq!(receipts.repeats(5, 8), Some(3));
}

#[test]
fn identifiers_that_were_given_out_twice_are_told_apart() {
    let mut receipts = kept((1..=70_000).map(|n| ((n % 65_535) as u16, n % 3, n)));
    // The broker has read the acknowledgements of the first six.
    for n in 7..=70_000 {
        assert_eq!(receipts.repeats((n % 65_535) as u16, n % 3), Some(n));
    }
    assert_eq!(receipts.repeats((70_001 % 65_535) as u16, 2), None);
    assert!(receipts.confirm(69_999).is_some());
    assert_eq!((receipts.len(), receipts.latest.len()), (1, 0));
}

#[test]
fn an_identifier_that_comes_back_soon_was_settled_and_one_that_comes_late_was_not() {
    for (events, known) in [(ROUND_EVENTS - 1, None), (ROUND_EVENTS, Some(1))] {
        let mut receipts = kept([(5, 7, 1), (5, 9, 1 + events)]);
        assert_eq!(receipts.repeats(5, 7), known, "{events} events later");
    }
}

#[test]
fn where_the_broker_begins_tells_what_was_settled() {
    let void = |first, last| Some(Voided { first, last });
    let mut receipts = kept([(5, 7, 1), (6, 8, 2)]);
    let met = receipts.meets(&delivery(9, false, 9));
    assert_eq!((met.applied, met.voided), (None, void(0, 2)));
    assert_eq!(receipts.meets(&delivery(9, false, 9)).voided, None);
    let mut receipts = kept([(5, 7, 1), (6, 8, 2)]);
    let met = receipts.meets(&delivery(6, true, 8));
    assert_eq!((met.applied, met.voided), (Some(2), void(0, 1)));
    // One that had no receipt stands before them.
    let mut receipts = kept([(5, 7, 1), (6, 8, 2)]);
    assert_eq!(receipts.repeats(4, 4), None);
    assert_eq!(receipts.insert(4, fingerprint(4), 3).before, 1);
    let met = receipts.meets(&delivery(9, false, 9));
    assert_eq!((met.voided, receipts.events()), (void(1, 2), vec![3]));
}

#[test]
fn a_new_session_knows_nothing() {
    let mut receipts = kept([(5, 77, 9)]);
    receipts.renew(2);
    assert_eq!((receipts.repeats(5, 77), receipts.generation()), (None, 2));
}

#[test]
fn receipts_stand_in_the_order_of_the_broker_and_are_confirmed_in_it() {
    let mut receipts = kept([(5, 7, 1), (6, 8, 2)]);
    assert_eq!(receipts.repeats(4, 4), None);
    receipts.insert(4, fingerprint(4), 3);
    assert_eq!(receipts.repeats(5, 7), Some(1));
    receipts.reconnected(Version::V5);
    assert_eq!(receipts.events(), [3, 1, 2]);
    for (packet, content, event) in [(4, 4, 3), (5, 7, 1), (6, 8, 2)] {
        assert_eq!(receipts.repeats(packet, content), Some(event));
    }
    receipts.confirm(3);
    assert_eq!(receipts.events(), [1, 2], "the highest number is not all");
    assert_eq!(receipts.confirm(3), None);
    receipts.confirm(1);
    assert_eq!(receipts.events(), [2]);
}

#[test]
fn one_that_comes_again_behind_new_ones_is_confirmed_behind_them() {
    let mut receipts = kept([(5, 7, 1), (6, 8, 2)]);
    assert_eq!(receipts.repeats(5, 7), Some(1));
    receipts.meets(&delivery(9, false, 9));
    receipts.insert(9, fingerprint(9), 3);
    let met = receipts.meets(&delivery(6, true, 8));
    assert_eq!((met.applied, met.moved.unwrap().before), (Some(2), 2));
    receipts.confirm(3);
    assert_eq!(receipts.events(), [2]);
}

#[test]
fn another_version_of_mqtt_knows_a_message_by_topic_and_payload() {
    let with_properties = |hash| Fingerprint { hash, content: 7 };
    let copy = |hash| Delivery {
        fingerprint: with_properties(hash),
        ..delivery(5, true, 0)
    };
    for (spoken, hash, applied) in [
        (Version::V5, 70, Some(1)),
        (Version::V5, 71, None),
        (Version::V311, 7, Some(1)),
    ] {
        let mut receipts = kept([]);
        receipts.insert(5, with_properties(70), 1);
        receipts.reconnected(spoken);
        assert_eq!(receipts.meets(&copy(hash)).applied, applied, "{spoken}");
        // Back at its own version it is known by all of it again.
        receipts.reconnected(Version::V5);
        assert_eq!(receipts.meets(&copy(71)).applied, None);
        assert_eq!(receipts.meets(&copy(70)).applied, Some(1));
    }
    let old = Receipt {
        packet: 5,
        hash: 70,
        content: 70,
        spoken: None,
        in_seq: 1,
        before: 0,
    };
    for spoken in [Version::V5, Version::V311] {
        let mut receipts = Receipts::restore(1, [old]);
        receipts.reconnected(spoken);
        assert_eq!(receipts.meets(&copy(70)).applied, Some(1), "{spoken}");
    }
}

#[test]
fn what_is_written_down_gives_the_same_receipts() {
    let mut random = 7_u64;
    let mut draw = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) % below
    };
    let mut live = Receipts::default();
    let mut replayed = Receipts::default();
    live.reconnected(Version::V5);
    let (mut written, mut voided, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    for in_seq in 1..=20_000 {
        match draw(20) {
            0 => {
                live.reconnected(Version::V5);
                waiting.clear();
            }
            1 if !waiting.is_empty() => {
                let count = 1 + draw(waiting.len() as u64) as usize;
                let last = waiting.drain(..count).next_back();
                voided.extend(last.and_then(|last| live.confirm(last)));
            }
            2 => {
                for receipt in written.drain(..) {
                    replayed.take_up(receipt);
                }
                voided.drain(..).for_each(|void| replayed.void(void));
                assert_eq!(live.events(), replayed.events(), "at event {in_seq}");
            }
            _ => {
                let (packet, dup) = (draw(40) as u16, draw(2) == 0);
                let met = live.meets(&delivery(packet, dup, draw(2)));
                voided.extend(met.voided);
                written.extend(met.moved);
                match met.applied {
                    Some(applied) => waiting.push(applied),
                    None => {
                        written.push(live.insert(packet, fingerprint(draw(2)), in_seq));
                        waiting.push(in_seq);
                    }
                }
            }
        }
    }
    assert!(!live.is_empty());
}
