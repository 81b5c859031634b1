//! The cost of reading the same message in each format: five columns, as workload W1 has them.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench that panics has failed, and criterion's macro writes no docs"
)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use tidemill::event::payload::sparkplug::{DataType, Known, births, resolve};
use tidemill::event::payload::{Format, Payload};

const CBOR: &str = include_str!("../../tests/data/payloads/cbor.jsonl");
const MESSAGEPACK: &str = include_str!("../../tests/data/payloads/messagepack.jsonl");
const SPARKPLUG: &str = include_str!("../../tests/data/payloads/sparkplug.jsonl");

/// The message of this name, and what it is in JSON.
fn message(lines: &str, name: &str) -> (Bytes, String) {
    let mut cases = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let case = cases
        .find(|case| case.get("name").is_some_and(|found| found == name))
        .unwrap();
    let hex = case.get("hex").and_then(|hex| hex.as_str()).unwrap();
    let pair = |at| u8::from_str_radix(hex.get(at..at + 2).unwrap(), 16).unwrap();
    let bytes = (0..hex.len()).step_by(2).map(pair).collect();
    (bytes, case.get("json").unwrap().to_string())
}

/// A birth, each metric by its alias.
struct Born(std::collections::HashMap<u64, (String, DataType)>);

impl Known for Born {
    fn by_alias(&self, alias: u64) -> Option<(&str, DataType)> {
        let (name, data_type) = self.0.get(&alias)?;
        Some((name, *data_type))
    }

    fn by_name(&self, _: &str) -> Option<DataType> {
        None
    }
}

fn formats(c: &mut Criterion) {
    let mut group = c.benchmark_group("a reading");
    let (cbor, json) = message(CBOR, "a reading");
    let (messagepack, _) = message(MESSAGEPACK, "a reading");
    let (sparkplug, _) = message(SPARKPLUG, "a reading");
    let (aliases, _) = message(SPARKPLUG, "a reading by aliases");
    let (birth, _) = message(SPARKPLUG, "the birth of a reading");
    let payload = |format| Payload {
        format,
        ..Payload::default()
    };
    for (name, format, message) in [
        ("JSON", Format::Json, Bytes::from(json)),
        ("CBOR", Format::Cbor, cbor),
        ("MessagePack", Format::MessagePack, messagepack),
        ("Sparkplug B with names", Format::Sparkplug, sparkplug),
    ] {
        let payload = payload(format);
        group.bench_function(format!("{name}, {} bytes", message.len()), |b| {
            b.iter(|| payload.value(black_box(&message)).unwrap());
        });
    }
    let told = births(&birth).unwrap().into_iter();
    let told = told.map(|birth| {
        (
            birth.alias.unwrap(),
            (birth.name.to_owned(), birth.data_type),
        )
    });
    let born = Born(told.collect());
    let payload = payload(Format::Sparkplug);
    group.bench_function(
        format!("Sparkplug B with aliases, {} bytes", aliases.len()),
        |b| {
            b.iter(|| {
                let complete = resolve(black_box(&aliases), &born).unwrap();
                payload.value(&complete).unwrap()
            });
        },
    );
    group.finish();
}

criterion_group!(benches, formats);
criterion_main!(benches);
