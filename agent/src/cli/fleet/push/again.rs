//! Publishing once more what the broker lost.

use tidemill_bundle::{DesiredTopic, Topics};

use crate::cli::Failure;
use crate::cli::fleet::client::Client;
use crate::cli::fleet::place::Place;
use tidemill_base::console;

/// Publishes what the broker lost, or has an older version of.
pub(super) fn again(place: &Place) -> Result<(), Failure> {
    let mut client = Client::connect(&place.broker)?;
    let mut out = console::stdout();
    let mut count = 0;
    let wanted = place.lock.pushed.iter().map(|push| {
        let topic = DesiredTopic {
            scope: push.scope.clone(),
            bundle: push.bundle.clone(),
        };
        (topic.topic(), push.envelope.encode())
    });
    let roots = place.roots.iter().filter(|(_, root)| root.root > 1);
    let roots = roots.map(|(envelope, root)| (Topics::root(root.root), envelope.encode()));
    let wanted: Vec<(String, Vec<u8>)> = roots.chain(wanted).collect();
    let topics: Vec<String> = wanted.iter().map(|(topic, _)| topic.clone()).collect();
    let there = if topics.is_empty() {
        Vec::new()
    } else {
        client.listen(&topics)?
    };
    for (topic, message) in wanted {
        if there
            .iter()
            .any(|(known, payload)| *known == topic && *payload == message)
        {
            continue;
        }
        client.publish(&topic, message)?;
        count += 1;
        writeln!(out, "published {topic} again")?;
    }
    if count == 0 {
        writeln!(out, "the broker has everything that was pushed")?;
    }
    Ok(())
}
