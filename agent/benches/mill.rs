//! Cost of an event on its way through the mill: decoding, routing, and whole steps.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench that panics has failed, and criterion's macro writes no docs"
)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tidemill::config::limits::FunctionLimits;
use tidemill::event::Event;
use tidemill::event::clock::Now;
use tidemill::event::decode::Plan;
use tidemill::event::value::Decoded;
use tidemill::install::{Installer, subscriptions};
use tidemill::mill::router::{Hit, Router};
use tidemill::mill::{Deployment, Input, Mill, Output};
use tidemill::rule::{Gateway, Rule};
use tidemill_base::text::Source;
use tidemill_transport::topic::{Topic, TopicFilter};

const DEVICES: usize = 100;

/// The payload of workload W1, 110 bytes.
fn payload(device: usize, seq: usize) -> String {
    let temperature = if seq.is_multiple_of(10) { 61.37 } else { 41.37 };
    format!(
        "{{\"device\":\"d{device:03}\",\"ts\":1700000000123,\"ns\":1700000000123456789,\
         \"seq\":{},\"temperature\":{temperature},\"humidity\":55.2}}",
        1_000_000_000 + seq
    )
}

fn events() -> Vec<Event> {
    let event = |seq: usize| {
        let device = seq % DEVICES;
        let topic = Topic::new(&format!("sensors/d{device:03}/env")).unwrap();
        Event::new(topic, payload(device, seq), 1_700_000_000_000)
    };
    (0..1_000).map(event).collect()
}

fn mill(rules: &[String]) -> Mill {
    let limits = FunctionLimits::default();
    let gateway = Gateway {
        id: "gw",
        destinations: None,
        limits: &limits,
    };
    let mut installer = Installer::new(&limits);
    let rules: Vec<_> = rules
        .iter()
        .map(|text| {
            let source = Source {
                path: "bench.toml".into(),
                text: text.clone(),
            };
            installer
                .install(Rule::parse(source, &gateway).unwrap(), &["local"])
                .unwrap()
        })
        .collect();
    let subscriptions = subscriptions(&rules, &[]);
    let mut mill = Mill::new();
    mill.deploy(
        now(0),
        Deployment {
            rules,
            subscriptions,
        },
        &mut Vec::new(),
    )
    .unwrap();
    mill
}

fn rule(name: &str, filter: &str, function: &str) -> String {
    format!(
        "name = \"{name}\"\n[on]\nmqtt = [\"{filter}\"]\nkey = \"{{topic.1}}\"\n[function]\n{function}\n\
         [inputs]\nvalue = \"/temperature\"\n[ports.out]\nto = \"local\"\ntopic = \"out/{{key}}\"\n"
    )
}

fn now(ms: u64) -> Now {
    Now {
        mono_ms: 10_000 + ms,
        wall_ms: 1_700_000_000_000 + i64::try_from(ms).unwrap(),
        ..Now::default()
    }
}

fn statement(name: &str, sql: &str) -> String {
    format!(
        "name = \"{name}\"\n[on]\nmqtt = [\"sensors/+/env\"]\n[function]\nsql = \"{sql}\"\n\
         [ports.out]\nto = \"local\"\ntopic = \"out\"\n"
    )
}

const SQL_FILTER: &str = "SELECT * FROM input WHERE temperature > 50";
const SQL_AVERAGE: &str =
    "SELECT device, avg(temperature) AS t FROM input GROUP BY device, TUMBLINGWINDOW(ss, 1)";
const SQL_ROWS: &str = "SELECT device, temperature FROM input WHERE temperature > 50";

const THRESHOLD: &str = "stock = \"threshold\"\n[params]\nlimit = 50";
const AVERAGE: &str = "stock = \"average\"\n[window]\ntumbling = \"1s\"";

fn decode(c: &mut Criterion) {
    let text = payload(17, 3);
    let mut group = c.benchmark_group("decode");
    for (name, pointers) in [
        ("one field", &["/temperature"][..]),
        ("two fields", &["/device", "/temperature"]),
    ] {
        let mut plan = Plan::default();
        pointers.iter().for_each(|pointer| {
            plan.add(pointer);
        });
        let mut decoded = Decoded::default();
        group.bench_function(name, |b| {
            b.iter(|| {
                plan.decode(black_box(text.as_bytes()), &mut decoded)
                    .unwrap()
            });
        });
    }
    group.finish();
}

fn route(c: &mut Criterion) {
    let mut group = c.benchmark_group("route");
    for rules in [1_u32, 1_000] {
        let filters: Vec<_> = (0..rules)
            .map(|n| TopicFilter::new(&format!("sensors/d{n:03}/env")).unwrap())
            .collect();
        let new = || {
            Router::new((0..).zip(&filters).map(|(rule, filter)| {
                let hit = Hit {
                    rule,
                    subscription: rule + 1,
                    rank: rule,
                };
                (hit, filter)
            }))
        };
        let copy = |hits: &[Hit]| (hits.to_vec(), std::mem::size_of_val(hits));
        let mut router = new();
        group.bench_function(format!("known topic, {rules} rules"), |b| {
            b.iter(|| router.route(black_box("sensors/d000/env"), copy));
        });
        group.bench_function(format!("new topic, {rules} rules"), |b| {
            b.iter_batched(
                new,
                |mut router| router.route(black_box("sensors/d000/env"), copy).len(),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn step(c: &mut Criterion) {
    let events = events();
    let mut group = c.benchmark_group("step, 1,000 events");
    group.throughput(Throughput::Elements(events.len() as u64));
    let thousand =
        (0..1_000).map(|n| rule(&format!("r{n}"), &format!("sensors/d{n:03}/env"), THRESHOLD));
    for (name, rules) in [
        ("no rule", vec![]),
        ("threshold", vec![rule("hot", "sensors/+/env", THRESHOLD)]),
        ("threshold, 1,000 rules on a topic each", thousand.collect()),
        ("average", vec![rule("avg", "sensors/+/env", AVERAGE)]),
        ("SQL, filter", vec![statement("hot", SQL_FILTER)]),
        ("SQL, filter and rows", vec![statement("hot", SQL_ROWS)]),
        (
            "SQL, average of a device",
            vec![statement("avg", SQL_AVERAGE)],
        ),
        (
            "both",
            vec![
                rule("hot", "sensors/+/env", THRESHOLD),
                rule("avg", "sensors/+/env", AVERAGE),
            ],
        ),
    ] {
        let mut mill = mill(&rules);
        let (mut ms, mut out): (u64, Vec<Output>) = (0, Vec::new());
        group.bench_function(name, |b| {
            b.iter_batched(
                || events.clone(),
                |events| {
                    ms += 1;
                    out.clear();
                    mill.step(now(ms), Input::Events(events), &mut out);
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, decode, route, step);
criterion_main!(benches);
