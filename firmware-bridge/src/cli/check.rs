//! `tidemill-bridge check`: the configuration, and whether the devices are there.

use super::Failure;
use crate::config::{Config, Port};
use crate::devices::{self, Roots};
use crate::modbus::{Bus, Unit, plan};
use crate::topics;
use std::path::Path;
use tidemill_base::console;

pub(super) fn check(path: &Path, roots: &Roots) -> Result<(), Failure> {
    let config = Config::read(path)?;
    let mut err = console::stderr();
    for warning in &config.warnings {
        writeln!(err, "warning: {warning}")?;
    }
    let mut out = console::stdout();
    let broker = &config.broker;
    writeln!(
        out,
        "bridge {} at {}:{}, client id {}::bridge",
        config.id, broker.host, broker.port, config.id
    )?;
    for port in &config.ports {
        writeln!(out, "port {}: {}", port.name, device(roots, port))?;
        let units = port.modbus.iter().flat_map(|bus| units(bus));
        for line in units {
            writeln!(out, "    {line}")?;
        }
    }
    writeln!(
        out,
        "the broker has to allow: publish serial/{}/# and the topics of the ports",
        config.id
    )?;
    let filters = topics::filters(&config.id).join(" and ");
    writeln!(out, "                         subscribe {filters}")?;
    Ok(())
}

/// The poll table as it will be asked.
fn units(bus: &Bus) -> Vec<String> {
    let unit = |unit: &Unit| {
        let spans = plan(&unit.fields);
        let spans: Vec<String> = spans.iter().map(ToString::to_string).collect();
        let (name, id, every_ms) = (&unit.name, unit.id.0, unit.every_ms);
        format!(
            "unit {id} {name}, every {every_ms} ms: {}",
            spans.join(", ")
        )
    };
    let busy = format!(
        "the polls take {} ms of each second on the line, and the units' own time",
        bus.busy_ms()
    );
    bus.units.iter().map(unit).chain([busy]).collect()
}

fn device(roots: &Roots, port: &Port) -> String {
    match devices::find(roots, &port.finder) {
        Err(why) => format!("{why}; the bridge waits for it"),
        Ok(tty) => match devices::holder(&roots.proc, &tty) {
            Some(holder) => format!("{} is there, and {holder} has it", tty.display()),
            None => format!("{} is there", tty.display()),
        },
    }
}
