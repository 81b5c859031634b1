//! `tidemill-bridge check`: the configuration, and whether the devices are there.

use super::Failure;
use crate::config::{Config, Port};
use crate::devices::{self, Roots};
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

fn device(roots: &Roots, port: &Port) -> String {
    match devices::find(roots, &port.finder) {
        Err(why) => format!("{why}; the bridge waits for it"),
        Ok(tty) => match devices::holder(&roots.proc, &tty) {
            Some(holder) => format!("{} is there, and {holder} has it", tty.display()),
            None => format!("{} is there", tty.display()),
        },
    }
}
