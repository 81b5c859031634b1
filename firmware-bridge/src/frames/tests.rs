//! Streams with packets in them, whole and damaged, in any pieces.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

const MAX: usize = 64;

/// Gives the stream in pieces of these sizes, over and over, and returns all that comes out.
fn frames(framing: &Framing, stream: &[u8], sizes: &[usize]) -> Vec<Frame> {
    let mut deframer = Deframer::new(framing.clone(), MAX);
    let mut found = Vec::new();
    let mut rest = stream;
    for size in sizes.iter().cycle() {
        let (mut piece, behind) = rest.split_at((*size).min(rest.len()));
        rest = behind;
        while let Some(frame) = deframer.next(Mono(0), &mut piece) {
            found.push(frame);
        }
        assert!(deframer.held.len() <= 2 * MAX, "{}", deframer.held.len());
        if rest.is_empty() {
            break;
        }
    }
    while let Some(frame) = deframer.cut() {
        found.push(frame);
    }
    let given: u64 = found.iter().map(|frame| frame.wire_bytes).sum();
    assert_eq!(given + deframer.pending_bytes(), stream.len() as u64);
    found
}

fn packets(framing: &Framing, stream: &[u8], sizes: &[usize]) -> Vec<Result<Vec<u8>, Broken>> {
    let found = frames(framing, stream, sizes).into_iter();
    found.map(|frame| frame.packet).collect()
}

fn whole(bytes: &[u8]) -> Result<Vec<u8>, Broken> {
    Ok(bytes.to_vec())
}

fn form(sum: Sum) -> Length {
    Length {
        start: vec![0xAA, 0x55],
        at: 2,
        bytes: 1,
        add: 3 + sum.width(),
        sum,
    }
}

fn packet(sum: Sum, content: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xAA, 0x55, content.len() as u8];
    packet.extend(content);
    packet.extend(sum.of(&packet));
    packet
}

fn slip(content: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    for byte in content {
        match byte {
            0xC0 => packet.extend([0xDB, 0xDC]),
            0xDB => packet.extend([0xDB, 0xDD]),
            byte => packet.push(*byte),
        }
    }
    packet.push(0xC0);
    packet
}

fn cobs(content: &[u8]) -> Vec<u8> {
    let mut packet = cobs::encode_vec(content);
    packet.push(0);
    packet
}

#[test]
fn cobs_packets_come_whole_or_are_counted() {
    let mut stream = vec![0, 0];
    for packet in [&b"a\0b"[..], b"\0", &[7; 50]] {
        stream.extend(cobs(packet));
    }
    stream.extend([9, 1, 0]);
    stream.extend([1; MAX + 1]);
    stream.extend([0, 2, b'x', 0, 2]);
    let expected = [
        whole(b"a\0b"),
        whole(b"\0"),
        whole(&[7; 50]),
        Err(Broken::Damaged),
        Err(Broken::TooLong),
        whole(b"x"),
        Err(Broken::Damaged),
    ];
    for size in 1..=stream.len() {
        let found = packets(&Framing::Cobs, &stream, &[size]);
        assert_eq!(found, expected, "{size}");
    }
    let first = &frames(&Framing::Cobs, &stream, &[1])[0];
    assert_eq!(first.wire_bytes, 2 + 5, "ends in front belong to it");
}

#[test]
fn slip_packets_are_unescaped() {
    let stream = b"\xC0a\xDB\xDCb\xDB\xDD\xC0\xC0c\xDBx\xC0\xDB\xC0d\xC0";
    let damaged = Err(Broken::Damaged);
    let expected = [whole(b"a\xC0b\xDB"), damaged.clone(), damaged, whole(b"d")];
    for size in 1..=stream.len() {
        let found = packets(&Framing::Slip, stream, &[size]);
        assert_eq!(found, expected, "{size}");
    }
}

