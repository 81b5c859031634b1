//! Passwords and tokens: whatever goes wrong, no log line and no command shows one.

use tidemill_tests::{Gateway, free_port, run};

use crate::support::{PASS, broker, rule, sensor};

const HUSH: &str = "hush-7f3a";

#[test]
fn no_secret_is_shown_by_a_log_line_or_a_command() {
    let broker = broker();
    let nobody = free_port();
    let lines = format!(
        "username = \"gw\"\npassword_file = \"password\"\n\
         [destinations.cloud]\nurl = \"http://127.0.0.1:{nobody}/in?key={HUSH}\"\ntoken_file = \"token\"\n\
         [destinations.second]\nurl = \"http://127.0.0.1:{nobody}/in\"\nusername = \"u\"\npassword_file = \"password\"\n\
         [destinations.third]\nurl = \"mqtt://127.0.0.1:{nobody}\"\nusername = \"u\"\npassword_file = \"password\"\n"
    );
    let mut gateway = Gateway::new(broker.port(), &lines);
    for file in ["password", "token"] {
        std::fs::write(gateway.path(file), format!("{HUSH}\n")).unwrap();
    }
    gateway.module("pass", PASS);
    for name in ["cloud", "second", "third"] {
        let text = rule("\"in/#\"", "wasm = \"pass.wasm\"", "out");
        gateway.rule(name, &text.replace("\"local\"", &format!("{name:?}")));
    }
    gateway.variable("TIDEMILL_LOG", "debug");
    gateway.start();
    sensor(&broker).publish("in/a", b"1", 1, false);
    gateway.until_logged("not delivered: ");
    gateway.until_logged("destination=\"third\"");
    let log = gateway.stop().join("\n");
    assert!(!log.contains(HUSH), "{log}");
    let checked = run(&gateway.path(""), &["check", "--config", "agent.toml"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.out.contains("destination cloud: http://127.0.0.1:"));
    assert!(!checked.out.contains(HUSH), "{checked:?}");

    // An address with a password in it is refused without being repeated.
    let wrong = Gateway::new(1, &format!("[destinations.x]\nurl = \"mqtt://u:{HUSH}@h\""));
    let (code, log) = wrong.run_another();
    assert_eq!(code, Some(2));
    assert!(log.contains("username has a key of its own"), "{log}");
    assert!(!log.contains(HUSH), "{log}");
}
