//! The C header and the SDK name what the contract names. What they declare is tried by the examples, which are built with them.

use tidemill_abi::{Code, EvBytes, EvI64, Level, MANIFEST_SECTION, Outcome, Win, flag, import};

const HEADER: &str = include_str!("../c/tidemill.h");
const FFI: &str = include_str!("../src/ffi.rs");

#[test]
fn the_header_declares_every_import() {
    for name in import::ALL {
        let declared = HEADER.lines().any(|line| {
            line.starts_with(&format!("TIDEMILL_IMPORT({name}) "))
                && line.contains(&format!(" tm_{name}("))
        });
        assert!(declared, "{name}");
    }
    assert_eq!(
        HEADER.matches("\nTIDEMILL_IMPORT(").count(),
        import::ALL.len()
    );
    assert!(HEADER.contains(&format!("import_module(\"{}\")", import::MODULE)));
    assert!(HEADER.contains(&format!(".custom_section.{MANIFEST_SECTION},")));
}

#[test]
fn the_header_has_the_numbers_of_the_contract() {
    for (name, value) in [
        ("NOT_FOUND", Code::NotFound.value()),
        ("BAD_ARGUMENT", Code::BadArgument.value()),
        ("TOO_BIG", Code::TooBig.value()),
        ("DENIED", Code::Denied.value()),
        ("QUOTA", Code::Quota.value()),
        ("RATE", Code::Rate.value()),
        ("WRONG_CONTEXT", Code::WrongContext.value()),
        ("HANDLED", Outcome::Handled as i32),
        ("PASS", Outcome::Pass as i32),
        ("PAYLOAD", EvBytes::Payload as i32),
        ("TOPIC", EvBytes::Topic as i32),
        ("KEY", EvBytes::Key as i32),
        ("PROPERTIES", EvBytes::Properties as i32),
        ("EVENT_MS", EvI64::EventMs as i32),
        ("ARRIVAL_MS", EvI64::ArrivalMs as i32),
        ("IN_SEQ", EvI64::InSeq as i32),
        ("FLAGS", EvI64::Flags as i32),
        ("PAYLOAD_LEN", EvI64::PayloadLen as i32),
        ("PANE_START", EvI64::PaneStart as i32),
        ("PANE_END", EvI64::PaneEnd as i32),
        ("REVISION", EvI64::Revision as i32),
        ("FOLDED", EvI64::Folded as i32),
        ("STREAMS", EvI64::Streams as i32),
        ("BEGIN", Win::Begin as i32),
        ("FIRE", Win::Fire as i32),
        ("NEXT", Win::Next as i32),
        ("LATE", flag::LATE as i32),
        ("BAD_TIME", flag::BAD_TIME as i32),
        ("UNSYNCED_CLOCK", flag::UNSYNCED_CLOCK as i32),
        ("ERROR", Level::Error as i32),
        ("WARN", Level::Warn as i32),
        ("INFO", Level::Info as i32),
        ("DEBUG", Level::Debug as i32),
    ] {
        let entry = format!(" TM_{name} = {value}");
        let found = HEADER.match_indices(&entry).any(|(at, _)| {
            HEADER
                .get(at + entry.len()..)
                .is_some_and(|rest| rest.starts_with([',', '\n', ' ']))
        });
        assert!(found, "{entry}");
    }
}

#[test]
fn the_sdk_imports_only_what_there_is() {
    let (_, rest) = FFI.split_once("\nimports! {").unwrap();
    let (declared, _) = rest.split_once("\n}").unwrap();
    let names = declared
        .lines()
        .filter_map(|line| line.trim().strip_prefix("fn ")?.split('(').next());
    for name in names {
        assert!(import::ALL.contains(&name), "{name}");
    }
    assert!(FFI.contains(&format!("wasm_import_module = \"{}\"", import::MODULE)));
}
