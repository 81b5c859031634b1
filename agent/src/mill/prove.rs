//! The tests that travel in a module's manifest. Every install runs them, so that a function which
//! does not do on this gateway as its author saw is not deployed.

use serde_json::Value as Json;
use tidemill_abi::limit;

use crate::config::limits::FunctionLimits;
use crate::event::decode::Plan;
use crate::event::state::Pane;
use crate::function::frame::Frame;
use crate::function::{Engine, Function, Handler, Module, Settings, Verdict};
use crate::mill::input::typed;
use crate::rule::manifest::{ConfigEntry, ConfigKind, ConfigValue, EmbeddedTest, ModuleManifest};

/// Runs the tests in a module's manifest.
///
/// # Errors
/// A sentence that names the test and what came out instead.
pub fn prove(
    engine: &Engine,
    module: &std::sync::Arc<Module>,
    limits: &FunctionLimits,
) -> Result<(), String> {
    let compiled = module.bytes() as u64 * limit::FUEL_COMPILED_BYTE;
    let mut left = limit::FUEL_INSTALL.saturating_sub(compiled);
    for (number, test) in module.manifest.tests.iter().enumerate() {
        run(engine, module, limits, test, &mut left)
            .map_err(|why| format!("test {number} of the function's manifest failed: {why}"))?;
    }
    Ok(())
}

fn run(
    engine: &Engine,
    module: &std::sync::Arc<Module>,
    limits: &FunctionLimits,
    test: &EmbeddedTest,
    left: &mut u64,
) -> Result<(), String> {
    let manifest = &module.manifest;
    let config = manifest
        .config
        .iter()
        .map(|entry| config_value(entry, test.config.get(&entry.name)))
        .collect::<Result<_, _>>()?;
    let settings = Settings {
        rule: "test".into(),
        config,
        fuel: limits.fuel,
        memory_pages: limits.memory_pages,
        emissions: limits.emissions,
        emission_bytes: limits.emission_bytes,
        value_bytes: limits.value_bytes,
        bound_ports: u64::MAX,
        window_slots: manifest.window.map_or(0, |window| window.slots),
        windowed: manifest.window.is_some(),
        rows: manifest.window.is_some_and(|window| window.rows),
    };
    let mut function = Function::new(engine, module, settings).map_err(|e| e.to_string())?;
    spend(left, function.fuel_used())?;
    let mut frame = frame(manifest, &test.input)?;
    frame.state_bytes_free = limits.state_bytes;
    let verdict = function
        .call(Handler::Event, &mut frame)
        .map_err(|fault| fault.to_string())?;
    spend(left, function.fuel_used())?;
    compare(manifest, test, &frame, verdict)
}

/// Takes fuel of what all tests of a module have together.
fn spend(left: &mut u64, fuel: u64) -> Result<(), String> {
    *left = left.checked_sub(fuel).ok_or_else(|| {
        let most = limit::FUEL_INSTALL;
        format!(
            "compiling the module, its starts and its tests may take {most} units of fuel in all"
        )
    })?;
    Ok(())
}

fn config_value(entry: &ConfigEntry, given: Option<&Json>) -> Result<ConfigValue, String> {
    match (given, entry.kind) {
        (Some(Json::Number(number)), ConfigKind::F64) => {
            Ok(ConfigValue::F64(number.as_f64().unwrap_or(f64::NAN)))
        }
        (Some(Json::String(text)), ConfigKind::Bytes) => {
            Ok(ConfigValue::Bytes(text.as_bytes().into()))
        }
        (Some(_), _) => Err(format!("config {} is of the wrong type", entry.name)),
        (None, _) => entry
            .default
            .clone()
            .ok_or_else(|| format!("config {} has neither a value nor a default", entry.name)),
    }
}

fn frame(manifest: &ModuleManifest, input: &Json) -> Result<Box<Frame>, String> {
    let mut frame = Box::<Frame>::default();
    let mut plan = Plan::default();
    let places: Vec<u16> = manifest
        .inputs
        .iter()
        .map(|input| plan.add(&input.pointer))
        .collect();
    frame.event.payload = input.to_string().into();
    let Frame {
        event,
        decoded,
        inputs,
        ..
    } = &mut *frame;
    plan.decode(&event.payload, decoded)
        .map_err(|e| e.to_string())?;
    for (input, place) in manifest.inputs.iter().zip(places) {
        let scalar = decoded.scalars.get(usize::from(place)).copied();
        let scalar = scalar.unwrap_or(crate::event::value::Scalar::Missing);
        inputs.push(typed(input, scalar, decoded).map_err(|e| e.to_string())?);
    }
    frame.pane = manifest.window.map(|_| Pane::default());
    Ok(frame)
}

fn compare(
    manifest: &ModuleManifest,
    test: &EmbeddedTest,
    frame: &Frame,
    verdict: Verdict,
) -> Result<(), String> {
    let text = |port: usize, payload: &Json| {
        format!(
            "{} {payload}",
            manifest.outputs.get(port).map_or("?", String::as_str)
        )
    };
    let sent = frame.effects.emissions.iter().map(|emission| {
        let payload = serde_json::from_slice(&emission.payload);
        let payload =
            payload.unwrap_or_else(|_| Json::from(String::from_utf8_lossy(&emission.payload)));
        text(usize::from(emission.port), &payload)
    });
    let passed = match verdict {
        Verdict::Pass(port) => Some(text(usize::from(port), &test.input)),
        Verdict::Done => None,
    };
    let found: Vec<_> = sent.chain(passed).collect();
    let expected: Vec<_> = test
        .out
        .iter()
        .map(|out| {
            let payload = if out.pass {
                &test.input
            } else {
                out.payload.as_ref().unwrap_or(&Json::Null)
            };
            format!("{} {payload}", out.port)
        })
        .collect();
    if found == expected {
        return Ok(());
    }
    let list = |what: &[String]| match what {
        [] => "nothing".to_owned(),
        some => some.join(", "),
    };
    Err(format!(
        "{} gave {}, expected {}",
        test.input,
        list(&found),
        list(&expected)
    ))
}
