//! The commands that need no gateway: help, completions, `rule build`.

use std::path::Path;

use tidemill_tests::{Gateway, run};

fn here() -> &'static Path {
    Path::new(".")
}

/// The commands that the help text of a command lists, but for those that have commands themselves.
fn commands(of: &[&str]) -> Vec<String> {
    let ran = run(here(), &[of, &["--help"]].concat());
    let (_, list) = ran.out.split_once("Commands:\n").unwrap();
    list.lines()
        .take_while(|line| !line.is_empty())
        // A description may go on over lines that are further in.
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !["", "help", "rule"].contains(name))
        .map(|name| [of, &[name]].concat().join(" "))
        .collect()
}

#[test]
fn every_command_has_a_help_text_with_examples() {
    let mut commands = commands(&[]);
    for of in ["rule", "seed"] {
        commands.retain(|command| command != of);
        commands.extend(self::commands(&[of]));
    }
    assert!(commands.len() >= 5, "{commands:?}");
    for command in &commands {
        let command: Vec<_> = command.split(' ').collect();
        let ran = run(here(), &[&command[..], &["--help"]].concat());
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{command:?}");
        let example = format!("  tidemill {}", command.join(" "));
        assert!(ran.out.contains("Example"), "{}", ran.out);
        assert!(ran.out.contains(&example), "{}", ran.out);
    }
    for command in [
        &["--help"][..],
        &["rule", "--help"],
        &["--version"],
        &["help", "run"],
    ] {
        let ran = run(here(), command);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{command:?}");
        assert!(ran.out.contains("tidemill"), "{}", ran.out);
    }
}

#[test]
fn wrong_use_is_exit_code_2_with_the_way_out() {
    for (command, expected) in [
        (&[][..], "Usage: tidemill <COMMAND>"),
        (&["chekc"], "similar subcommand exists: 'check'"),
        (&["rule", "test"], "<RULE.toml>"),
        (&["run", "--grace", "soon"], "write \"250ms\", \"5s\""),
        (
            &["run", "--log-format", "xml"],
            "[possible values: text, json]",
        ),
    ] {
        let ran = run(here(), command);
        assert_eq!(ran.code, Some(2), "{command:?}");
        assert!(ran.err.contains(expected), "{}", ran.err);
    }
}

#[test]
fn completions_are_scripts_that_know_the_commands() {
    for (shell, mark) in [
        ("bash", "complete -F _tidemill"),
        ("zsh", "#compdef tidemill"),
        ("fish", "complete -c tidemill"),
    ] {
        let ran = run(here(), &["completions", shell]);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
        for text in [mark, "completions", "events"] {
            assert!(ran.out.contains(text), "{shell}: no {text:?}");
        }
    }
}

#[test]
fn rule_build_says_what_came_out() {
    let gateway = Gateway::new(1, "");
    gateway.rule(
        "average",
        "version = 3\n[on]\nmqtt = [\"sensors/+/env\"]\nkey = \"{topic.1}\"\n\
         [function]\nstock = \"average\"\n[inputs]\nvalue = \"/temperature\"\n\
         [window]\ntumbling = \"10s\"\n[ports.out]\nto = \"anywhere\"\ntopic = \"averages/{key}\"\n",
    );
    let ran = run(&gateway.path("rules"), &["rule", "build", "average.toml"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    for text in [
        "rule      average version 3\n",
        "bytes",
        "/temperature",
        "key       from the topic\n",
        "tumbling, 10000 ms",
        "out to anywhere\n",
    ] {
        assert!(ran.out.contains(text), "no {text:?} in\n{}", ran.out);
    }
    let ran = run(&gateway.path("rules"), &["rule", "build", "gone.toml"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    assert!(ran.err.contains("gone.toml: cannot be read"), "{}", ran.err);
}

#[test]
fn rule_next_says_when_a_schedule_is_due() {
    let next = |arguments: &[&str]| run(here(), &[&["rule", "next"], arguments].concat());
    let night = ["--zone", "Europe/Berlin", "--from", "2026-10-24T22:00:00Z"];
    for (expression, expected) in [
        (
            "0 30 2 * * *",
            "2026-10-25T02:30:00+02:00\n2026-10-26T02:30:00+01:00\n",
        ),
        (
            "0 30 2/23 * * *",
            "2026-10-25T02:30:00+02:00\n2026-10-25T02:30:00+01:00\n",
        ),
        (
            "@yearly",
            "2027-01-01T00:00:00+01:00\n2028-01-01T00:00:00+01:00\n",
        ),
        ("0 0 0 1 1 ? 2028", "2028-01-01T00:00:00+01:00\n"),
        (
            "every 90m",
            "2026-10-25T01:30:00+02:00\n2026-10-25T02:00:00+01:00\n",
        ),
    ] {
        let ran = next(&[&[expression][..], &night, &["-n", "2"]].concat());
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), expected), "{ran:?}");
    }
    let utc = next(&["@hourly", "--from", "2026-10-24T22:00:00.5Z", "-n", "1"]);
    assert_eq!(utc.out, "2026-10-24T23:00:00Z\n");
    assert_eq!(next(&["* * * * * *"]).out.lines().count(), 5);
    for (arguments, reason) in [
        (&["0 0 0 30 2 *"][..], "never comes due"),
        (
            &["0 0 0 1 1 ? 2028", "--from", "2029-01-01T00:00:00Z"],
            "is not due any more",
        ),
        (&["0 61 * * * *"], "minute 61: they go from 0 to 59"),
        (&["*/5 * * * *"], "write \"0 */5 * * * *\""),
        (&["@daily", "--zone", "Berlin"], "no time zone"),
        (&["@daily", "--from", "today"], "write it as 2026-"),
    ] {
        let ran = next(arguments);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains(reason) && ran.out.is_empty(), "{ran:?}");
    }
}
