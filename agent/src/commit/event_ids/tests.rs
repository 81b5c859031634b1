use std::collections::HashSet;

use super::*;

const WINDOW: u64 = 256;

fn number(producer: &str, n: u64) -> EventId {
    EventId::Numbered {
        producer: producer.into(),
        n,
    }
}

impl EventIds {
    /// Applies the event of this name, if it is to be; returns how it stood.
    fn meet(&mut self, id: &EventId) -> Standing {
        let standing = self.standing(id);
        if standing == Standing::New {
            self.insert(id);
        }
        standing
    }

    fn meet_all(&mut self, producer: &str, numbers: impl IntoIterator<Item = u64>) {
        for n in numbers {
            assert_eq!(self.meet(&number(producer, n)), Standing::New, "{n}");
        }
    }

    fn mark(&self, producer: &str) -> Option<u64> {
        self.producers.get(producer).and_then(|known| known.mark)
    }
}

#[test]
fn ids_are_numbers_where_somebody_says_so_and_they_look_like_it() {
    let ids = EventIds::default();
    assert_eq!(ids.read("d1:7", true), number("d1", 7));
    assert_eq!(ids.read("a:b:007", true), number("a:b", 7));
    let long = format!("{}:1", "p".repeat(PRODUCER_BYTES_MAX + 1));
    let odd = [
        "7",
        ":7",
        "d1:",
        "d1:x",
        "d1:+7",
        "d1:18446744073709551616",
        &long,
    ];
    for text in odd {
        assert!(matches!(ids.read(text, true), EventId::Opaque(_)), "{text}");
    }
    assert!(matches!(ids.read("d1:7", false), EventId::Opaque(_)));
}

#[test]
fn producers_of_the_build_before_are_numbers_still() {
    let mut ids = EventIds::default();
    ids.take_up(&EventIdChange::AppliedBefore(number("d1", 4)));
    assert_eq!(ids.mark("d1"), Some(4));
    assert_eq!(ids.read("d1:7", false), number("d1", 7));
    assert!(matches!(ids.read("d2:7", false), EventId::Opaque(_)));
    let mut again = EventIds::default();
    ids.records(9)
        .into_iter()
        .for_each(|record| again.restore(record));
    assert_eq!(again.read("d1:7", false), number("d1", 7));
}

#[test]
fn numbers_are_known_once_seen_in_any_order() {
    let mut ids = EventIds::default();
    ids.meet_all("d", [999, 1_000]);
    let mut model: HashSet<u64> = [999, 1_000].into();
    let mut n: u64 = 1_000;
    for step in 0..5_000_u64 {
        n = n.wrapping_add(step * step % 7).wrapping_sub(step % 3);
        let high = model.iter().max().copied().unwrap();
        let expected = match () {
            () if n + WINDOW <= high => Standing::TooOld,
            () if model.contains(&n) => Standing::Repeated,
            () => Standing::New,
        };
        assert_eq!(ids.meet(&number("d", n)), expected, "{n}");
        model.insert(n);
    }
}

#[test]
fn one_wrong_number_silences_nobody() {
    for wrong in [u64::from(u32::MAX), u64::MAX, 65_537 + 3, 1 << 40] {
        let mut ids = EventIds::default();
        ids.meet_all("d", [1, 2, 3, wrong, 4]);
        assert_eq!(ids.mark("d"), Some(4));
        assert_eq!(ids.meet(&number("d", wrong)), Standing::Repeated);
        ids.meet_all("d", 5..50);
        assert_eq!(ids.meet(&number("d", wrong)), Standing::Repeated);
        if wrong < 70_000 {
            // The counter reaches it.
            ids.meet_all("d", 50..wrong);
            assert_eq!(ids.meet(&number("d", wrong)), Standing::Repeated);
            ids.meet_all("d", [wrong + 1]);
        }
    }
    for first in [u64::from(u32::MAX), u64::MAX, 70_000] {
        let mut ids = EventIds::default();
        ids.meet_all("d", [first, 1, 2, 3]);
        assert_eq!(ids.mark("d"), Some(3), "{first} was the first one ever");
        assert_eq!(ids.meet(&number("d", first)), Standing::Repeated);
        assert_eq!(ids.meet(&number("d", 1)), Standing::Repeated);
    }
}

