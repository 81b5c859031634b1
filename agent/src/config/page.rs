//! `docs/configuration.md` against the parser: all keys are there and no other, and each takes its example.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Config, keys};
use tidemill_base::text::shape::{Key, tables};
use tidemill_base::text::{FileErrors, Source};
use tidemill_tests::page::{self, Row, code};

const PAGE: &str = include_str!("../../../docs/configuration.md");

/// Tables whose keys are listed with the table's name before them.
const DOTTED: &str = "Other tables";

/// A table that two others have.
const OUTBOX: &str = "outbox = { … }";

fn parse(folder: &Path, text: &str) -> Result<Config, FileErrors> {
    let source = Source {
        path: folder.join("agent.toml"),
        text: text.to_owned(),
    };
    Config::parse(&source, std::iter::empty())
}

/// The rows of a table, `x` standing for a name of the owner's choice.
fn rows_of(path: &str) -> Vec<Row> {
    let is_its = |heading: &str| {
        let named = code(heading).next().unwrap_or_default();
        let name = named.trim_matches(['[', ']']).replace("NAME", "x");
        name == path && named.starts_with('[') || named == OUTBOX && path.ends_with(".outbox")
    };
    let mut own: Vec<Row> = Vec::new();
    for (heading, rows) in page::rows(PAGE) {
        if is_its(heading) {
            own.extend(rows);
        } else if heading == DOTTED {
            let dot = format!("{path}.");
            let is_inside = |row: &Row| row.keys.iter().any(|key| key.starts_with(&dot));
            for mut row in rows.into_iter().filter(is_inside) {
                for key in &mut row.keys {
                    *key = key.strip_prefix(&dot).unwrap().to_owned();
                }
                own.push(row);
            }
        }
    }
    own
}

/// A configuration with one key more than it must have, and those that this one needs.
fn example(path: &str, key: &Key) -> String {
    let line = format!("{} = {}\n", key.name, key.example);
    let with = match key.name {
        "username" => "password_file = \"password\"\n",
        "password_file" => "username = \"gw\"\n",
        "cert_file" => "key_file = \"gateway.key\"\n",
        "key_file" => "cert_file = \"gateway.pem\"\n",
        _ => "",
    };
    let over_http = ["token_file", "answer_timeout"].contains(&key.name);
    let scheme = if over_http { "https" } else { "mqtts" };
    let url = |name: &str| match (key.name, path) {
        ("url", at) if at == name => String::new(),
        _ if name == "broker" => "url = \"mqtts://127.0.0.1\"\n".to_owned(),
        _ => format!("url = \"{scheme}://127.0.0.1\"\n"),
    };
    let id = if key.name == "id" {
        ""
    } else {
        "id = \"gw\"\n"
    };
    let of_its = match (path, key.name) {
        ("fleet", "root") => "url = \"mqtts://127.0.0.1\"\n",
        ("fleet", "url" | "via") => "root = \"root.json\"\n",
        ("fleet", _) => "root = \"root.json\"\nurl = \"mqtts://127.0.0.1\"\n",
        _ => "",
    };
    let mut text = String::new();
    if key.name == "via" {
        text.push_str("[destinations.cloud]\nurl = \"mqtts://127.0.0.1\"\n");
    }
    for (name, own) in [
        ("gateway", id.to_owned()),
        ("broker", url("broker")),
        ("destinations.x", url("destinations.x")),
        (path, of_its.to_owned()),
    ] {
        let is_known = text.contains(&format!("[{name}]\n"));
        if !is_known && !name.is_empty() {
            text.push_str(&format!("[{name}]\n{own}"));
            if name == path {
                text.push_str(&format!("{line}{with}"));
            }
        }
    }
    text
}

/// A root of trust of one key.
fn root() -> Vec<u8> {
    use tidemill_bundle::{Envelope, Moment, PayloadType, Root, RootKey, SigningKey};
    let key = SigningKey::from_seed(&[1; 32]);
    let root = Root {
        root: 1,
        threshold: 1,
        issued: Moment::parse("2026-12-01T00:00:00Z").unwrap(),
        expires: None,
        removed: Vec::new(),
        root_keys: vec![RootKey {
            id: key.public().id(),
            key: key.public(),
        }],
        bundle_keys: Vec::new(),
    };
    let mut envelope = Envelope::new(PayloadType::Root, root.encode());
    envelope.sign(&key);
    envelope.encode()
}

/// A folder with the files that examples name. The certificate is good for both ends.
fn files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["gw".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap().pem();
    std::fs::write(folder.path().join("root.json"), root()).unwrap();
    for (file, text) in [
        ("password", "secret"),
        ("token", "secret"),
        ("ca.pem", certificate.as_str()),
        ("gateway.pem", certificate.as_str()),
        ("gateway.key", key.serialize_pem().as_str()),
    ] {
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    folder
}

#[test]
fn the_page_has_all_keys_and_each_takes_its_example() {
    let folder = files();
    let mut seen = BTreeSet::new();
    for (path, keys) in tables(keys::FILE).into_iter().skip(1) {
        let rows = rows_of(&path);
        let known: BTreeSet<&str> = keys.iter().map(|key| key.name).collect();
        assert_eq!(page::keys(&rows), known, "[{path}]");
        seen.insert(path.clone());
        for row in &rows {
            assert!(row.cells.iter().any(|cell| !cell.is_empty()), "{row:?}");
        }
        for key in keys.iter().filter(|key| !key.example.is_empty()) {
            let text = example(&path, key);
            let read = parse(folder.path(), &text);
            assert!(read.is_ok(), "{}\n{text}", read.unwrap_err());
        }
    }
    let is_said = |key: &Key| {
        let tables = page::rows(PAGE);
        let dotted = tables[DOTTED].iter().flat_map(|row| &row.keys);
        let mut first = dotted.map(|key| key.split('.').next().unwrap());
        let is_dotted = first.any(|table| table == key.name);
        is_dotted
            || seen
                .iter()
                .any(|path| path.split('.').next() == Some(key.name))
    };
    for key in keys::FILE {
        assert!(is_said(key), "{}", key.name);
    }
}

#[test]
fn no_table_of_the_page_is_one_that_the_parser_does_not_know() {
    for (path, key) in page::rows(PAGE)[DOTTED]
        .iter()
        .flat_map(|row| &row.keys)
        .map(|key| key.split_once('.').unwrap_or((key, "")))
    {
        let table = tables(keys::FILE)
            .into_iter()
            .find(|(known, _)| known == path);
        let is_known = match table {
            Some((_, keys)) => keys.iter().any(|known| known.name == key),
            None => key.is_empty() && keys::FILE.iter().any(|known| known.name == path),
        };
        assert!(is_known, "{path}.{key}");
    }
}
