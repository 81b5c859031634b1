//! From the configuration to the settings of each adapter.

use super::http::HttpSettings;
use super::mqtt::DestinationSettings;
use super::{Identity, Settings};
use crate::config::{Broker, Config, Endpoint, LOCAL};

/// Most bytes that a row's name takes of a packet.
const ROW_NAME_BYTES: u32 = 4_096;

/// Settings of all destinations, the local broker first, then the others by name: their places are
/// the numbers by which rules know them.
pub fn configured(config: &Config, incarnation: &str) -> Vec<Settings> {
    let identity = Identity {
        gateway: config.gateway_id.clone(),
        incarnation: incarnation.to_owned(),
    };
    let local = mqtt(LOCAL, &config.broker, &identity);
    let others =
        config
            .destinations
            .iter()
            .map(|(name, destination)| match &destination.endpoint {
                Endpoint::Mqtt(broker) => mqtt(name, broker, &identity).into(),
                Endpoint::Http(http) => HttpSettings::new(name, http, identity.clone()).into(),
            });
    std::iter::once(local.into()).chain(others).collect()
}

/// The client id of a destination's connection. No gateway's id has a colon, so no connection that sends
/// can end the session in which another gateway takes in.
pub fn client_id(gateway: &str, destination: &str) -> String {
    format!("{gateway}:{destination}")
}

fn mqtt(name: &str, broker: &Broker, identity: &Identity) -> DestinationSettings {
    let client_id = client_id(&identity.gateway, name);
    let mut settings = DestinationSettings::new(name, &broker.host, broker.port, &client_id);
    settings.username.clone_from(&broker.username);
    settings.password.clone_from(&broker.password);
    settings.tls.clone_from(&broker.tls);
    settings.protocol = broker.protocol;
    // Any message taken in can be passed on, with the name of its row.
    settings.packet_bytes_max = broker.packet_bytes_max.saturating_add(ROW_NAME_BYTES);
    settings.inflight_max = broker.in_flight;
    settings.envelope = broker.envelope;
    settings.keep_alive = broker.keep_alive;
    settings.timeout = broker.timeout;
    settings.identity = identity.clone();
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_base::text::Source;

    #[test]
    fn the_client_id_of_a_destination_is_no_gateways_id() {
        let id = client_id("gw", "cloud");
        let source = Source {
            path: "agent.toml".into(),
            text: format!("[gateway]\nid = {id:?}\n[broker]\nurl = \"mqtt://h\"\n"),
        };
        let error = Config::parse(&source, []).unwrap_err().to_string();
        assert!(error.contains("gateway.id has"), "{error}");
    }
}