#[test]
fn a_jump_is_believed_once_another_number_is_near_it() {
    for (second, mark) in [
        (100_001, Some(100_001)),
        (100_256, Some(100_256)),
        (99_744, Some(100_000)),
        (100_257, Some(2)),
        (99_743, Some(2)),
    ] {
        let mut ids = EventIds::default();
        ids.meet_all("d", [1, 2, 100_000]);
        assert_eq!(ids.mark("d"), Some(2));
        ids.meet_all("d", [second]);
        assert_eq!(ids.mark("d"), mark, "{second}");
        for n in [100_000, second] {
            let known = ids.meet(&number("d", n)) != Standing::New;
            assert!(known, "{n} after {second}");
        }
    }
    let mut ids = EventIds::default();
    ids.meet_all("d", [1, 2, 65_538]);
    assert_eq!(ids.mark("d"), Some(65_538), "no further than it may jump");
}

#[test]
fn a_counter_that_starts_anew_is_refused_until_it_is_forgotten() {
    let mut ids = EventIds::default();
    ids.meet_all("d", 1_000..1_300);
    for n in 1..=3 {
        let id = number("d", n);
        assert_eq!(ids.meet(&id), Standing::TooOld);
        assert_eq!(ids.refuse(&id, true, 5 + n), (n == 1).then_some(1_299));
    }
    let told = ids.producers().next().unwrap().refused.unwrap();
    let refused = Refused {
        too_old: 3,
        repeated: 0,
        last: 3,
        since_mono_ms: 6,
    };
    assert!(told == refused && told.is_suspicious());
    // Under another name it counts at once.
    ids.meet_all("d/boot2", 1..10);
    assert!(ids.forget("d") && !ids.forget("d"));
    ids.meet_all("d", 4..300);
    assert_eq!(ids.producers().next().unwrap().refused, None);
}

#[test]
fn a_forgotten_producer_counts_from_its_very_first_number() {
    let mut ids = EventIds::default();
    for first in [1, 500] {
        ids.meet_all("d", first..first + 300);
        assert!(ids.forget("d"));
        ids.meet_all("d", first..first + 300);
        assert!(ids.forget("d"));
        // One that stands apart is forgotten with its producer.
        ids.meet_all("d", [first]);
        assert!(ids.forget("d"));
    }
    assert_eq!(ids.opaque_len(), 0);
    for n in 0..10_000 {
        ids.set_opaque_max(100);
        ids.meet_all(&format!("p{n}"), [1, 2]);
    }
    assert!(ids.opaque.len() <= 200, "{}", ids.opaque.len());
}

#[test]
fn all_numbers_that_stood_apart_are_forgotten_with_their_producer() {
    let apart = [10, 1 << 30, 1 << 40];
    let mut ids = EventIds::default();
    for n in apart {
        assert_eq!(ids.meet(&number("d", n)), Standing::New);
        assert_eq!(ids.meet(&number("other", n)), Standing::New);
        assert_eq!(ids.meet(&number("d", n)), Standing::Repeated);
    }
    let mut restored = EventIds::default();
    ids.records(2)
        .into_iter()
        .for_each(|it| restored.restore(it));
    for mut ids in [ids, restored] {
        assert!(ids.forget("d"));
        for n in apart {
            assert_eq!(ids.standing(&number("d", n)), Standing::New, "{n}");
            assert_eq!(ids.standing(&number("other", n)), Standing::Repeated);
        }
        assert_eq!(ids.opaque_len(), apart.len());
    }
}

