//! Trust from outside: keys, roots and bundles as an operator and an attacker make them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is what it is for"
)]

use proptest::prelude::*;
use tidemill_bundle::{
    Accepted, Bundle, BundleKey, BundleName, DesiredTopic, Entry, Envelope, Gateway, Health,
    Moment, Pattern, PayloadType, Reason, Refusal, Root, RootKey, Scope, SigningKey, TmbError,
    Trust, read_tmb, write_tmb,
};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn moment(text: &str) -> Moment {
    Moment::parse(text).unwrap()
}

fn bundle_key(seed: u8, scopes: &str) -> BundleKey {
    let key = key(seed).public();
    BundleKey {
        id: key.id(),
        key,
        scopes: vec![Pattern::parse(scopes).unwrap()],
        bundles: vec![Pattern::parse("*").unwrap()],
        listen: vec!["sensors/#".to_owned()],
        send: vec!["local:#".to_owned()],
    }
}

/// Root `number` with root keys and bundle keys of these seeds.
fn root(number: u64, threshold: u64, roots: &[u8], bundles: &[u8], removed: &[u8]) -> Root {
    let root_key = |seed: &u8| {
        let key = key(*seed).public();
        RootKey { id: key.id(), key }
    };
    Root {
        root: number,
        threshold,
        issued: moment("2026-11-01T00:00:00Z"),
        expires: None,
        removed: removed
            .iter()
            .map(|seed| key(*seed).public().id())
            .collect(),
        root_keys: roots.iter().map(root_key).collect(),
        bundle_keys: bundles.iter().map(|seed| bundle_key(*seed, "*")).collect(),
    }
}

fn signed(root: &Root, by: &[u8]) -> Envelope {
    let mut envelope = Envelope::new(PayloadType::Root, root.encode());
    by.iter().for_each(|seed| envelope.sign(&key(*seed)));
    envelope
}

fn trusting(root: &Root, by: &[u8]) -> Trust {
    let mut trust = Trust::default();
    trust.begin(Root::first(&signed(root, by)).unwrap());
    trust
}

fn bundle(version: u64) -> Bundle {
    Bundle {
        bundle: BundleName::parse("main").unwrap(),
        scope: Scope::parse("group:a").unwrap(),
        version,
        root: 1,
        min_agent: "0.1.0".to_owned(),
        issued: moment("2026-12-01T00:00:00Z"),
        expires: None,
        health: Health::default(),
        rules: Some(Vec::new()),
    }
}

fn pushed(bundle: &Bundle, by: u8) -> Vec<u8> {
    let mut envelope = Envelope::new(PayloadType::Bundle, bundle.encode());
    envelope.sign(&key(by));
    envelope.encode()
}

fn judge(trust: &Trust, bytes: &[u8]) -> Result<Accepted, Refusal> {
    judge_at(trust, bytes, None)
}

fn judge_at(trust: &Trust, bytes: &[u8], past: Option<Moment>) -> Result<Accepted, Refusal> {
    let groups = ["a".to_owned()];
    let gateway = Gateway {
        id: "gw",
        groups: &groups,
        agent: "0.1.0",
        past,
    };
    trust.judge(bytes, None, &gateway)
}

#[track_caller]
fn refused(outcome: Result<Accepted, Refusal>, reason: Reason) {
    assert_eq!(outcome.unwrap_err().reason, reason);
}

#[test]
fn versions_rise_and_never_go_back() {
    let trust = trusting(&root(1, 1, &[1], &[2], &[]), &[1]);
    let first = judge(&trust, &pushed(&bundle(5), 2)).unwrap();
    assert!(first.is_new);
    assert_eq!(
        judge(&trust, &pushed(&bundle(5), 2)).unwrap(),
        first,
        "judging changes nothing"
    );
    let trust = trust.marked(&first).unwrap();
    assert!(!judge(&trust, &pushed(&bundle(5), 2)).unwrap().is_new);
    refused(judge(&trust, &pushed(&bundle(4), 2)), Reason::Replay);
    let mut other = bundle(5);
    other.expires = Some(moment("2030-01-01T00:00:00Z"));
    refused(judge(&trust, &pushed(&other, 2)), Reason::Replay);
    assert!(judge(&trust, &pushed(&bundle(6), 2)).unwrap().is_new);
    let kept = Trust::decode(&trust.encode(), trust.root().cloned()).unwrap();
    assert_eq!(kept, trust);
    assert!(Trust::decode(&trust.encode(), None).is_err());
}

