//! Signals that end a run: SIGTERM and SIGINT.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::live::{Input, Wish};
use tidemill_base::console;

/// Longest time for the end. Only a reader that holds standard output up, or a broker that does not
/// hang up, makes it take long.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Passes signals on until the process ends. When this returns they are listened to.
pub(super) fn listen(wish: &Arc<Wish>, sender: &SyncSender<Input>) {
    let (wish, sender) = (Arc::clone(wish), sender.clone());
    let (listens, until_it_does) = sync_channel::<()>(0);
    let listening = std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .enable_time()
                .build();
            let outcome =
                runtime.and_then(|runtime| runtime.block_on(hear(&wish, &sender, listens)));
            if let Err(error) = outcome {
                say(&format!("signals are not listened to: {error}"));
            }
        });
    if let Err(error) = listening {
        say(&format!("signals are not listened to: {error}"));
    }
    // A signal that nobody listens to would end the process without its summary.
    let _ = until_it_does.recv();
}

async fn hear(
    wish: &Wish,
    sender: &SyncSender<Input>,
    listens: SyncSender<()>,
) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    drop(listens);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    wish.stop();
    // If the inbox is full, the loop has something to do, and looks at the wish afterwards.
    let _ = sender.try_send(Input::Woken);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = tokio::time::sleep(END_WITHIN) => {
            say("ended without a summary: what reads the results does not take them");
        }
    }
    std::process::exit(1);
}

fn say(text: &str) {
    let _ = writeln!(console::stderr(), "{text}");
}
