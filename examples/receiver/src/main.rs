//! Takes rows from Tidemill gateways, over MQTT 5 and HTTP, into SQLite. A gateway sends each row at
//! least once and under one name for ever; the receiver stores a row's effect and the highest number of
//! its lane in one transaction, and so counts each row exactly once.

mod effect;
mod http;
mod mqtt;
mod row;
mod store;

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::Store;

const USAGE: &str = "\
Usage: receiver DATABASE [--mqtt HOST:PORT] [--filter FILTER] [--client-id ID] [--http ADDRESS:PORT]
       receiver show DATABASE

  --mqtt HOST:PORT      take rows from this broker, over MQTT 5
  --filter FILTER       what to subscribe to (default: #)
  --client-id ID        whose session the broker keeps while the receiver is away (default: receiver)
  --http ADDRESS:PORT   take rows that gateways POST to this address
  show                  print what was counted, and how far each lane is

Example: receiver received.sqlite --mqtt 127.0.0.1:1883 --http 127.0.0.1:8080
";

/// What the command line says.
#[derive(Default)]
struct Options {
    database: String,
    mqtt: Option<String>,
    filter: Option<String>,
    client_id: Option<String>,
    http: Option<String>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.as_slice() {
        [show, database] if show == "show" => self::show(database),
        _ => match options(words) {
            Some(options) => run(options),
            None => {
                eprint!("{USAGE}");
                return ExitCode::from(2);
            }
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("receiver: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(words: Vec<String>) -> Option<Options> {
    let mut options = Options::default();
    let mut words = words.into_iter();
    options.database = words.next().filter(|word| !word.starts_with("--"))?;
    while let Some(word) = words.next() {
        let place = match word.as_str() {
            "--mqtt" => &mut options.mqtt,
            "--filter" => &mut options.filter,
            "--client-id" => &mut options.client_id,
            "--http" => &mut options.http,
            _ => return None,
        };
        *place = Some(words.next()?);
    }
    (options.mqtt.is_some() || options.http.is_some()).then_some(options)
}

/// Receives until something fails that makes going on senseless. Nothing is lost by that: what was not
/// acknowledged comes again.
fn run(options: Options) -> Result<(), String> {
    let store = Store::open(Path::new(&options.database)).map_err(|error| error.to_string())?;
    let store = Arc::new(Mutex::new(store));
    let (failed, failures) = std::sync::mpsc::sync_channel(1);
    if let Some(address) = options.http {
        let server = http::Server::bind(&address).map_err(|error| error.to_string())?;
        let (store, failed) = (Arc::clone(&store), failed.clone());
        std::thread::spawn(move || {
            let _ = failed.send(server.run(&store));
        });
    }
    if let Some(address) = options.mqtt {
        let broker = mqtt::Broker {
            address,
            filter: options.filter.unwrap_or_else(|| "#".to_owned()),
            client_id: options.client_id.unwrap_or_else(|| "receiver".to_owned()),
        };
        std::thread::spawn(move || {
            let _ = failed.send(mqtt::run(&broker, &store).to_string());
        });
    }
    Err(failures
        .recv()
        .unwrap_or_else(|_| "nothing is received any more".to_owned()))
}

/// The store, whoever else had it. A thread that panicked with it has left a transaction that was
/// rolled back, not a half one.
fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

fn show(database: &str) -> Result<(), String> {
    let shown = Store::open(Path::new(database)).and_then(|store| store.shown());
    print!("{}", shown.map_err(|error| error.to_string())?);
    Ok(())
}
