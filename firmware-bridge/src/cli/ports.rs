//! `tidemill-bridge ports`: the machine's serial devices, and what to write for each.

use super::Failure;
use crate::devices::{self, Device, Holder, Roots};
use serde::Serialize;
use std::fs;
use tidemill_base::console;

#[derive(Serialize)]
struct Shown<'a> {
    tty: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    usb: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    driver: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<&'static str>,
}

pub(super) fn ports(roots: &Roots, json: bool) -> Result<(), Failure> {
    let mut out = console::stdout();
    let devices = devices::list(roots);
    for device in &devices {
        let holder = devices::holder(&roots.proc, &device.tty);
        let shown = shown(roots, device, holder);
        if json {
            out.json(serde_json::to_string(&shown).map_err(std::io::Error::from)?)?;
            continue;
        }
        writeln!(
            out,
            "{}  {}",
            shown.tty,
            shown.product.or(shown.driver).unwrap_or("built in")
        )?;
        let lines = [
            ("usb =", shown.usb),
            ("at =", shown.at.map(str::to_owned)),
            (
                "path =",
                shown
                    .by_id
                    .or_else(|| device.usb.is_none().then_some(shown.tty)),
            ),
        ];
        for (key, value) in lines {
            if let Some(value) = value {
                writeln!(out, "    {key} {value:?}")?;
            }
        }
        if let Some(holder) = shown.holder {
            writeln!(out, "    {holder} has it")?;
        }
        for hint in shown.hints {
            writeln!(out, "    {hint}")?;
        }
    }
    if devices.is_empty() && !json {
        writeln!(out, "no serial device is there")?;
    }
    Ok(())
}

fn shown<'a>(roots: &Roots, device: &'a Device, holder: Option<Holder>) -> Shown<'a> {
    let usb = device.usb.as_ref();
    Shown {
        tty: device.tty.display().to_string(),
        usb: usb.map(|usb| match &usb.serial {
            Some(serial) => format!("{}/{serial}", usb.id),
            None => usb.id.to_string(),
        }),
        at: usb.map(|usb| usb.socket.as_str()),
        by_id: device.by_id.as_ref().map(|link| link.display().to_string()),
        product: usb.and_then(|usb| usb.product.as_deref()),
        driver: device.driver.as_deref(),
        hints: hints(roots, device, holder.as_ref()),
        holder: holder.map(|holder| holder.to_string()),
    }
}

/// Programs that are known to take serial devices.
fn hints(roots: &Roots, device: &Device, holder: Option<&Holder>) -> Vec<&'static str> {
    let mut hints = Vec::new();
    match holder.map(|holder| holder.name.as_str()) {
        Some("ModemManager") => {
            hints.push("ModemManager takes it for a modem: systemctl disable --now ModemManager")
        }
        Some("brltty") => hints.push("brltty takes it for a Braille display: apt remove brltty"),
        Some("agetty" | "login") => {
            hints.push(
                "a login console is on it: systemctl disable --now serial-getty@… for its name",
            );
        }
        _ => {}
    }
    let name = device.tty.file_name().and_then(|name| name.to_str());
    let command_line = fs::read_to_string(roots.proc.join("cmdline")).unwrap_or_default();
    let mut words = command_line
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("console="));
    if words.any(|console| console.split(',').next() == name) {
        hints.push(
            "the kernel writes its messages to it: take console=… out of the kernel's command line",
        );
    }
    hints
}
