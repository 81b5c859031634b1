//! `tidemill seed`: what a file on the boot partition makes of a gateway, and what it does not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidemill_tests::{Broker, Gateway, LoopDisk, Ran, free_port, run, skipped, tidemill};

use crate::support::{broker, listener, sensor, threshold};

/// Stands in every secret.
const HUSH: &str = "hush-7f3a";

/// A boot partition and the folder of a configuration.
struct Card {
    folder: tempfile::TempDir,
}

impl Card {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["boot", "etc"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn seed(&self, command: &str) -> Ran {
        let words: Vec<&str> = command.split(' ').collect();
        run(self.folder.path(), &[&["seed"], &words[..]].concat())
    }

    fn apply(&self) -> Ran {
        self.seed("apply --boot boot --config etc/agent.toml")
    }

    fn apply_image(&self) -> Ran {
        self.seed("apply --boot boot --config etc/agent.toml --system system")
    }

    /// Names and bytes of all files below a folder.
    fn files(&self, name: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all = Vec::new();
        let mut folders = vec![self.path(name)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path)
                } else {
                    all.push((path.clone(), fs::read(&path).unwrap()))
                }
            }
        }
        all.sort();
        all
    }
}

#[track_caller]
fn check_hidden(said: &[u8], by: &str) {
    let shows = said.windows(HUSH.len()).any(|part| part == HUSH.as_bytes());
    assert!(!shows, "{by} shows it: {}", String::from_utf8_lossy(said));
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A seed of all that a gateway on any system may have.
fn whole(broker: u16) -> String {
    format!(
        "# the password was {HUSH} before, too\r\n[gateway]\r\nid = \"plant-7\"\r\n[broker]\r\n\
         url = \"mqtt://127.0.0.1:{broker}\"\r\nusername = \"gw\"\r\npassword = \"{HUSH}\"\r\n\
         [destinations.cloud]\r\nurl = \"https://127.0.0.1:1/in\"\r\ntoken = \"{HUSH}-token\"\r\n\
         [destinations.second]\r\nurl = \"mqtt://127.0.0.1:1\"\r\nusername = \"u\"\r\npassword_file = \"second.txt\"\r\n"
    )
}

#[test]
fn a_seed_makes_a_gateway_once_and_leaves_no_secret_on_the_boot_partition() {
    let broker = broker();
    let card = Card::new();
    card.put(
        "boot/tidemill.toml",
        format!("\u{feff}{}", whole(broker.port())),
    );
    card.put("boot/second.txt", format!("\u{feff}{HUSH}-file\r\n"));
    let rule = threshold("sensors/+/env", "out/{key}");
    card.put(
        "boot/tidemill-rules/hot.toml",
        format!("name = \"hot\"\n{rule}"),
    );
    card.put(
        "etc/rules/mine.toml",
        format!("name = \"mine\"\n{}", rule.replace("out/", "mine/")),
    );
    let applied = card.apply();
    assert_eq!(applied.code, Some(0), "{applied:?}");
    for (path, bytes) in card.files("boot") {
        check_hidden(&bytes, &path.display().to_string());
    }
    check_hidden(format!("{applied:?}").as_bytes(), "the command");
    assert!(!card.path("boot/tidemill.toml").exists());
    let taken = card.text("boot/tidemill.taken.toml");
    for line in [
        "password = \"(taken over)\"\r\n",
        "token = \"(taken over)\"\r\n",
        "password_file = \"second.txt\"\r\n",
        "username = \"gw\"\r\n",
    ] {
        assert!(taken.contains(line), "no {line:?} in {taken}");
    }
    assert_eq!(card.text("boot/second.txt"), "(taken over)\n");
    let report = card.text("boot/tidemill-report.txt");
    for line in [
        "on gateway plant-7: what became of the seed\n",
        "\nstate: taken over on 20",
        "\nclock: 20",
        "\n  secret broker.password\n",
        "\n  secret destinations.cloud.token\n",
        "\n  secret file second.txt\n",
        "\n  rule file hot.toml\n",
        "\n  2 rules in all\n",
    ] {
        assert!(report.contains(line), "no {line:?} in\n{report}");
    }
    for (name, expected) in [
        ("broker.password", HUSH.to_owned()),
        ("destinations.cloud.token", format!("{HUSH}-token")),
    ] {
        let path = card.path(&format!("etc/secrets/{name}"));
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(mode(&path), 0o640);
    }
    assert_eq!(mode(&card.path("etc/secrets")), 0o750);
    assert_eq!(mode(&card.path("etc/agent.toml")), 0o640);
    check_hidden(card.text("etc/agent.toml").as_bytes(), "agent.toml");
    check_hidden(card.text("etc/seed.json").as_bytes(), "seed.json");
    assert!(card.path("etc/rules/mine.toml").exists());

    // A second boot finds nothing to do.
    let before = (card.files("boot"), card.files("etc"));
    let again = card.apply();
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!((card.files("boot"), card.files("etc")), before);
    runs_with(&card, &broker);

    // The seed that was taken over, edited, and taken over again: its secrets are kept.
    let edited = taken.replace("plant-7", "plant-8");
    card.put("boot/tidemill.toml", edited);
    let again = card.apply();
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(card.text("etc/agent.toml").contains("plant-8"));
    let secrets = card.files("etc/secrets");
    let token = secrets
        .iter()
        .find(|(path, _)| path.ends_with("destinations.cloud.token"));
    assert_eq!(token.unwrap().1, format!("{HUSH}-token").into_bytes());
}

/// The agent runs with what the seed made, and `inspect health` names the seed.
fn runs_with(card: &Card, broker: &Broker) {
    let mut gateway = Gateway::new(broker.port(), "");
    fs::remove_file(gateway.path("agent.toml")).unwrap();
    std::os::unix::fs::symlink(card.path("etc/agent.toml"), gateway.path("agent.toml")).unwrap();
    let config = card.path("etc/agent.toml");
    let text = fs::read_to_string(&config).unwrap();
    let data = gateway.path("data");
    fs::write(
        &config,
        text.replace("[gateway]", &format!("[gateway]\ndata_dir = {data:?}")),
    )
    .unwrap();
    let rules = card.path("etc/rules");
    gateway.variable("TIDEMILL_GATEWAY__RULES_DIR", &rules);
    for key in [
        "BROKER__PASSWORD_FILE",
        "DESTINATIONS__SECOND__PASSWORD_FILE",
    ] {
        gateway.variable(
            &format!("TIDEMILL_{key}"),
            card.path("etc/secrets/broker.password"),
        );
    }
    gateway.variable(
        "TIDEMILL_DESTINATIONS__CLOUD__TOKEN_FILE",
        card.path("etc/secrets/destinations.cloud.token"),
    );
    gateway.start();
    let mut out = listener(broker, "out/#");
    sensor(broker).publish("sensors/d1/env", b"60", 1, false);
    assert_eq!(out.receive_texts(1)[0].0, "out/d1");
    gateway.stop();
    fs::write(&config, text).unwrap();
}

/// Seeds that are wrong, and a piece of what has to be said of each.
fn wrong_seeds() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let utf16 = "[gateway]\nid = \"a\"\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes);
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain(utf16).collect();
    let cloud = "[destinations.cloud]\nurl = \"mqtts://h\"\n";
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        (
            "UTF-16",
            utf16,
            "tidemill.toml:1:1: this is text in UTF-16; save it as UTF-8",
        ),
        (
            "an unknown key",
            text("[gateway]\nidd = \"a\"\n"),
            "tidemill.toml:2:1: unknown key `idd`; did you mean `id`?",
        ),
        (
            "a missing ca_file",
            text(&format!("{cloud}ca_file = \"cloud.pem\"\n")),
            "tidemill.toml:3:11: destinations.cloud.ca_file: cloud.pem does not lie beside the seed; copy it there",
        ),
        (
            "a file elsewhere",
            text(&format!("{cloud}ca_file = \"../etc/shadow\"\n")),
            "tidemill.toml:3:11: destinations.cloud.ca_file: \"../etc/shadow\" is no plain name",
        ),
        (
            "both passwords",
            text(&format!(
                "{cloud}username = \"u\"\npassword_file = \"p\"\npassword = \"{HUSH}\"\n"
            )),
            "tidemill.toml:5:12: destinations.cloud.password stands beside password_file, and one of them is enough",
        ),
        (
            "an id with a space",
            text("[gateway]\nid = \"a b\"\n"),
            "tidemill.toml:2:6: gateway.id has 1 to 64 letters",
        ),
        (
            "65 KiB",
            vec![b'#'; 65 << 10],
            "a seed has at most 64 KiB; put rules into the folder tidemill-rules",
        ),
        (
            "empty",
            Vec::new(),
            "says nothing; `tidemill seed new --boot DIR` writes",
        ),
        ("zeros", vec![0; 512], ": this is no TOML: "),
        (
            "half-written",
            text(&format!("[broker]\nusername = \"u\"\npassword = \"{HUSH}")),
            "tidemill.toml:3:",
        ),
        (
            "a password without quotes",
            text(&format!("[broker]\npassword = {HUSH}\n")),
            "tidemill.toml:2:",
        ),
        (
            "a password of another kind",
            text("[broker]\npassword = 7777777\n"),
            "tidemill.toml:2:12: broker.password is a text, in quotes",
        ),
        (
            "a password that was never there",
            text("[broker]\nusername = \"u\"\npassword = \"(taken over)\"\n"),
            "tidemill.toml:3:12: broker.password was never taken over by this gateway",
        ),
        (
            "an empty password",
            text("[broker]\nusername = \"u\"\npassword = \"\"\n"),
            "tidemill.toml:3:12: broker.password is empty",
        ),
        (
            "a data directory",
            text("[gateway]\ndata_dir = \"/tmp\"\n"),
            "tidemill.toml:2:12: gateway.data_dir is no matter of a seed; leave it out",
        ),
        (
            "Wi-Fi without a country",
            text(&format!(
                "[system]\nwifi = {{ ssid = \"plant\", password = \"{HUSH}\" }}\n"
            )),
            "tidemill.toml:2:8: missing key `country`; write country = \"DE\"",
        ),
        (
            "a short password of Wi-Fi",
            text(
                "[system]\nwifi = { country = \"DE\", ssid = \"plant\", password = \"7777777\" }\n",
            ),
            "tidemill.toml:2:53: system.wifi.password: a password of Wi-Fi has 8 to 63",
        ),
        (
            "devices without passwords",
            text("[system]\nsensors = { port = 1883, users = {} }\n"),
            "system.sensors.users: nobody could connect",
        ),
        (
            "an agent that its broker would not let in",
            text(&format!(
                "[broker]\nurl = \"mqtt://127.0.0.1:1883\"\n[system]\nsensors = {{ port = 1883, users = {{ a = \"{HUSH}\" }} }}\n"
            )),
            "tidemill.toml:2:7: broker.url: at port 1883 the broker asks everybody for a password; leave url out",
        ),
        (
            "a zone that is none",
            text("[system]\ntimezone = \"Europe/Berlon\"\n"),
            "tidemill.toml:2:12: system.timezone: there is no such time zone",
        ),
    ]
}

