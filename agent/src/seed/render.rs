//! Files of the system's services, made of the table `[system]`. Each is written whatever the seed says, so that
//! a setting that was taken out of it is gone. The image has links to them where the services look.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::Command;

use super::system::System;
use super::tree::Tree;

/// The file of passwords of the broker, and the group that reads it.
pub(super) const PASSWORDS: (&str, &str) = ("mosquitto.passwd", "mosquitto");

/// Files that only root reads.
pub(super) const PRIVATE: [&str; 1] = ["wpa_supplicant.conf"];

/// Time zones of the system, and the name of the copy of the one that holds.
const ZONES: &str = "/usr/share/zoneinfo";
const LOCALTIME: &str = "localtime";

/// Name of a machine that nobody gave one.
const HOST: &str = "tidemill";

/// Writes the files of the services into a tree that is to stand in `folder`; returns their names.
pub(super) fn render(system: &System, folder: &Path, tree: &Tree) -> io::Result<Vec<String>> {
    let hostname = system.hostname.as_deref().unwrap_or(HOST);
    let zone = system.timezone.as_deref().unwrap_or("Etc/UTC");
    let mut files = vec![
        ("hostname", format!("{hostname}\n")),
        (
            "hosts",
            format!("127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {hostname}\n"),
        ),
        ("timezone", format!("{zone}\n")),
        ("timesyncd.conf", time_servers(&system.time_servers)),
        ("authorized_keys", lines(&system.ssh_keys)),
        ("wired.network", wired(system)),
        ("wpa_supplicant.conf", wifi(system)),
        ("mosquitto.conf", broker(system, folder)),
    ];
    let users = system.sensors.as_ref().map(|sensors| &sensors.users);
    let passwords = users.into_iter().flatten();
    let passwords: Vec<String> = passwords
        .map(|(user, password)| format!("{user}:{}", password.expose()))
        .collect();
    files.push((PASSWORDS.0, lines(&passwords)));
    for (name, text) in &files {
        tree.put(name, text.as_bytes())?;
    }
    let mut names: Vec<String> = files.iter().map(|(name, _)| (*name).to_owned()).collect();
    if let Ok(bytes) = std::fs::read(Path::new(ZONES).join(zone)) {
        tree.put(LOCALTIME, &bytes)?;
        names.push(LOCALTIME.to_owned());
    }
    if !passwords.is_empty() {
        hash_passwords(&tree.path(PASSWORDS.0))?;
    }
    Ok(names)
}

fn lines(all: &[String]) -> String {
    all.iter().map(|line| format!("{line}\n")).collect()
}

fn time_servers(servers: &[String]) -> String {
    match servers {
        [] => "[Time]\n".to_owned(),
        servers => format!("[Time]\nNTP={}\n", servers.join(" ")),
    }
}

fn wired(system: &System) -> String {
    let mut text = "[Match]\nType=ether\n\n[Network]\n".to_owned();
    let Some(network) = &system.network else {
        text.push_str("DHCP=yes\n");
        return text;
    };
    let router = network.router.iter().map(|router| ("Gateway", router));
    let servers = network.dns.iter().map(|server| ("DNS", server));
    let all = std::iter::once(("Address", &network.address));
    for (key, value) in all.chain(router).chain(servers) {
        let _ = writeln!(text, "{key}={value}");
    }
    text
}

/// The network's name goes in as hexadecimal digits: it may have quotes in it.
fn wifi(system: &System) -> String {
    let Some(wifi) = &system.wifi else {
        return String::new();
    };
    let name: String = wifi
        .ssid
        .bytes()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let login = match &wifi.password {
        Some(password) => format!("psk=\"{}\"", password.expose()),
        None => "key_mgmt=NONE".to_owned(),
    };
    format!(
        "ctrl_interface=/run/wpa_supplicant\ncountry={}\nnetwork={{\n\tssid={name}\n\t{login}\n}}\n",
        wifi.country
    )
}

fn broker(system: &System, folder: &Path) -> String {
    let local = system.local_port();
    let mut text = format!(
        "per_listener_settings true\n\n# The agent's own way, from this machine alone.\n\
         listener {local} 127.0.0.1\nallow_anonymous true\n"
    );
    if let Some(sensors) = &system.sensors {
        let file = folder.join(PASSWORDS.0);
        let _ = write!(
            text,
            "\n# Devices on the network.\nlistener {}\nallow_anonymous false\npassword_file {}\n",
            sensors.port,
            file.display()
        );
    }
    text
}

/// Puts hashes in the place of passwords, as the broker wants them.
fn hash_passwords(file: &Path) -> io::Result<()> {
    let outcome = Command::new("mosquitto_passwd")
        .arg("-U")
        .arg(file)
        .output();
    let outcome = outcome.map_err(|error| {
        let what =
            format!("mosquitto_passwd, which comes with mosquitto, cannot be started: {error}");
        io::Error::new(error.kind(), what)
    })?;
    if outcome.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&outcome.stderr).trim().to_owned();
    Err(io::Error::other(format!("mosquitto_passwd failed: {said}")))
}