#[test]
fn a_second_key_does_not_bring_an_old_version_back() {
    let trust = trusting(&root(1, 1, &[1], &[2, 3], &[]), &[1]);
    let high = judge(&trust, &pushed(&bundle(9), 2)).unwrap();
    let trust = trust.marked(&high).unwrap();
    refused(judge(&trust, &pushed(&bundle(8), 3)), Reason::Replay);
    assert!(judge(&trust, &pushed(&bundle(10), 3)).is_ok());
}

#[test]
fn a_stolen_key_costs_one_rotation() {
    let trust = trusting(&root(1, 1, &[1], &[2], &[]), &[1]);
    let highest = judge(&trust, &pushed(&bundle(1 << 63), 2)).unwrap();
    let mut trust = trust.marked(&highest).unwrap();
    let next = root(2, 1, &[1], &[3], &[2]);
    assert_eq!(trust.advance(&signed(&next, &[1])), Ok(2));
    refused(
        judge(&trust, &pushed(&bundle(u64::MAX), 2)),
        Reason::KeyRemoved,
    );
    assert!(judge(&trust, &pushed(&bundle(5), 3)).unwrap().is_new);
    // Neither forgetting that it was removed nor naming it again brings it back.
    let mut forgotten = root(3, 1, &[1], &[3], &[]);
    assert!(trust.advance(&signed(&forgotten, &[1])).is_err());
    forgotten.removed = next.removed.clone();
    forgotten.bundle_keys.push(bundle_key(2, "*"));
    assert!(trust.advance(&signed(&forgotten, &[1])).is_err());
}

#[test]
fn a_root_is_signed_by_the_one_before_and_by_itself() {
    let first = root(1, 2, &[1, 2], &[9], &[]);
    assert!(
        Root::first(&signed(&first, &[1])).is_err(),
        "half of the threshold"
    );
    let mut trust = trusting(&first, &[1, 2]);
    let next = root(2, 2, &[2, 3], &[9], &[1]);
    for by in [&[1, 2][..], &[2, 3], &[3], &[]] {
        let envelope = signed(&next, by);
        assert_eq!(
            trust.advance(&envelope).unwrap_err().reason,
            Reason::BadSignature,
            "{by:?}"
        );
    }
    // The same key twice is one signer.
    let mut twice = signed(&next, &[1]);
    twice.signatures.push(twice.signatures[0].clone());
    assert!(trust.advance(&twice).is_err());
    let skipping = root(3, 2, &[2, 3], &[9], &[1]);
    assert_eq!(
        trust
            .advance(&signed(&skipping, &[1, 2, 3]))
            .unwrap_err()
            .reason,
        Reason::Replay
    );
    assert_eq!(trust.advance(&signed(&next, &[1, 2, 3])), Ok(2));
    assert_eq!(
        trust
            .advance(&signed(&next, &[1, 2, 3]))
            .unwrap_err()
            .reason,
        Reason::Replay
    );
}