/// The command refuses the seed, and everybody is told why.
#[track_caller]
fn check_refused(card: &Card, what: &str, expected: &str) {
    let before = card.files("etc");
    let checked = card.seed("check --boot boot");
    let applied = card.apply_image();
    let report = card.text("boot/tidemill-report.txt");
    let kept = card.text("etc/seed.json");
    // On another machine nobody knows what a gateway has taken over.
    let is_of_gateway = expected.contains("never taken over");
    let codes = (checked.code, applied.code);
    assert_eq!(
        codes,
        (Some(if is_of_gateway { 0 } else { 2 }), Some(2)),
        "{what}: {checked:?} {applied:?}"
    );
    assert!(
        report.contains("state: refused, and nothing was changed\n"),
        "{what}: {report}"
    );
    for said in [&applied.err, &report] {
        assert!(said.contains(expected), "{what}: no {expected:?} in {said}");
    }
    for said in [
        &checked.out,
        &checked.err,
        &applied.out,
        &applied.err,
        &report,
        &kept,
    ] {
        check_hidden(said.as_bytes(), what);
        assert!(!said.contains("7777777"), "{what}: {said}");
    }
    let mut after = card.files("etc");
    after.retain(|(path, _)| !path.ends_with("seed.json"));
    let mut before = before;
    before.retain(|(path, _)| !path.ends_with("seed.json"));
    assert_eq!(after, before, "{what}");
}

