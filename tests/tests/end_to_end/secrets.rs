//! Passwords, tokens and keys: whatever goes wrong, no log line, command, file or core dump shows one, and
//! files that others can get at are told.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use tidemill_tests::{Broker, Endpoint, Gateway, free_port, run, skipped, tidemill, write_secret};

use crate::support::{PASS, broker, rule, sensor};

/// Stands in every secret.
const HUSH: &str = "hush-7f3a";

/// All bytes of the files below a folder.
fn bytes_below(path: &Path) -> Vec<u8> {
    if !path.is_dir() {
        return fs::read(path).unwrap_or_default();
    }
    let entries = fs::read_dir(path).unwrap();
    let all = entries.map(|entry| bytes_below(&entry.unwrap().path()));
    all.collect::<Vec<_>>().concat()
}

#[track_caller]
fn check_hidden(secrets: &[String], said: &[u8], by: &str) {
    for secret in secrets {
        let found = said
            .windows(secret.len())
            .any(|part| part == secret.as_bytes());
        assert!(
            !found,
            "{by} shows {secret:?}:\n{}",
            String::from_utf8_lossy(said)
        );
    }
}

/// Makes a certificate with a key, and returns a piece of the key; `None` where nothing makes one.
fn certificate(gateway: &Gateway) -> Option<String> {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-subj", "/CN=gw", "-days", "2", "-keyout", "key", "-out", "cert",
        ])
        .current_dir(gateway.path(""))
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        skipped("openssl makes no key here");
        return None;
    }
    let key = fs::read_to_string(gateway.path("key")).unwrap();
    write_secret(&gateway.path("key"), &format!("{HUSH}\n{key}"));
    Some(key.lines().nth(1).unwrap().get(..40).unwrap().to_owned())
}

/// A gateway with something to hide from everybody, and what that is.
fn secretive(broker: &Broker, endpoint: &Endpoint) -> (Gateway, Vec<String>) {
    let (nobody, port) = (free_port(), endpoint.port());
    let lines = format!(
        "username = \"gw\"\npassword_file = \"password\"\n[recorder]\ndisk = \"1 MiB\"\n\
         [destinations.cloud]\nurl = \"http://127.0.0.1:{nobody}/in?key={HUSH}\"\ntoken_file = \"token\"\n\
         [destinations.second]\nurl = \"http://127.0.0.1:{port}/in?key={HUSH}\"\nusername = \"u\"\npassword_file = \"password\"\n\
         [destinations.third]\nurl = \"mqtt://127.0.0.1:{nobody}\"\nusername = \"u\"\npassword_file = \"password\"\n\
         [destinations.fourth]\nurl = \"http://127.0.0.1:{port}/in\"\ntoken_file = \"token\"\n"
    );
    let gateway = Gateway::new(broker.port(), &lines);
    for file in ["password", "token"] {
        write_secret(&gateway.path(file), &format!("{HUSH}\n"));
    }
    let mut secrets = vec![HUSH.to_owned(), "dTpodXNoLTdmM2E".to_owned()];
    let mut names = vec!["cloud", "second", "third", "fourth"];
    if let Some(key) = certificate(&gateway) {
        gateway.configure(&format!(
            "[destinations.fifth]\nurl = \"https://127.0.0.1:{port}/in\"\ncert_file = \"cert\"\nkey_file = \"key\"\nca_file = \"cert\""
        ));
        secrets.push(key);
        names.push("fifth");
    }
    gateway.module("pass", PASS);
    for name in names {
        let text = rule("\"in/#\"", "wasm = \"pass.wasm\"", "out");
        gateway.rule(name, &text.replace("\"local\"", &format!("{name:?}")));
    }
    (gateway, secrets)
}

const COMMANDS: [&str; 14] = [
    "check",
    "inspect health",
    "inspect health --json",
    "inspect rules",
    "inspect events",
    "inspect ledger",
    "inspect outbox",
    "inspect journal",
    "inspect pond",
    "inspect state-hash",
    "dead-letters list --json",
    "event-ids list",
    "state list cloud",
    "rule run rules/cloud.toml --for 1s",
];