#[test]
fn silence_ends_a_packet() {
    let mut deframer = Deframer::new(Framing::Gap(5), 8);
    let mut next = |at, mut bytes: &[u8]| deframer.next(Mono(at), &mut bytes);
    assert_eq!(next(100, b"ab"), None);
    assert_eq!(next(104, b"cd"), None);
    assert_eq!(next(108, b""), None);
    let packet = whole(b"abcd");
    let wire_bytes = 4;
    assert_eq!(next(109, b"e"), Some(Frame { wire_bytes, packet }));
    assert_eq!(next(109, b"e"), None);
    assert_eq!(next(110, b"23456789"), None);
    let packet = Err(Broken::TooLong);
    let wire_bytes = 9;
    assert_eq!(next(115, b""), Some(Frame { wire_bytes, packet }));
    assert_eq!(next(900, b""), None);
    assert_eq!((deframer.due(), deframer.cut()), (None, None));
}

#[test]
fn a_packet_is_found_behind_noise_and_in_a_damaged_one() {
    let sum = Sum::Crc16Modbus;
    let mut damaged = packet(sum, &[b"he", &*packet(sum, b"in"), b"lo"].concat());
    damaged[3] ^= 1;
    let stream = [
        &b"xx\xAA"[..],
        &packet(sum, b"one"),
        &damaged,
        &packet(sum, b"\xAA\x55"),
        &packet(sum, b""),
        &[0xAA, 0x55, 40],
        &packet(sum, b"late"),
    ];
    let expected = [
        Err(Broken::Damaged),
        whole(b"one"),
        Err(Broken::Damaged),
        whole(b"in"),
        Err(Broken::Damaged),
        whole(b"\xAA\x55"),
        whole(b""),
        Err(Broken::Damaged),
        whole(b"late"),
    ];
    let stream = stream.concat();
    for size in 1..=stream.len() {
        let found = packets(&Framing::Length(form(sum)), &stream, &[size]);
        assert_eq!(found, expected, "{size}");
    }
}

#[test]
fn a_length_that_is_not_fulfilled_holds_up_what_follows_for_a_second_only() {
    let sum = Sum::Xor8;
    let mut deframer = Deframer::new(Framing::Length(form(sum)), MAX);
    let stream = [&[0xAA, 0x55, 60][..], &packet(sum, b"t")].concat();
    let mut rest = &*stream;
    assert_eq!(deframer.next(Mono(50), &mut rest), None);
    assert_eq!(deframer.due(), Some(Mono(1_050)));
    assert_eq!(deframer.next(Mono(1_049), &mut rest), None);
    let mut next = || {
        deframer
            .next(Mono(1_050), &mut rest)
            .map(|frame| frame.packet)
    };
    assert_eq!(next(), Some(Err(Broken::Damaged)));
    assert_eq!(next(), Some(whole(b"t")));
    assert_eq!((next(), deframer.due()), (None, None));
}

#[test]
fn each_sum_is_the_one_that_it_is_called() {
    assert_eq!(Sum::Crc16Modbus.of(b"123456789"), [0x37, 0x4B]);
    assert_eq!(Sum::Crc16Xmodem.of(b"123456789"), [0x31, 0xC3]);
    assert_eq!(Sum::Sum8.of(&[0xFF, 2]), [1]);
    assert_eq!(Sum::Xor8.of(&[0xFF, 2]), [0xFD]);
}

#[test]
fn a_line_of_noise_alone_shows_while_it_lasts_and_takes_no_memory() {
    let framing = Framing::Length(form(Sum::None));
    let mut deframer = Deframer::new(framing, MAX);
    let stream = [&[0xAA, 0x55, 0xFF][..], &[0; 997]].concat();
    let mut rest = &*stream;
    let mut damaged = 0;
    while let Some(frame) = deframer.next(Mono(0), &mut rest) {
        assert_eq!(frame.packet, Err(Broken::Damaged));
        damaged += frame.wire_bytes;
    }
    assert_eq!(damaged, 1_000 / 64 * 64);
    assert_eq!(deframer.pending_bytes(), 1_000 % 64);
    assert!(deframer.held.capacity() <= 4 * MAX);
}