#[test]
fn a_number_that_an_earlier_version_remembered_by_its_name_is_known() {
    let mut ids = EventIds::default();
    let producer = ProducerRecord {
        name: "d".into(),
        mark: None,
        apart: Some(5_000),
        apart_max: 5_000,
        is_old: false,
    };
    ids.restore(EventIdsRecord {
        opaque: vec![opaque_hash("d:5000")],
        producers: vec![producer],
    });
    assert_eq!(ids.standing(&number("d", 5_000)), Standing::Repeated);
    let mut forgotten = ids.clone();
    assert!(forgotten.forget("d"));
    assert_eq!(forgotten.standing(&number("d", 5_000)), Standing::New);
    // Believed, it is known by the mark alone.
    assert_eq!(ids.meet(&number("d", 5_001)), Standing::New);
    assert_eq!(ids.opaque_len(), 0);
}

#[test]
fn a_counter_that_starts_anew_within_its_window_is_noticed_too() {
    let mut ids = EventIds::default();
    ids.meet_all("d", 1..=40);
    let mut noticed = Vec::new();
    for n in 1..=40 {
        let id = number("d", n);
        assert_eq!(ids.meet(&id), Standing::Repeated);
        noticed.extend(ids.refuse(&id, false, n).map(|_| n));
    }
    assert_eq!(noticed, [16], "one event that came twice says nothing");
    ids.meet_all("d", [41]);
    assert_eq!(ids.producers().next().unwrap().refused, None);
}

#[test]
fn a_broker_that_went_back_brings_nothing_new() {
    let mut ids = EventIds::default();
    let producers: Vec<String> = (0..100).map(|n| format!("sensor{n}")).collect();
    for producer in &producers {
        ids.meet_all(producer, 1..=5_000);
    }
    for producer in &producers {
        for n in 2_000..=5_000 {
            assert_ne!(ids.meet(&number(producer, n)), Standing::New, "{n}");
        }
        ids.meet_all(producer, [5_001]);
    }
}

#[test]
fn opaque_names_are_remembered_up_to_the_bound() {
    let mut ids = EventIds::default();
    ids.set_opaque_max(100);
    let opaque = |n: u128| EventId::Opaque(n);
    (0..=100).for_each(|n| ids.insert(&opaque(n)));
    assert_eq!(ids.standing(&opaque(0)), Standing::New);
    assert_eq!(ids.standing(&opaque(1)), Standing::Repeated);
    assert_eq!((ids.opaque.len(), ids.known.len()), (100, 100));
    // A replay that remembers more comes to the same once it is cut.
    let mut replayed = EventIds::default();
    (0..=100)
        .chain([0])
        .for_each(|n| replayed.insert(&opaque(n)));
    ids.insert(&opaque(0));
    replayed.set_opaque_max(100);
    assert_eq!(replayed.records(9), ids.records(9));
}

#[test]
fn the_producer_not_heard_of_for_longest_is_forgotten() {
    let mut ids = EventIds::default();
    for n in 0..PRODUCERS_MAX {
        ids.meet_all(&format!("p{n}"), [1, 2]);
    }
    ids.meet_all("p0", [3]);
    ids.meet_all("new", [1]);
    assert!(ids.mark("p0").is_some() && ids.mark("p1").is_none());
    assert_eq!(
        (ids.producers.len(), ids.heard.len()),
        (PRODUCERS_MAX, PRODUCERS_MAX)
    );
}

#[test]
fn what_was_written_down_is_known_again() {
    let mut ids = EventIds::default();
    ids.meet_all("a", [1, 3, 4, 90_000]);
    ids.meet_all("b", [u64::MAX]);
    ids.insert(&EventId::Opaque(7));
    let mut again = EventIds::default();
    for record in ids.records(1) {
        again.restore(EventIdsRecord::decode(&record.encode()).unwrap());
    }
    assert_eq!(again.records(9), ids.records(9));
    for (id, known) in [
        (number("a", 1), true),
        (number("a", 2), false),
        (number("a", 90_000), true),
        (number("b", u64::MAX), true),
        (EventId::Opaque(7), true),
        (EventId::Opaque(8), false),
    ] {
        assert_eq!(again.standing(&id) != Standing::New, known, "{id:?}");
    }
    again.meet_all("b", [u64::MAX - 1]);
    assert_eq!(again.mark("b"), Some(u64::MAX));
}