#[test]
fn a_seed_that_is_wrong_changes_nothing_and_everybody_is_told_why() {
    let card = Card::new();
    card.put(
        "etc/agent.toml",
        "[gateway]\nid = \"old\"\n[broker]\nurl = \"mqtt://127.0.0.1\"\n",
    );
    card.apply_image();
    for (what, seed, expected) in wrong_seeds() {
        card.put("boot/tidemill.toml", seed);
        check_refused(&card, what, expected);
        assert!(
            card.path("boot/tidemill.toml").exists(),
            "{what}: it stays, to be mended"
        );
    }
    card.put("boot/tidemill.toml.txt", "[gateway]\n");
    check_refused(
        &card,
        "two seeds",
        "tidemill.toml: there is a second seed beside it, tidemill.toml.txt",
    );
    fs::remove_file(card.path("boot/tidemill.toml.txt")).unwrap();
    // Once it is gone, it is wrong no more.
    fs::remove_file(card.path("boot/tidemill.toml")).unwrap();
    let applied = card.apply_image();
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert!(!card.text("boot/tidemill-report.txt").contains("refused"));
}

#[test]
fn a_seed_whose_rules_are_wrong_is_refused_with_their_lines() {
    let card = Card::new();
    card.put(
        "etc/agent.toml",
        "[gateway]\nid = \"old\"\n[broker]\nurl = \"mqtt://127.0.0.1\"\n",
    );
    card.put("boot/tidemill.toml", "[gateway]\nid = \"new\"\n");
    let rule = format!(
        "name = \"hot\"\n{}",
        threshold("sensors/+/env", "out/{key}")
    );
    let sql = rule.replace("stock = \"threshold\"", "sql = \"SELEC 1\"");
    card.put("boot/tidemill-rules/hot.toml", sql);
    check_refused(
        &card,
        "a rule that does not compile",
        "boot/tidemill-rules/hot.toml:6:",
    );
    let cloud = rule.replace("\"local\"", "\"cloud\"");
    card.put("boot/tidemill-rules/hot.toml", cloud);
    check_refused(
        &card,
        "a rule for a destination that is not there",
        "the gateway has no destination \"cloud\"",
    );
    // A rule that the gateway has is a part of the whole.
    card.put("boot/tidemill-rules/hot.toml", rule.clone());
    card.put(
        "etc/rules/old.toml",
        rule.replace("\"local\"", "\"cloud\"").replace("hot", "old"),
    );
    let refused = card.apply();
    assert_eq!(refused.code, Some(2), "a rule of before: {refused:?}");
    assert!(refused.err.contains("etc/rules/old.toml:"), "{refused:?}");
    card.put("etc/rules/old.toml", rule.replace("hot", "old"));
    let applied = card.apply();
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert!(card.path("etc/rules/hot.toml").exists());
}

