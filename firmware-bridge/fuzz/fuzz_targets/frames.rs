//! Any bytes as frames of each kind, in one piece and in pieces: the same packets come out, none longer than allowed,
//! each byte lies in one piece of the stream, and what a packet becomes is JSON, base64 or nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use tidemill_bridge::Mono;
use tidemill_bridge::decode::Packed;
use tidemill_bridge::frames::{Deframer, Frame, Framing, Length, Sum};

const BYTES_MAX: usize = 64;

const SUMS: [Sum; 5] = [
    Sum::None,
    Sum::Sum8,
    Sum::Xor8,
    Sum::Crc16Modbus,
    Sum::Crc16Xmodem,
];

fn framing(choice: u8) -> Framing {
    let sum = SUMS[usize::from(choice >> 2) % SUMS.len()];
    match choice & 3 {
        0 => Framing::Cobs,
        1 => Framing::Slip,
        2 => Framing::Gap(5),
        _ => Framing::Length(Length {
            start: vec![0xAA],
            at: 1 + usize::from(choice >> 7),
            bytes: 1 + usize::from(choice >> 6 & 1),
            add: usize::from(choice >> 5 & 1) * 4,
            sum,
        }),
    }
}

fn frames(framing: Framing, pieces: &mut dyn Iterator<Item = &[u8]>) -> Vec<Frame> {
    let mut deframer = Deframer::new(framing, BYTES_MAX);
    let mut frames = Vec::new();
    let mut taken = 0;
    for piece in pieces {
        taken += piece.len() as u64;
        let mut rest = piece;
        while let Some(frame) = deframer.next(Mono(0), &mut rest) {
            frames.push(frame);
        }
    }
    while let Some(frame) = deframer.cut() {
        frames.push(frame);
    }
    let given: u64 = frames.iter().map(|frame| frame.wire_bytes).sum();
    assert_eq!(given + deframer.pending_bytes(), taken);
    frames
}

fuzz_target!(|data: &[u8]| {
    let [choice, size, stream @ ..] = data else {
        return;
    };
    let framing = framing(*choice);
    let whole = frames(framing.clone(), &mut std::iter::once(stream));
    let size = usize::from(*size) + 1;
    assert_eq!(frames(framing, &mut stream.chunks(size)), whole);
    let packets = whole.into_iter().filter_map(|frame| frame.packet.ok());
    for packet in packets.chain([stream.to_vec()]) {
        assert!(packet.len() <= BYTES_MAX || packet == stream);
        assert!(Packed::Base64.payload(&packet).is_some());
        if let Some(json) = Packed::Json.payload(&packet) {
            assert_eq!(&*json, packet);
        }
        if let Some(json) = Packed::Cbor.payload(&packet) {
            serde_json::from_slice::<IgnoredAny>(&json).expect("it is JSON");
        }
    }
});
