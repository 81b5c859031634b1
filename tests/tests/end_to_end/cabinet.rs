//! An agent that others can reach: links in its data directory, root who looks into it, any umask, files
//! that are none, and environments of any bytes.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tidemill_tests::{COUNTER, Collector, Gateway, run, skipped, tidemill};

use crate::support::{PASS, broker, counted, payloads, rule, sensor};

/// Each looks at a data directory or mends it.
const COMMANDS: [&str; 8] = [
    "inspect ledger",
    "inspect outbox",
    "inspect state-hash",
    "inspect pond",
    "inspect journal",
    "dead-letters list",
    "event-ids list",
    "repair",
];

/// A user that owns nothing on this machine.
const OTHER: u32 = 1000;

/// All below a folder, and the folder.
fn all_below(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            found.extend(all_below(&entry.unwrap().path()));
        }
    }
    found
}

/// A gateway that has counted ten events of a device, and is stopped.
fn counted_gateway(port: u16) -> Gateway {
    let mut gateway = Gateway::new(port, "[recorder]\ndisk = \"1 MiB\"\n");
    gateway.module("counter", COUNTER);
    gateway.rule("count", &counting());
    gateway.start();
    publish(port, 10);
    gateway.stop();
    gateway
}

fn counting() -> String {
    rule("\"in/#\"", "wasm = \"counter.wasm\"", "out/{key}")
}

/// Publishes events, and waits for what the counter makes of them.
fn publish(port: u16, count: usize) {
    let arrived = Collector::start(port, "out/#");
    let mut peer = tidemill_tests::Peer::connect(port, "sensor");
    for _ in 0..count {
        peer.publish("in/a", b"{}", 1, false);
    }
    arrived.until(count);
}