#[test]
fn a_gateway_without_a_seed_has_its_defaults_and_keeps_its_name() {
    let card = Card::new();
    let applied = card.apply();
    assert_eq!(applied.code, Some(0), "{applied:?}");
    let first = card.text("etc/agent.toml");
    for line in [
        "id = \"gw-",
        "start = \"held\"",
        "url = \"mqtt://127.0.0.1:1883\"",
    ] {
        assert!(first.contains(line), "{first}");
    }
    let checked = run(
        card.folder.path(),
        &["check", "--offline", "--config", "etc/agent.toml"],
    );
    assert!(!checked.err.contains("error"), "{checked:?}");
    assert!(
        card.text("boot/tidemill-report.txt")
            .contains("no seed yet, the gateway has its defaults")
    );
    // A seed that names no gateway leaves it its name, and data where its owner put them.
    card.put(
        "etc/agent.toml",
        first.replace("rules_dir", "data_dir = \"/srv/tidemill\"\nrules_dir"),
    );
    card.put(
        "boot/tidemill.toml",
        "[broker]\nurl = \"mqtt://127.0.0.1:1\"\n",
    );
    assert_eq!(card.apply().code, Some(0));
    let second = card.text("etc/agent.toml");
    let id = first
        .lines()
        .find(|line| line.starts_with("id = "))
        .unwrap();
    assert!(
        second.contains(id) && second.contains("/srv/tidemill"),
        "{second}"
    );
}