#[test]
fn a_canary_in_every_secret_is_found_nowhere() {
    let broker = broker();
    let endpoint = Endpoint::echoing(401);
    for (format, level) in [("text", "trace"), ("json", "debug")] {
        let (mut gateway, secrets) = secretive(&broker, &endpoint);
        gateway.argument("--log-format");
        gateway.argument(format);
        gateway.variable("TIDEMILL_LOG", level);
        gateway.wrap(&["sh", "-c", "ulimit -c unlimited; exec \"$0\" \"$@\""]);
        gateway.run();
        gateway.until_logged("subscribed");
        sensor(&broker).publish("in/a", b"1", 1, false);
        gateway.until_logged("not delivered: ");
        for name in ["cloud", "second", "third", "fourth"] {
            gateway.until_logged(&match format {
                "json" => format!("\"destination\":\"{name}\""),
                _ => format!("destination=\"{name}\""),
            });
        }
        let commands = |when: &str| {
            for command in COMMANDS {
                let ran = gateway.tidemill(command);
                let said = [ran.out, ran.err].concat();
                check_hidden(&secrets, said.as_bytes(), &format!("{command} {when}"));
            }
        };
        commands("beside the agent");
        let of = |name: &str| fs::read(format!("/proc/{}/{name}", gateway.id())).unwrap();
        check_hidden(&secrets, &of("cmdline"), "the command line");
        check_hidden(&secrets, &of("environ"), "the environment");
        let limits = String::from_utf8(of("limits")).unwrap();
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        let words: Vec<&str> = core.unwrap().split_whitespace().collect();
        assert_eq!(words[4..6], ["0", "0"], "{limits}");
        let (is_dumped, log) = gateway.crash();
        assert!(!is_dumped, "its memory was written to a file");
        check_hidden(&secrets, log.join("\n").as_bytes(), "the log");
        check_hidden(
            &secrets,
            &bytes_below(&gateway.path("data")),
            "the data directory",
        );
        let gateway = &gateway;
        for command in COMMANDS {
            let ran = gateway.tidemill(command);
            let said = [ran.out, ran.err].concat();
            check_hidden(
                &secrets,
                said.as_bytes(),
                &format!("{command} after a crash"),
            );
        }
    }
}

