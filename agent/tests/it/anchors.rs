//! The servers that the certificates in `ca_file` make trusted: those that authorities signed, in their time, and
//! those that signed themselves. A server that is refused sees nothing of what was meant for it.

use std::io::Read as _;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tidemill::config::HttpLogin;
use tidemill::event::emission::Priority;
use tidemill_base::secret::SecretFile;
use tidemill_tests::{Gateway, wait_until};
use tidemill_transport::tls::TlsFiles;

use crate::certificates::{Authority, Valid};
use crate::http_destinations::{Sending, settings as http_settings};
use crate::mqtt_destinations::{Destinations, rows, upstream};
use crate::mqtt_source::{BOTH, Source, settings as source_settings};

/// A server that only listens, and keeps what comes encrypted.
struct Witness {
    port: u16,
    seen: Arc<Mutex<Vec<u8>>>,
    handshakes: Arc<Mutex<usize>>,
}

impl Witness {
    fn new(config: ServerConfig) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let witness = Self {
            port,
            seen: Arc::default(),
            handshakes: Arc::default(),
        };
        let (seen, handshakes) = (witness.seen.clone(), witness.handshakes.clone());
        let config = Arc::new(config);
        // It ends with the test.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                *handshakes.lock().unwrap() += 1;
                let (seen, config) = (seen.clone(), config.clone());
                std::thread::spawn(move || {
                    let connection = ServerConnection::new(config).unwrap();
                    let mut stream = StreamOwned::new(connection, stream);
                    let mut bytes = [0; 4_096];
                    while let Ok(count @ 1..) = stream.read(&mut bytes) {
                        seen.lock().unwrap().extend_from_slice(&bytes[..count]);
                    }
                });
            }
        });
        witness
    }

    fn has_seen(&self, text: &str) -> bool {
        let seen = self.seen.lock().unwrap();
        seen.windows(text.len()).any(|it| it == text.as_bytes())
    }

    fn until_seen(&self, text: &str, case: &str) {
        wait_until(|| self.has_seen(text), || format!("{case}: no {text}"));
    }

    fn check_blind(&self, case: &str) {
        assert!(*self.handshakes.lock().unwrap() > 0, "{case}: nobody came");
        let seen = self.seen.lock().unwrap();
        assert!(
            seen.is_empty(),
            "{case}: {}",
            String::from_utf8_lossy(&seen)
        );
    }
}

/// A case of the table: what is trusted, who serves, and why that is refused.
struct Case {
    name: &'static str,
    trusts: Vec<String>,
    server: ServerConfig,
    refused: Option<&'static str>,
}

fn pem(authority: &Authority, name: &str) -> String {
    std::fs::read_to_string(authority.path(name)).unwrap()
}

fn signed_by(authority: &Authority) -> ServerConfig {
    authority.sign("server", "127.0.0.1", Valid::Now);
    authority.server("server", false)
}

/// One whose certificate alone is trusted.
fn only(name: &'static str, authority: &Authority, refused: Option<&'static str>) -> Case {
    Case {
        name,
        trusts: vec![pem(authority, "ca")],
        server: signed_by(authority),
        refused,
    }
}

/// One whose server shows the authorities between, the lowest first.
fn beyond(
    name: &'static str,
    trusted: &Authority,
    between: &[&Authority],
    refused: Option<&'static str>,
) -> Case {
    let signer = between[0];
    signer.sign("server", "127.0.0.1", Valid::Now);
    signer.lengthen("server", between);
    Case {
        name,
        trusts: vec![pem(trusted, "ca")],
        server: signer.server("server", false),
        refused,
    }
}

