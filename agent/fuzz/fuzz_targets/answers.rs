//! Answers with any body, CONNACK and SUBACK above all: each is an answer, or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill_fuzz::{Choices, check_incoming, drain, framed};
use tidemill_transport::packets::{Inbox, Incoming};

/// CONNACK, SUBACK, UNSUBACK, PUBACK, PUBREL, DISCONNECT, AUTH.
const KINDS: [u8; 7] = [0x20, 0x90, 0xb0, 0x40, 0x62, 0xe0, 0xf0];

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let version = choices.version();
    let kind = choices.one_of(&KINDS);
    let body = choices.rest();
    let mut inbox = Inbox::new(version, 1 << 20);
    inbox.feed(&framed(kind, body));
    let Ok(read) = drain(&mut inbox) else {
        assert!(body.len() < 2, "too short to say what it is about");
        return;
    };
    let [incoming] = &*read else {
        panic!("{read:?}");
    };
    check_incoming(incoming, body.len());
    match incoming {
        Incoming::Connack(connack) => assert_eq!((kind, connack.code), (0x20, body[1])),
        Incoming::Subscribed { packet, answers } => {
            assert_eq!(packet.to_be_bytes(), body[..2]);
            assert!(answers.len() <= body.len() - 2);
            for answer in answers {
                let refusal = answer.refusal(version);
                assert!(refusal.is_none_or(|text| !text.is_empty()));
            }
        }
        _ => {}
    }
});