#[test]
fn a_new_seed_is_one_that_a_gateway_takes_over() {
    let card = Card::new();
    let written = card.seed("new --boot boot --gateway plant-7");
    assert_eq!(written.code, Some(0), "{written:?}");
    assert!(
        written.out.contains("tidemill seed check --boot boot"),
        "{written:?}"
    );
    let checked = card.seed("check --boot boot");
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.out.contains("\n  gateway plant-7\n"), "{checked:?}");
    let again = card.seed("new --boot boot");
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.err.contains("is there already"), "{again:?}");
    assert_eq!(card.seed("new --boot nowhere").code, Some(2));
    let foul = run(
        card.folder.path(),
        &["seed", "new", "--boot", "etc", "--gateway", "a b"],
    );
    assert_eq!(foul.code, Some(2), "{foul:?}");
    // Every line of it that is a key is one that a gateway knows.
    let text = card.text("boot/tidemill.toml");
    let bare = |line: &str| line.strip_prefix("# ").unwrap_or(line).to_owned() + "\n";
    let used: String = text.lines().map(bare).collect();
    let used = used.replace("password = \"\"", &format!("password = \"{HUSH}\""));
    let used = used.replace("{ sensor = \"\" }", &format!("{{ sensor = \"{HUSH}\" }}"));
    let from = used.find("[gateway]").unwrap();
    let used = used[from..].replace("AAAA… you", &format!("{} you", "A".repeat(68)));
    let used = used.replace("url = \"mqtt://127.0.0.1:1883\"", "");
    card.put("boot/tidemill.toml", used);
    let checked = card.seed("check --boot boot");
    let lacks = "destinations.cloud.ca_file: cloud-ca.pem does not lie beside the seed";
    let lines: Vec<&str> = checked.err.lines().collect();
    assert!(lines.len() == 1 && lines[0].contains(lacks), "{checked:?}");
}