#[test]
fn noise_in_which_each_byte_could_begin_a_packet_is_told_in_pieces() {
    let framing = Framing::Length(Length {
        start: vec![0xAA],
        at: 1,
        bytes: 2,
        add: 0,
        sum: Sum::Crc16Modbus,
    });
    let mut deframer = Deframer::new(framing, 65_536);
    let stream = [0xAA; 60_000];
    let mut rest = &stream[..];
    let first = deframer.next(Mono(0), &mut rest).unwrap();
    // Each checksum is one of 0xAAAA bytes: two of them are the most that one piece may cost.
    assert_eq!(first.packet, Err(Broken::Damaged));
    assert_eq!(first.wire_bytes, 2);
    assert!(rest.len() > 10_000, "{}", rest.len());
}

fn any_framing() -> impl Strategy<Value = Framing> {
    const SUMS: [Sum; 5] = [
        Sum::None,
        Sum::Sum8,
        Sum::Xor8,
        Sum::Crc16Modbus,
        Sum::Crc16Xmodem,
    ];
    prop_oneof![
        Just(Framing::Cobs),
        Just(Framing::Slip),
        Just(Framing::Gap(5)),
        proptest::sample::select(&SUMS[..]).prop_map(|sum| Framing::Length(form(sum))),
    ]
}

/// Bytes of which many mean something to one framing or another.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        any::<u8>(),
        proptest::sample::select(&[0, 1, 2, 3, 0x55, 0xAA, 0xC0, 0xDB, 0xDC, 0xDD][..]),
    ];
    vec(byte, 0..400)
}

type Encode = fn(&[u8]) -> Vec<u8>;

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_are_the_same_packets(
        framing in any_framing(),
        stream in any_bytes(),
        sizes in vec(1_usize..90, 1..8),
    ) {
        let at_once = frames(&framing, &stream, &[stream.len().max(1)]);
        prop_assert_eq!(&frames(&framing, &stream, &sizes), &at_once);
        prop_assert_eq!(&frames(&framing, &stream, &[1]), &at_once);
        for frame in &at_once {
            prop_assert!(frame.wire_bytes > 0);
            let length = frame.packet.as_ref().map_or(0, Vec::len);
            prop_assert!(length <= MAX && length as u64 <= frame.wire_bytes);
        }
    }

    #[test]
    fn good_packets_come_as_they_were_sent(
        sent in vec(vec(any::<u8>(), 1..55), 0..12),
        sizes in vec(1_usize..90, 1..8),
    ) {
        let sum = Sum::Crc16Xmodem;
        let ways: [(Framing, Encode); 3] = [
            (Framing::Cobs, cobs),
            (Framing::Length(form(sum)), |content| packet(Sum::Crc16Xmodem, content)),
            (Framing::Slip, slip),
        ];
        for (framing, encode) in ways {
            // Escaped twice as long, a packet may be too long for the limit.
            let fits = |content: &&Vec<u8>| encode(content).len() <= MAX;
            let sent: Vec<&Vec<u8>> = sent.iter().filter(fits).collect();
            let stream: Vec<u8> = sent.iter().flat_map(|content| encode(content)).collect();
            let expected: Vec<_> = sent.iter().map(|content| whole(content)).collect();
            prop_assert_eq!(packets(&framing, &stream, &sizes), expected);
        }
    }

    #[test]
    fn pauses_part_packets_whatever_pieces_they_come_in(
        sent in vec(vec(vec(any::<u8>(), 1..16), 1..4), 0..12),
    ) {
        let mut deframer = Deframer::new(Framing::Gap(5), MAX);
        let mut now = Mono(0);
        let mut found = Vec::new();
        for pieces in &sent {
            now = now.after(5);
            for piece in pieces {
                now = now.after(4);
                let mut rest = &**piece;
                while let Some(frame) = deframer.next(now, &mut rest) {
                    found.push(frame.packet);
                }
            }
        }
        found.extend(deframer.next(now.after(5), &mut &[][..]).map(|frame| frame.packet));
        let expected: Vec<_> = sent.iter().map(|pieces| whole(&pieces.concat())).collect();
        prop_assert_eq!(found, expected);
    }
}
