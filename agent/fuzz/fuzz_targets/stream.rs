//! Any bytes as what a broker sends: whatever pieces they come in, the same packets are read, each
//! takes bytes away, and nothing is kept that did not come.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill_fuzz::{Choices, check_incoming, drain};
use tidemill_transport::packets::Inbox;

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let version = choices.version();
    let packet_bytes_max = choices.limit();
    let piece = usize::from(choices.byte()) + 1;
    let stream = choices.rest();
    let mut whole = Inbox::new(version, packet_bytes_max);
    whole.feed(stream);
    let (read, end) =
        drain(&mut whole).map_or_else(|end| (end.0, Some(end.1)), |read| (read, None));
    let mut inbox = Inbox::new(version, packet_bytes_max);
    let (mut pieces, mut pieces_end) = (Vec::new(), None);
    for piece in stream.chunks(piece) {
        inbox.feed(piece);
        match drain(&mut inbox) {
            Ok(read) => pieces.extend(read),
            Err((read, end)) => {
                pieces.extend(read);
                pieces_end = Some(end);
                break;
            }
        }
    }
    // The part shown of a packet that makes no sense depends on how much of it has come.
    assert_eq!(
        end.is_some(),
        pieces_end.is_some(),
        "{end:?} {pieces_end:?}"
    );
    assert_eq!(read.len(), pieces.len(), "{read:?} {pieces:?}");
    for (one, other) in read.iter().zip(&pieces) {
        check_incoming(one, stream.len());
        tidemill_fuzz::check_same(one, other);
    }
});