fn authorities() -> Vec<Case> {
    let good = Authority::new();
    let v2020 = rcgen::date_time_ymd(2020, 1, 2);
    let expired = Authority::with(|params| params.not_after = v2020);
    let early = Authority::with(|params| params.not_before = rcgen::date_time_ymd(3020, 1, 2));
    let no_ca = Authority::with(|params| params.is_ca = IsCa::ExplicitNoCa);
    let nothing_said = Authority::with(|params| params.is_ca = IsCa::NoCa);
    let no_signer =
        Authority::with(|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
    let signer = Authority::with(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
    let of_clients = Authority::with(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let below = good.below(|_| {});
    let constrained = |most| {
        move |params: &mut rcgen::CertificateParams| {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(most))
        }
    };
    let (last, allows_one) = (
        Authority::with(constrained(0)),
        Authority::with(constrained(1)),
    );
    let (below_last, one_below) = (last.below(|_| {}), allows_one.below(|_| {}));
    let two_below = one_below.below(|_| {});
    let expired_below = good.below(|params| params.not_after = v2020);
    let no_ca_below = good.below(|params| params.is_ca = IsCa::ExplicitNoCa);
    let stranger = Authority::new();
    let no_authority = Some("is no authority's for servers (CA:TRUE, keyCertSign): name that of");
    let has_expired = Some("ca) expired on 2020-01-02 00:00 UTC, and it is 20");
    let by_chain = {
        no_ca_below.sign("server", "127.0.0.1", Valid::Now);
        no_ca_below.lengthen("server", &[&no_ca_below]);
        no_ca_below.server("server", false)
    };
    vec![
        only("an authority", &good, None),
        only("one that may sign", &signer, None),
        only("an authority below another one", &below, None),
        only("one that signs servers only", &last, None),
        beyond(
            "an authority below one that signs servers only",
            &last,
            &[&below_last],
            Some("allows nobody between itself and a server"),
        ),
        beyond(
            "one below one that allows one",
            &allows_one,
            &[&one_below],
            None,
        ),
        beyond(
            "one below that",
            &allows_one,
            &[&two_below, &one_below],
            Some("allows 1 between itself and a server"),
        ),
        Case {
            trusts: vec![pem(&last, "ca"), pem(&below_last, "ca")],
            ..beyond("one that is trusted itself", &last, &[&below_last], None)
        },
        only("an expired authority", &expired, has_expired),
        only("an expired one below another", &expired_below, has_expired),
        only("one to come", &early, Some("ca) is valid from 3020-01-02")),
        only("CA:FALSE", &no_ca, no_authority),
        only("no word of CA", &nothing_said, no_authority),
        only("no keyCertSign", &no_signer, no_authority),
        only("an authority of clients", &of_clients, no_authority),
        Case {
            name: "CA:FALSE below a good one",
            trusts: vec![pem(&good, "ca")],
            server: by_chain,
            refused: Some("between it and its authority is no authority's"),
        },
        Case {
            name: "CA:FALSE beside a good one",
            trusts: vec![pem(&good, "ca"), pem(&no_ca, "ca")],
            server: signed_by(&no_ca),
            refused: no_authority,
        },
        Case {
            name: "a good one beside an expired one",
            trusts: vec![pem(&expired, "ca"), pem(&good, "ca")],
            server: signed_by(&good),
            refused: None,
        },
        Case {
            name: "a stranger beside an expired one",
            trusts: vec![pem(&expired, "ca"), pem(&good, "ca")],
            server: signed_by(&stranger),
            refused: Some("nobody who is trusted here has signed its certificate"),
        },
    ]
}

fn servers_that_signed_themselves() -> Vec<Case> {
    let files = Authority::new();
    for (name, host, valid) in [
        ("own", "127.0.0.1", Valid::Now),
        ("other", "127.0.0.1", Valid::Now),
        ("expired", "127.0.0.1", Valid::Before),
        ("elsewhere", "other.example", Valid::Now),
    ] {
        files.sign_itself_when(name, host, valid);
    }
    files.sign("signed", "127.0.0.1", Valid::Now);
    let case = |name, trusted: &str, server: &str, refused| Case {
        name,
        trusts: vec![pem(&files, &format!("{trusted}.cert"))],
        server: files.server(server, false),
        refused,
    };
    vec![
        case("its own", "own", "own", None),
        case(
            "another's own",
            "own",
            "other",
            Some("nobody who is trusted here"),
        ),
        case(
            "expired",
            "expired",
            "expired",
            Some("its certificate expired on 2020"),
        ),
        case(
            "for another name",
            "elsewhere",
            "elsewhere",
            Some("is for other.example"),
        ),
        case(
            "a server's that somebody else signed",
            "signed",
            "signed",
            Some("has no certificate of an authority for servers (CA:TRUE, keyCertSign), and none"),
        ),
    ]
}

fn check(case: Case) {
    let Case {
        name,
        trusts,
        server,
        refused,
    } = case;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca");
    std::fs::write(&file, trusts.concat()).unwrap();
    let tls = TlsFiles {
        ca_file: Some(file),
        client: None,
        look_every: Duration::from_secs(60),
    };
    let is_readable = tls.read().is_ok();
    let witness = Witness::new(server);
    let said = |reason: String| match refused {
        Some(expected) => assert!(reason.contains(expected), "{name}: {reason}"),
        None => panic!("{name}: {reason}"),
    };
    for protocol in BOTH {
        let mut settings = source_settings(witness.port, protocol);
        settings.tls = Some(tls.clone());
        let source = Source::with(settings, &[], &[(1, "a")], 1_000);
        match refused {
            Some(_) => said(source.until_disconnected()),
            None => witness.until_seen("MQTT", name),
        }
        source.stop();
        let mut settings = upstream(witness.port, protocol);
        settings.tls = Some(tls.clone());
        let destinations = Destinations::start(vec![settings]);
        destinations.handle.ship(0, Priority::Normal, rows(1..=1));
        match refused {
            Some(_) => said(destinations.until_disconnected()),
            None => witness.until_seen("gateway-out", name),
        }
        destinations.handle.stop(Duration::ZERO);
    }
    let token = directory.path().join("token");
    tidemill_tests::write_secret(&token, "canary");
    let mut settings = http_settings(witness.port);
    settings.tls = Some(tls);
    settings.login = Some(HttpLogin::Bearer(SecretFile::new(token)));
    let sending = Sending::with(settings);
    sending.ship(1..=1);
    match refused {
        Some(_) => said(sending.until_trouble()),
        None => witness.until_seen("Bearer canary", name),
    }
    sending.handle.stop(Duration::ZERO);
    if refused.is_some() && is_readable {
        witness.check_blind(name);
    }
}

#[test]
fn an_authority_is_trusted_in_its_time_and_for_its_use() {
    authorities().into_iter().for_each(check);
}

#[test]
fn a_server_that_signed_itself_is_trusted_as_itself() {
    servers_that_signed_themselves().into_iter().for_each(check);
}

/// A gateway without a clock reads its files in 1970.
#[test]
fn a_certificate_out_of_its_time_is_told_and_refuses_no_start() {
    let expired = Authority::with(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 2));
    let tls = expired.trusting();
    assert!(tls.read().is_ok());
    let told = tls.out_of_time(SystemTime::now());
    assert_eq!(told.len(), 1);
    assert!(
        told[0].contains("ca: its certificate expired on 2020-01-02"),
        "{told:?}"
    );
    let at_start = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
    let told = tls.out_of_time(at_start);
    assert!(
        told[0].contains("and it is 1970-01-01 00:01 UTC here"),
        "{told:?}"
    );
    let in_time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    assert_eq!(tls.out_of_time(in_time), Vec::<String>::new());
}

#[test]
fn check_warns_of_an_expired_authority_and_a_start_waits_for_a_new_one() {
    let expired = Authority::with(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 2));
    let witness = Witness::new(signed_by(&expired));
    let mut gateway = Gateway::new(witness.port, "");
    let plain = format!("mqtt://127.0.0.1:{}\"", witness.port);
    let encrypted = format!(
        "mqtts://127.0.0.1:{}\"\nca_file = \"{}\"",
        witness.port,
        expired.path("ca").display()
    );
    gateway.reconfigure(&plain, &encrypted);
    let ran = gateway.tidemill("check --offline");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.out.contains("its certificate expired on 2020-01-02"),
        "{ran:?}"
    );
    gateway.run();
    gateway.until_logged("expired on 2020-01-02 00:00 UTC, and it is 20");
    witness.check_blind("the agent");
    gateway.stop();
}

