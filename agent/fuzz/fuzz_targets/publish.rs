//! Messages that are well-formed, with properties in any order: what is written is what is read, also
//! where the payload is too long to be kept.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill_fuzz::{Choices, Message, drain};
use tidemill_transport::packets::{Inbox, Incoming};

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let message = Message::choose(&mut choices);
    let packet = message.encode();
    let mut inbox = Inbox::new(message.version, message.packet_bytes_max);
    inbox.feed(&packet);
    let read = drain(&mut inbox).expect("it is well-formed");
    let [Incoming::Message(received)] = &*read else {
        panic!("{message:?} was read as {read:?}");
    };
    message.check(received);
    assert!(inbox.is_empty());
});
