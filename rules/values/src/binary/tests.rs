use super::*;
use crate::from_json;

fn check(value: Value, bytes: &[u8]) {
    assert_eq!(encode(&value).unwrap(), bytes);
    let read = decode(bytes).unwrap();
    assert_eq!(encode(&read).unwrap(), bytes, "{read:?}");
}

#[test]
fn bytes_are_stable() {
    check(Value::Null, &[1, 0]);
    check(Value::Bool(false), &[1, 1]);
    check(Value::Bool(true), &[1, 2]);
    check(Value::Int(0), &[1, 3, 0]);
    check(Value::Int(-1), &[1, 3, 1]);
    check(Value::Int(300), &[1, 3, 0xd8, 4]); // 600 = 4 * 128 + 88
    check(
        Value::Int(i64::MAX),
        &[1, 3, 0xfe, 255, 255, 255, 255, 255, 255, 255, 255, 1],
    );
    check(
        Value::Int(i64::MIN),
        &[1, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
    );
    check(Value::Float(1.5), &[1, 4, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f]);
    check(
        Value::Wide(1 << 63),
        &[1, 10, 128, 128, 128, 128, 128, 128, 128, 128, 128, 1],
    );
    check(Value::Datetime(1), &[1, 5, 2]);
    check(Value::text("hé"), &[1, 6, 3, b'h', 0xc3, 0xa9]);
    check(Value::bytes(vec![0, 255]), &[1, 7, 2, 0, 255]);
    check(
        Value::list(vec![Value::Null, Value::Int(1)]),
        &[1, 8, 2, 0, 3, 2],
    );
    let map: Map = [("b", Value::Int(1)), ("a", Value::Null)]
        .into_iter()
        .collect();
    check(Value::map(map), &[1, 9, 2, 1, b'b', 3, 2, 1, b'a', 0]);
}

#[test]
fn everything_json_brings_comes_back() {
    let text = r#"{"a":[1,-2.5,"x",null,true,{"b":{}}],"c":18446744073709551615,"d":1e300,"é":""}"#;
    let value = from_json(text.as_bytes()).unwrap();
    assert_eq!(decode(&encode(&value).unwrap()).unwrap(), value);
}

#[test]
fn what_was_kept_and_is_no_number_is_nothing() {
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let bytes = [&[1, 4][..], &number.to_bits().to_le_bytes()].concat();
        assert_eq!(decode(&bytes), Ok(Value::Null));
    }
}

#[test]
fn what_was_not_written_here_is_refused() {
    let refused: [(&[u8], DecodeError); 13] = [
        (&[], DecodeError::Short),
        (&[2, 0], DecodeError::Version(2)),
        (&[1], DecodeError::Short),
        (&[1, 0, 0], DecodeError::Rest),
        (&[1, 11], DecodeError::Tag(11)),
        (&[1, 10, 5], DecodeError::Malformed), // one that is not so wide
        (&[1, 3, 0x80, 0], DecodeError::Malformed), // zero in two bytes
        (
            &[1, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
            DecodeError::Malformed,
        ),
        (
            &[1, 4, 1, 0, 0, 0, 0, 0, 0xf8, 0x7f],
            DecodeError::Malformed,
        ), // another NaN
        (&[1, 6, 1, 0xff], DecodeError::Malformed),
        (&[1, 6, 5, b'a'], DecodeError::Short),
        (&[1, 8, 255, 255, 255, 255, 15], DecodeError::Short), // a list of four thousand million
        (&[1, 9, 2, 1, b'a', 0, 1, b'a', 0], DecodeError::Malformed), // a name twice
    ];
    for (bytes, error) in refused {
        assert_eq!(decode(bytes), Err(error), "{bytes:?}");
    }
}

#[test]
fn nesting_is_bounded_both_ways() {
    let nested = |depth| (0..depth).fold(Value::Null, |inner, _| Value::list(vec![inner]));
    let deepest = encode(&nested(NESTING_MAX)).unwrap();
    assert!(decode(&deepest).is_ok());
    let mut out = vec![7];
    assert_eq!(
        encode_into(&nested(NESTING_MAX + 1), &mut out),
        Err(EncodeError::TooDeep)
    );
    assert_eq!(out, [7]);
    let mut deeper = deepest;
    deeper.splice(1..1, [8, 1]);
    assert_eq!(decode(&deeper), Err(DecodeError::TooDeep));
    assert_eq!(decode(&[8; 100_000]), Err(DecodeError::Version(8)));
}

#[test]
fn size_is_bounded_both_ways() {
    let long = Value::bytes(vec![0; ENCODED_BYTES_MAX]);
    assert_eq!(encode(&long), Err(EncodeError::TooLong));
    assert_eq!(
        decode(&vec![1; ENCODED_BYTES_MAX + 1]),
        Err(DecodeError::TooLong)
    );
}

#[test]
fn no_bytes_make_it_panic() {
    // A linear congruential generator: the same bytes on each run.
    let mut seed = 1_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    };
    for len in 0..20_000 {
        let mut bytes: Vec<u8> = (0..len % 40).map(|_| next() % 16).collect();
        bytes.insert(0, 1);
        if let Ok(value) = decode(&bytes) {
            assert_eq!(encode(&value).unwrap(), bytes);
        }
    }
}