#[test]
fn an_expired_root_accepts_the_next_and_no_bundle() {
    let mut old = root(1, 1, &[1], &[2], &[]);
    old.expires = Some(moment("2026-12-01T00:00:00Z"));
    let mut trust = trusting(&old, &[1]);
    let push = pushed(&bundle(1), 2);
    assert!(
        judge_at(&trust, &push, None).is_ok(),
        "a clock that is not believed does not judge"
    );
    assert!(judge_at(&trust, &push, Some(moment("2026-11-30T00:00:00Z"))).is_ok());
    refused(
        judge_at(&trust, &push, Some(moment("2026-12-01T00:00:00Z"))),
        Reason::Expired,
    );
    assert!(
        trust
            .advance(&signed(&root(2, 1, &[1], &[2], &[]), &[1]))
            .is_ok()
    );
    assert!(judge_at(&trust, &push, Some(moment("2099-01-01T00:00:00Z"))).is_ok());
    let mut dated = bundle(1);
    dated.expires = Some(moment("2026-12-24T00:00:00Z"));
    refused(
        judge_at(
            &trust,
            &pushed(&dated, 2),
            Some(moment("2026-12-24T00:00:00Z")),
        ),
        Reason::Expired,
    );
}

#[test]
fn a_bundle_is_for_its_topic_its_gateways_its_agent_and_its_root() {
    let trust = trusting(&root(1, 1, &[1], &[2], &[]), &[1]);
    let groups = ["b".to_owned()];
    let gateway = Gateway {
        id: "gw",
        groups: &groups,
        agent: "0.1.0",
        past: None,
    };
    refused(
        trust.judge(&pushed(&bundle(1), 2), None, &gateway),
        Reason::NotForMe,
    );
    let topic = DesiredTopic::parse("tidemill/v1/group/b/desired/main").unwrap();
    refused(
        trust.judge(&pushed(&bundle(1), 2), Some(&topic), &gateway),
        Reason::WrongTopic,
    );
    let edited = |edit: fn(&mut Bundle)| {
        let mut bundle = bundle(1);
        edit(&mut bundle);
        judge(&trust, &pushed(&bundle, 2))
    };
    refused(
        edited(|b| b.scope = Scope::parse("gateway:gw2").unwrap()),
        Reason::NotForMe,
    );
    refused(edited(|b| b.root = 2), Reason::RootMissing);
    refused(
        edited(|b| b.min_agent = "0.1.1".to_owned()),
        Reason::AgentTooOld,
    );
    assert!(edited(|b| b.scope = Scope::parse("gateway:gw").unwrap()).is_ok());
    assert!(edited(|b| b.scope = Scope::All).is_ok());
    refused(
        judge(&Trust::default(), &pushed(&bundle(1), 2)),
        Reason::NoRoot,
    );
    refused(judge(&trust, &pushed(&bundle(1), 4)), Reason::UnknownKey);
    let mut narrow = root(1, 1, &[1], &[], &[]);
    narrow.bundle_keys = vec![bundle_key(2, "group:b*")];
    refused(
        judge(&trusting(&narrow, &[1]), &pushed(&bundle(1), 2)),
        Reason::NotAllowed,
    );
}

#[test]
fn what_a_root_may_not_be() {
    let edits: [fn(&mut Root); 7] = [
        |root| root.root = 0,
        |root| root.threshold = 0,
        |root| root.threshold = 2,
        |root| root.root_keys[0].id = root.bundle_keys[0].id,
        |root| root.root_keys.push(root.root_keys[0].clone()),
        |root| root.removed = vec![root.bundle_keys[0].id],
        |root| root.bundle_keys = vec![root.bundle_keys[0].clone(); 65],
    ];
    for edit in edits {
        let mut root = root(1, 1, &[1], &[2], &[]);
        edit(&mut root);
        assert!(Root::first(&signed(&root, &[1])).is_err(), "{root:?}");
    }
}

#[test]
fn marks_of_256_bundles_are_kept() {
    let mut trust = trusting(&root(1, 1, &[1], &[2], &[]), &[1]);
    for number in 0..=256 {
        let mut bundle = bundle(1);
        bundle.bundle = BundleName::parse(&format!("b{number}")).unwrap();
        let accepted = judge(&trust, &pushed(&bundle, 2)).unwrap();
        match trust.marked(&accepted) {
            Ok(marked) => trust = marked,
            Err(refusal) => {
                assert_eq!((number, refusal.reason), (256, Reason::TooMany));
            }
        }
    }
    assert_eq!(trust.marks().iter().count(), 256);
}