#[test]
fn check_begins_encryption_where_that_is_asked_for_and_sends_no_login() {
    let (good, stranger) = (Authority::new(), Authority::new());
    let witness = Witness::new(signed_by(&good));
    for (trusted, refused) in [
        (&good, None),
        (
            &stranger,
            Some("is there, and no encrypted connection comes to be: nobody who is trusted here"),
        ),
    ] {
        let gateway = Gateway::new(witness.port, "");
        let plain = format!("mqtt://127.0.0.1:{}\"", witness.port);
        let encrypted = format!(
            "mqtts://127.0.0.1:{}\"\nca_file = \"{}\"\nusername = \"canary\"",
            witness.port,
            trusted.path("ca").display()
        );
        gateway.reconfigure(&plain, &encrypted);
        let ran = gateway.tidemill("check --handshake");
        assert_eq!(ran.code, Some(0), "{ran:?}");
        match refused {
            None => assert!(!ran.out.contains("broker.url: "), "{ran:?}"),
            Some(why) => assert!(ran.out.contains(why), "{ran:?}"),
        }
        let ran = gateway.tidemill("check");
        assert!(
            !ran.out.contains("broker.url: "),
            "without a handshake: {ran:?}"
        );
    }
    witness.check_blind("check");
    // Where nobody speaks TLS that is said.
    let plain = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = plain.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in plain.incoming().map_while(Result::ok) {
            std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 no\r\n\r\n").ok();
        }
    });
    let gateway = Gateway::new(port, "");
    let (plain, encrypted) = (
        format!("mqtt://127.0.0.1:{port}\""),
        format!(
            "mqtts://127.0.0.1:{port}\"\nca_file = \"{}\"",
            good.path("ca").display()
        ),
    );
    gateway.reconfigure(&plain, &encrypted);
    let ran = gateway.tidemill("check --handshake");
    assert!(ran.out.contains("is that port one with TLS"), "{ran:?}");
}

#[test]
fn check_warns_of_an_own_certificate_that_has_expired() {
    let authority = Authority::new();
    authority.sign("client", "gw", Valid::Before);
    let gateway = Gateway::new(1, "");
    let encrypted = format!(
        "mqtts://127.0.0.1:1\"\nca_file = \"{}\"\ncert_file = \"{}\"\nkey_file = \"{}\"",
        authority.path("ca").display(),
        authority.path("client.cert").display(),
        authority.path("client.key").display(),
    );
    gateway.reconfigure("mqtt://127.0.0.1:1\"", &encrypted);
    let ran = gateway.tidemill("check --offline");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("cert_file: "), "{ran:?}");
    assert!(
        ran.out.contains("client.cert: it expired on 2020"),
        "{ran:?}"
    );
}