#[test]
fn a_link_in_the_place_of_any_file_leaves_its_target_whole() {
    let broker = broker();
    let gateway = counted_gateway(broker.port());
    let target = gateway.path("target");
    let data = gateway.path("data");
    let mut files = all_below(&data);
    files.retain(|path| path.is_file());
    for name in ["control", "reserve", "incarnation.new", "recorder-a.jsonl"] {
        files.push(data.join(name));
    }
    files.push(data.join("journal/00000077.new"));
    files.push(data.join("pond-a.opening"));
    for (place, file) in files.iter().enumerate() {
        let before = fs::read(file).ok();
        let _ = fs::remove_file(file);
        fs::write(&target, "precious").unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
        symlink(&target, file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let check = |code: Option<i32>, said: &str, command: &str| {
            assert_ne!(code, Some(0), "{command} with {name}: {said}");
            assert!(
                said.contains(name) && said.contains("link"),
                "{command}: {said}"
            );
            let mode = fs::metadata(&target).unwrap().mode() & 0o777;
            let text = fs::read_to_string(&target).unwrap();
            assert_eq!((&*text, mode), ("precious", 0o644), "{command} with {name}");
        };
        let (code, log) = gateway.run_another();
        check(code, &log, "run");
        // All commands for the first few, one each for the others.
        for (number, command) in COMMANDS.iter().enumerate() {
            if place < 3 || number == place % COMMANDS.len() {
                let ran = gateway.tidemill(command);
                check(ran.code, &ran.err, command);
            }
        }
        fs::remove_file(file).unwrap();
        if let Some(before) = before {
            fs::write(file, before).unwrap();
        }
    }
    let ran = gateway.tidemill("inspect ledger");
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn looking_changes_nothing() {
    let broker = broker();
    let gateway = counted_gateway(broker.port());
    let fingerprint = || -> Vec<_> {
        let mut all: Vec<_> = all_below(&gateway.path("data"))
            .into_iter()
            .map(|path| {
                let found = fs::metadata(&path).unwrap();
                let content = path.is_file().then(|| fs::read(&path).unwrap());
                (path, found.mode(), found.mtime_nsec(), content)
            })
            .collect();
        all.sort();
        all
    };
    let before = fingerprint();
    for command in COMMANDS.iter().filter(|command| **command != "repair") {
        let ran = gateway.tidemill(command);
        assert_eq!(ran.code, Some(0), "{command}: {ran:?}");
        assert!(before == fingerprint(), "{command} changed the directory");
    }
    let nowhere = Gateway::new(broker.port(), "");
    for command in COMMANDS {
        let ran = nowhere.tidemill(command);
        assert_ne!(ran.code, Some(0), "{command}: {ran:?}");
        assert!(!nowhere.path("data").exists(), "{command}");
    }
}

/// `setpriv` with the program, or why it does not run here.
fn as_other() -> Result<Vec<String>, String> {
    let id = OTHER.to_string();
    let words: Vec<String> = ["setpriv", "--clear-groups", "--reuid", &id, "--regid", &id]
        .map(str::to_owned)
        .into();
    let (program, arguments) = words.split_first().unwrap();
    let ran = Command::new(program)
        .args(arguments)
        .arg(tidemill())
        .arg("--version")
        .output()
        .map_err(|error| format!("setpriv: {error}"))?;
    if ran.status.success() {
        Ok(words)
    } else {
        Err(String::from_utf8_lossy(&ran.stderr).into_owned())
    }
}

#[test]
fn root_who_looks_or_repairs_does_not_lock_the_service_out() {
    let wrapper = match as_other() {
        Ok(wrapper) => wrapper,
        Err(why) => return skipped(&format!("no other user can run the agent: {why}")),
    };
    let words: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    gateway.module("counter", COUNTER);
    gateway.rule("count", &counting());
    fs::set_permissions(gateway.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    gateway.wrap(&words);
    for command in COMMANDS {
        gateway.tidemill(command);
        assert!(!gateway.path("data").exists(), "{command} made it");
    }
    fs::create_dir(gateway.path("data")).unwrap();
    chown(gateway.path("data"), Some(OTHER), Some(OTHER)).unwrap();
    let all_by_root = |gateway: &Gateway, when: &str, code: i32| {
        for command in COMMANDS {
            let ran = gateway.tidemill(command);
            assert_eq!(ran.code, Some(code), "{command} {when}: {ran:?}");
        }
        for path in all_below(&gateway.path("data")) {
            let found = fs::symlink_metadata(&path).unwrap();
            assert_eq!(found.uid(), OTHER, "{} {when}", path.display());
        }
    };
    all_by_root(&gateway, "before the first start", 1);
    gateway.start();
    let arrived = Collector::start(broker.port(), "out/#");
    let publish = |count: usize| {
        let mut peer = sensor(&broker);
        for _ in 0..count {
            peer.publish("in/a", b"{}", 1, false);
        }
    };
    publish(10);
    arrived.until(10);
    // A running agent answers root as well.
    for command in COMMANDS.iter().filter(|command| **command != "repair") {
        let ran = gateway.tidemill(command);
        let is_for_stopped_ones = command.ends_with("pond");
        assert!(ran.code == Some(0) || is_for_stopped_ones, "{ran:?}");
    }
    gateway.kill();
    all_by_root(&gateway, "after a kill", 0);
    gateway.start();
    publish(1);
    arrived.until(11);
    gateway.stop();
    all_by_root(&gateway, "after a stop", 0);
    fs::write(gateway.path("data/pond-a/conf"), "damage").unwrap();
    all_by_root(&gateway, "after damage", 0);
    gateway.start();
    publish(1);
    arrived.until(12);
    gateway.stop();
    // The other way round: another user is told what to type.
    let mut other = Command::new(words[0]);
    let said = other
        .args(&words[1..])
        .arg(tidemill())
        .args(["inspect", "ledger", "--config", "agent.toml"])
        .current_dir(gateway.path(""))
        .output()
        .unwrap();
    assert!(said.status.success(), "{said:?}");
    chown(gateway.path("data"), Some(0), Some(0)).unwrap();
    let (code, log) = gateway.run_another();
    assert_eq!(code, Some(1), "{log}");
    assert!(
        log.contains("belongs to root") && log.contains("sudo -u root"),
        "{log}"
    );
}

#[test]
fn nothing_in_a_data_directory_is_ever_open_to_others() {
    let broker = broker();
    for umask in ["000", "022"] {
        let mut gateway = Gateway::new(broker.port(), "[recorder]\ndisk = \"1 MiB\"\n");
        gateway.module("counter", COUNTER);
        gateway.rule("count", &counting());
        let record = gateway.path("calls");
        let shown = record.display().to_string();
        let umasked = format!("umask {umask}; exec \"$0\" \"$@\"");
        let calls = "--trace=umask,mkdir,mkdirat,openat,open,creat,chmod,fchmod,fchmodat,bind";
        let strace = ["strace", "-D", "-f", "-o", &shown, calls];
        let can_trace = Command::new("strace")
            .args(["-o", "/dev/null", "true"])
            .status()
            .is_ok_and(|status| status.success());
        let mut wrapper = vec!["sh", "-c", &umasked];
        if can_trace {
            wrapper.extend(strace);
        } else {
            skipped("system calls cannot be traced here");
        }
        gateway.wrap(&wrapper);
        gateway.start();
        publish(broker.port(), 10);
        let is_open = |path: &PathBuf| fs::metadata(path).unwrap().mode() & 0o077 != 0;
        let mut open = all_below(&gateway.path("data"));
        open.retain(is_open);
        assert_eq!(open, Vec::<PathBuf>::new());
        gateway.stop();
        let mut open = all_below(&gateway.path("data"));
        open.retain(is_open);
        assert_eq!(open, Vec::<PathBuf>::new());
        if !can_trace {
            continue;
        }
        let calls = fs::read_to_string(&record).unwrap();
        let data = gateway.path("data").display().to_string();
        let makes = |line: &str| {
            line.contains(&data) && (line.contains("O_CREAT") || line.contains("mkdir"))
        };
        let masked = calls.lines().position(|line| line.contains("umask(077)"));
        let first = calls.lines().position(makes);
        assert!(first.is_some(), "the agent made files:\n{calls}");
        assert!(
            masked.is_some() && masked < first,
            "umask {umask}:\n{calls}"
        );
        let later = calls.lines().filter(|line| line.contains("umask(")).count();
        assert_eq!(later, 1, "nobody sets it back");
    }
}

/// Puts something at a path.
type Make = fn(&Path);

/// Things in the place of a file: a name, and the way to make each.
const ODD: [(&str, Make); 4] = [
    ("a named pipe", |path| {
        let made = Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
    }),
    ("a device", |path| symlink("/dev/zero", path).unwrap()),
    ("a directory", |path| fs::create_dir(path).unwrap()),
    ("longer than", |path| {
        fs::File::create(path).unwrap().set_len(4 << 30).unwrap();
    }),
];

#[test]
fn no_input_file_is_waited_for_or_read_without_end() {
    let of_broker = |key: &str| format!("username = \"u\"\n{key} = \"odd\"\n");
    let of_cloud = |keys: &str| format!("[destinations.cloud]\nurl = \"https://h/\"\n{keys}\n");
    let configurations = [
        of_broker("password_file"),
        of_cloud("token_file = \"odd\""),
        of_cloud("ca_file = \"odd\""),
        of_cloud("cert_file = \"cert\"\nkey_file = \"odd\""),
    ];
    for (what, make) in ODD {
        let check = |gateway: &Gateway, name: &str| {
            let ran = gateway.tidemill("check");
            assert_eq!(ran.code, Some(2), "{name} {what}: {ran:?}");
            let said = format!("{}{}", ran.out, ran.err);
            assert!(said.contains(name), "{name} {what}: {said}");
        };
        for lines in &configurations {
            let gateway = Gateway::new(1, lines);
            fs::write(gateway.path("cert"), "").unwrap();
            make(&gateway.path("odd"));
            gateway.module("pass", PASS);
            let to_cloud = rule("\"in\"", "wasm = \"pass.wasm\"", "out").replace("local", "cloud");
            if lines.contains("cloud") {
                gateway.rule("r", &to_cloud);
            }
            // Of a certificate that is none the other file's trouble may be told first.
            let name = if lines.contains("cert_file") {
                "cert"
            } else {
                "odd"
            };
            check(&gateway, name);
        }
        let gateway = Gateway::new(1, "");
        make(&gateway.path("rules/odd.wasm"));
        gateway.rule("r", &rule("\"in\"", "wasm = \"odd.wasm\"", "out"));
        check(&gateway, "odd.wasm");
        let gateway = Gateway::new(1, "");
        make(&gateway.path("odd.sql"));
        fs::write(gateway.path("events"), "").unwrap();
        let words = ["rule", "test", "odd.sql", "--events", "events"];
        let ran = run(&gateway.path(""), &words);
        assert_eq!(ran.code, Some(2), "{what}: {ran:?}");
        assert!(ran.err.contains("odd.sql"), "{what}: {ran:?}");
        if what != "a directory" {
            let gateway = Gateway::new(1, "");
            make(&gateway.path("rules/odd.toml"));
            check(&gateway, "odd.toml");
        }
        let gateway = Gateway::new(1, "");
        fs::remove_file(gateway.path("agent.toml")).unwrap();
        make(&gateway.path("agent.toml"));
        check(&gateway, "agent.toml");
    }
}

#[test]
fn an_agent_goes_on_with_its_rules_beside_a_file_that_is_none() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    gateway.module("counter", COUNTER);
    gateway.rule("count", &counting());
    gateway.start();
    for (_, make) in ODD {
        let path = gateway.path("rules/odd.wasm");
        make(&path);
        gateway.rule("r", &rule("\"in\"", "wasm = \"odd.wasm\"", "out"));
        let before = gateway.count_logged("are not changed");
        gateway.reload();
        assert!(gateway.count_logged("are not changed") > before);
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir(&path);
    }
    let mut hears = crate::support::listener(&broker, "out/#");
    sensor(&broker).publish("in/a", b"{}", 1, false);
    assert_eq!(payloads(hears.receive_texts(1)), counted(1));
    gateway.stop();
}

#[test]
fn an_environment_of_any_bytes_ends_no_command_and_shows_no_value() {
    let gateway = Gateway::new(1, "");
    let with = |name: &[u8], value: &[u8]| {
        Command::new(tidemill())
            .args(["check", "--config", "agent.toml"])
            .current_dir(gateway.path(""))
            .env(OsStr::from_bytes(name), OsStr::from_bytes(value))
            .output()
            .unwrap()
    };
    let plain = run(&gateway.path(""), &["check", "--config", "agent.toml"]);
    for (name, value) in [(&b"LESS"[..], &b"\xff"[..]), (b"A\xff", b"x")] {
        assert_eq!(with(name, value).status.code(), plain.code);
    }
    let long = b"hush".repeat(1 << 14);
    for (name, value) in [
        (&b"TIDEMILL_BROKER__PASSWORD"[..], &b"hush\xff"[..]),
        (b"TIDEMILL_BROKER__\xff", b"hush"),
        (b"TIDEMILL_NO__SUCH_KEY", b"hush"),
        (b"TIDEMILL_BROKER__URL", &[&long[..], b"x"].concat()),
    ] {
        let ran = with(name, value);
        let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
        let shown = String::from_utf8_lossy(name).into_owned();
        assert_eq!(ran.status.code(), Some(2), "{shown}: {said}");
        let name = shown.trim_end_matches('\u{fffd}');
        assert!(
            said.contains(name) && !said.contains("hush"),
            "{shown}: {said}"
        );
    }
}