#[test]
fn settings_of_the_system_become_files_of_its_services_on_the_image_alone() {
    let card = Card::new();
    let seed = format!(
        "[gateway]\nid = \"plant-7\"\n[system]\nhostname = \"plant-7\"\ntimezone = \"Europe/Berlin\"\n\
         time_servers = [\"ntp.plant.example\"]\nssh_keys = [\"ssh-ed25519 {key} ops\"]\n\
         network = {{ address = \"192.168.1.50/24\", router = \"192.168.1.1\", dns = [\"192.168.1.1\"] }}\n\
         wifi = {{ country = \"DE\", ssid = \"pl\\\"ant\", password = \"{HUSH}\" }}\n\
         sensors = {{ port = 1883, users = {{ sensor = \"{HUSH}-s\" }} }}\n",
        key = "A".repeat(68)
    );
    card.put("boot/tidemill.toml", &seed);
    let refused = card.apply();
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused
            .err
            .contains("tidemill.toml:3:1: [system] is for the image of Tidemill alone"),
        "{refused:?}"
    );
    if Command::new("mosquitto_passwd").output().is_err() {
        skipped("mosquitto_passwd is not installed");
        return;
    }
    let applied = card.apply_image();
    assert_eq!(applied.code, Some(0), "{applied:?}");
    for (name, expected) in [
        ("hostname", "plant-7\n"),
        ("timezone", "Europe/Berlin\n"),
        ("timesyncd.conf", "NTP=ntp.plant.example\n"),
        (
            "wired.network",
            "Address=192.168.1.50/24\nGateway=192.168.1.1\nDNS=192.168.1.1\n",
        ),
        (
            "wpa_supplicant.conf",
            "country=DE\nnetwork={\n\tssid=706c22616e74\n",
        ),
        ("mosquitto.conf", "listener 1884 127.0.0.1\n"),
        ("mosquitto.conf", "listener 1883\nallow_anonymous false\n"),
        ("mosquitto.passwd", "sensor:$7$"),
    ] {
        let text = card.text(&format!("system/{name}"));
        assert!(text.contains(expected), "{name}: {text}");
    }
    assert_eq!(mode(&card.path("system/wpa_supplicant.conf")), 0o600);
    assert_eq!(mode(&card.path("system/mosquitto.passwd")), 0o640);
    assert_eq!(mode(&card.path("system/authorized_keys")), 0o644);
    check_hidden(
        &fs::read(card.path("system/mosquitto.passwd")).unwrap(),
        "the broker's file",
    );
    assert!(
        card.text("etc/agent.toml")
            .contains("mqtt://127.0.0.1:1884")
    );
    for (path, bytes) in card.files("boot") {
        check_hidden(&bytes, &path.display().to_string());
    }
    // Without the table everything is as it was at first.
    let taken = card.text("boot/tidemill.taken.toml");
    card.put("boot/tidemill.toml", &taken);
    assert_eq!(card.apply_image().code, Some(0));
    assert!(
        card.text("system/wpa_supplicant.conf").contains(HUSH),
        "kept"
    );
    card.put("boot/tidemill.toml", "[gateway]\nid = \"plant-7\"\n");
    assert_eq!(card.apply_image().code, Some(0));
    assert_eq!(card.text("system/authorized_keys"), "");
    assert_eq!(card.text("system/mosquitto.passwd"), "");
    assert!(card.text("system/wired.network").contains("DHCP=yes"));
}

#[test]
fn health_names_the_seed_that_was_refused() {
    let card = Card::new();
    let mut gateway = Gateway::new(free_port(), "");
    gateway.rule("hot", &threshold("sensors/+/env", "out/{key}"));
    card.put("boot/tidemill.toml", "[gateway]\nidd = \"a\"\n");
    let apply = |code| {
        let config = gateway.path("agent.toml");
        let ran = run(
            card.folder.path(),
            &[
                "seed",
                "apply",
                "--boot",
                "boot",
                "--config",
                config.to_str().unwrap(),
            ],
        );
        assert_eq!(ran.code, Some(code), "{ran:?}");
    };
    apply(2);
    gateway.run();
    gateway.until_logged("deployed");
    let health = gateway.tidemill("inspect health");
    let line = health.out.lines().find(|line| line.starts_with("! seed"));
    let line = line.unwrap_or_else(|| panic!("{health:?}"));
    assert!(
        line.contains("refused: boot/tidemill.toml:2:1: unknown key `idd`"),
        "{line}"
    );
    fs::remove_file(card.path("boot/tidemill.toml")).unwrap();
    let config = gateway.path("agent.toml");
    run(
        card.folder.path(),
        &[
            "seed",
            "apply",
            "--boot",
            "boot",
            "--config",
            config.to_str().unwrap(),
        ],
    );
    let health = gateway.tidemill("inspect health");
    assert!(health.out.contains("  seed"), "{health:?}");
    gateway.stop();
}