#[test]
fn a_file_has_roots_before_bundles() {
    let root = signed(&root(1, 1, &[1], &[2], &[]), &[1]);
    let bundle = Envelope::parse(&pushed(&bundle(1), 2), PayloadType::Bundle).unwrap();
    let entries = [Entry::Root(root.clone()), Entry::Bundle(bundle.clone())];
    let bytes = write_tmb(&entries);
    assert_eq!(read_tmb(&bytes).unwrap(), entries);
    let turned = write_tmb(&[Entry::Bundle(bundle), Entry::Root(root)]);
    assert_eq!(read_tmb(&turned), Err(TmbError::Order(2)));
    assert_eq!(read_tmb(b""), Err(TmbError::Empty));
    assert!(matches!(
        read_tmb(&[&bytes[..], b"\n"].concat()),
        Err(TmbError::Line { line: 3, .. })
    ));
}

/// Python's `cryptography` as a second implementation, so that a mistake of ours does not confirm
/// itself. Where it is not installed the vectors in `tests/data` are what it wrote.
#[test]
fn envelopes_of_another_implementation_are_accepted() {
    let tmb = include_bytes!("data/python.tmb");
    let mut trust = Trust::default();
    let mut accepted = None;
    for entry in read_tmb(tmb).unwrap() {
        match entry {
            Entry::Root(envelope) if trust.root().is_none() => {
                trust.begin(Root::first(&envelope).unwrap());
            }
            Entry::Root(envelope) => {
                trust.advance(&envelope).unwrap();
            }
            Entry::Bundle(envelope) => accepted = Some(judge(&trust, &envelope.encode()).unwrap()),
        }
    }
    assert_eq!(trust.root().unwrap().root, 5);
    let bundle = accepted.unwrap().bundle;
    assert_eq!((bundle.version, bundle.rules.unwrap().len()), (7, 1));
}

proptest! {
    #[test]
    fn no_flipped_bit_is_accepted(at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let trust = trusting(&root(1, 1, &[1], &[2], &[]), &[1]);
        let mut bytes = pushed(&bundle(1), 2);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(judge(&trust, &bytes).is_err());
    }

    #[test]
    fn no_flipped_bit_of_a_root_is_accepted(at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut trust = trusting(&root(1, 1, &[1], &[2], &[]), &[1]);
        let mut bytes = signed(&root(2, 1, &[1], &[2], &[]), &[1]).encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let parsed = Envelope::parse(&bytes, PayloadType::Root);
        prop_assert!(parsed.is_err() || trust.advance(&parsed.unwrap()).is_err());
        prop_assert_eq!(trust.root().unwrap().root, 1);
    }

    #[test]
    fn anything_at_all_is_answered(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let trust = trusting(&root(1, 1, &[1], &[2], &[]), &[1]);
        prop_assert!(judge(&trust, &bytes).is_err());
        prop_assert!(read_tmb(&bytes).is_err());
    }

    /// Whatever comes in whichever order, the versions that are new rise.
    #[test]
    fn marks_never_go_down(pushes in prop::collection::vec((1..20_u64, 2..4_u8), 1..40)) {
        let mut trust = trusting(&root(1, 1, &[1], &[2, 3], &[]), &[1]);
        let mut highest = 0;
        for (version, by) in pushes {
            match judge(&trust, &pushed(&bundle(version), by)) {
                Ok(accepted) => {
                    prop_assert!(accepted.is_new == (version > highest) && version >= highest);
                    highest = version;
                    trust = trust.marked(&accepted).unwrap();
                }
                Err(refusal) => {
                    prop_assert_eq!(refusal.reason, Reason::Replay);
                    prop_assert!(version < highest);
                }
            }
        }
    }
}