#[test]
fn no_process_of_its_user_can_read_the_memory_of_an_agent() {
    let ids = ["--clear-groups", "--reuid", "1000", "--regid", "1000"];
    let can = Command::new("setpriv")
        .args(ids)
        .arg(tidemill())
        .arg("--version")
        .output();
    if !can.is_ok_and(|ran| ran.status.success()) {
        return skipped("no other user can run the agent");
    }
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    gateway.module("pass", PASS);
    gateway.rule("pass", &rule("\"in/#\"", "wasm = \"pass.wasm\"", "out"));
    fs::set_permissions(gateway.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(gateway.path("data")).unwrap();
    chown(gateway.path("data"), Some(1000), Some(1000)).unwrap();
    // As that user from the beginning, and as root who becomes that user.
    for wrapper in [&[&["setpriv"], &ids[..]].concat()[..], &[]] {
        gateway.wrap(wrapper);
        gateway.start();
        let process = format!("/proc/{}", gateway.id());
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        assert!(status.contains("Uid:\t1000\t1000\t1000"), "{status}");
        // The kernel gives the files of a process that it does not dump to root.
        assert_eq!(fs::metadata(format!("{process}/environ")).unwrap().uid(), 0);
        gateway.stop();
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let configurations = [
        format!("[destinations.x]\nurl = \"mqtt://u:{HUSH}@h\""),
        format!("[destinations.x]\nurl = \"u:{HUSH}@h:1883\""),
        format!("[destinations.x]\nurl = \"https://h/a b?key={HUSH}\""),
        format!("[destinations.x]\nurl = \"https://u:{HUSH}@h/a?b=c\""),
        format!("[destinations.x]\nurl = \"https://h/\"\ntoken = \"{HUSH}\""),
        format!("[destinations.x]\nurl = \"https://h/\"\ntoken = [\"{HUSH}\"]"),
        format!("password = \"{HUSH}\""),
        format!("password = {HUSH}"),
        format!("password = \"{HUSH}"),
        format!("password: {HUSH}"),
        format!("username = \"u\" password = \"{HUSH}\""),
    ];
    let check = |gateway: &Gateway, lines: &str| {
        let (code, log) = gateway.run_another();
        assert_eq!(code, Some(2), "{lines}: {log}");
        let checked = gateway.tidemill("check --offline");
        let said = format!("{log}{}{}", checked.out, checked.err);
        assert!(!said.contains(HUSH), "{lines}: {said}");
    };
    for lines in configurations {
        check(&Gateway::new(1, &lines), &lines);
    }
    for (name, value) in [
        ("TIDEMILL_BROKER__PASSWORD", HUSH.to_owned()),
        ("TIDEMILL_BROKER__URL", format!("mqtt://u:{HUSH}@h")),
        ("TIDEMILL_BROKER__PASSWORD_FILE", format!("/{HUSH}")),
    ] {
        let mut gateway = Gateway::new(1, "");
        gateway.variable(name, &value);
        let (code, log) = gateway.run_another();
        assert_eq!(code, Some(2), "{name}: {log}");
        assert!(log.contains(name) && !log.contains(HUSH), "{log}");
    }
}

#[test]
fn logins_and_files_that_others_can_get_at_are_told_and_secrets_of_others_are_refused() {
    let lines = "username = \"u\"\npassword_file = \"password\"\n\
                 [destinations.cloud]\nurl = \"http://h.invalid/in?key=x\"\ntoken_file = \"token\"\n\
                 [destinations.far]\nurl = \"mqtt://192.0.2.1\"\nusername = \"u\"\npassword_file = \"password\"\n\
                 [destinations.near]\nurl = \"mqtt://[::1]\"\nusername = \"u\"\npassword_file = \"password\"\n\
                 [destinations.safe]\nurl = \"https://h.invalid/in\"\ntoken_file = \"token\"\n";
    let gateway = Gateway::new(1, lines);
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(gateway.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    for file in ["password", "token"] {
        write_secret(&gateway.path(file), "x");
    }
    mode("agent.toml", 0o640);
    let warnings = || -> Vec<String> {
        let words = ["check", "--offline", "--config", "agent.toml"];
        let ran = run(&gateway.path(""), &words);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let lines = ran.out.lines().filter(|line| line.contains("everybody"));
        lines.map(str::to_owned).collect()
    };
    let open = warnings();
    assert_eq!(open.len(), 2, "{open:?}");
    assert!(
        open[0].contains("destinations.cloud.url: the login goes over the network"),
        "{open:?}"
    );
    assert!(
        open[1].contains("destinations.far.url: the password goes over the network"),
        "{open:?}"
    );
    mode("token", 0o644);
    mode("agent.toml", 0o644);
    let open = warnings();
    let count = |text: &str| open.iter().filter(|line| line.contains(text)).count();
    assert_eq!(open.len(), 5, "{open:?}");
    assert_eq!(
        count("token_file: everybody on this machine can read "),
        2,
        "{open:?}"
    );
    assert_eq!(
        count("destinations.cloud.url: its query may hold a token"),
        1,
        "{open:?}"
    );
    assert!(count("type: chmod o-r ") == 3, "{open:?}");
    for bad in [0o620, 0o602, 0o666] {
        mode("token", bad);
        let (code, log) = gateway.run_another();
        assert_eq!(code, Some(2), "{bad:o}: {log}");
        assert!(
            log.contains("token_file")
                && log.contains("others can write it")
                && log.contains("chmod go-w"),
            "{log}"
        );
        let checked = gateway.tidemill("check --offline");
        assert_eq!(checked.code, Some(2), "{checked:?}");
    }
}