/// A boot partition as a file system of its own; `None` where none can be made. Not every kernel has FAT, and what
/// is full or read-only is so in any.
fn partition(mib: u64) -> Option<(Card, LoopDisk)> {
    let card = Card::new();
    match LoopDisk::mount(&card.path("boot"), mib) {
        Ok(disk) => Some((card, disk)),
        Err(why) => {
            skipped(&format!("no boot partition can be mounted: {why}"));
            None
        }
    }
}

#[test]
fn a_boot_partition_that_is_full_or_read_only_holds_nothing_up() {
    let Some((card, disk)) = partition(8) else {
        return;
    };
    let seed = format!(
        "[broker]\nusername = \"u\"\npassword = \"{HUSH}\"\n# {}\n",
        "x".repeat(3_000)
    );
    card.put("boot/tidemill.toml", &seed);
    disk.fill(0);
    let applied = card.apply();
    assert!(
        card.text("etc/agent.toml").contains("username = \"u\""),
        "{applied:?}"
    );
    for (path, bytes) in card.files("boot") {
        check_hidden(&bytes, &path.display().to_string());
    }
    assert!(!card.path("boot/tidemill.toml").exists());

    let Some((card, disk)) = partition(8) else {
        return;
    };
    card.put("boot/tidemill.toml", &seed);
    disk.lock();
    let applied = card.apply();
    assert_eq!(applied.code, Some(1), "{applied:?}");
    assert!(
        applied
            .err
            .contains("the seed could not be taken off the boot partition"),
        "{applied:?}"
    );
    assert!(card.text("etc/agent.toml").contains("username = \"u\""));
    assert!(
        card.text("etc/seed.json")
            .contains("no report could be written")
    );
}

#[test]
fn a_process_that_ends_anywhere_in_between_is_made_good_by_the_next_boot() {
    if Command::new("strace").arg("-V").output().is_err() {
        skipped("strace is not installed");
        return;
    }
    let rule = format!(
        "name = \"hot\"\n{}",
        threshold("sensors/+/env", "out/{key}")
    );
    let calls = ["rename", "unlink", "mkdir", "fsync"];
    let mut cut = 0;
    for call in calls {
        for number in 1..40 {
            let card = Card::new();
            card.put("boot/tidemill.toml", whole(1));
            card.put("boot/second.txt", format!("{HUSH}-file\n"));
            card.put("boot/tidemill-rules/hot.toml", &rule);
            let outcome = Command::new("strace")
                .args(["-f", "-qq", "-o", "/dev/null", "-e"])
                .arg(format!("inject={call}:signal=KILL:when={number}"))
                .arg(tidemill())
                .args([
                    "seed",
                    "apply",
                    "--boot",
                    "boot",
                    "--config",
                    "etc/agent.toml",
                ])
                .current_dir(card.folder.path())
                .output()
                .unwrap();
            if outcome.status.success() {
                break;
            }
            cut += 1;
            let applied = card.apply();
            let context = format!("{call} {number}: {applied:?}");
            assert_eq!(applied.code, Some(0), "{context}");
            let agent = card.text("etc/agent.toml");
            assert!(
                agent.contains("plant-7") && agent.contains("[destinations.second]"),
                "{context}"
            );
            let second = card.text("etc/secrets/second.txt");
            assert_eq!(second.trim(), format!("{HUSH}-file"), "{context}");
            assert!(card.path("etc/rules/hot.toml").exists(), "{context}");
            for (path, bytes) in card.files("boot") {
                check_hidden(&bytes, &path.display().to_string());
            }
        }
    }
    assert!(cut > 20, "only {cut} cuts were tried");
}
