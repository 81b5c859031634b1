//! From the configuration to the settings of each adapter.

use super::http::HttpSettings;
use super::mqtt::DestinationSettings;
use super::{Identity, Settings};
use crate::config::{Broker, Config, Endpoint, LOCAL};

/// What a row's name takes of a packet at most.
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

/// Client ids: the gateway's id for taking in, `<id>-<destination>` for sending.
fn mqtt(name: &str, broker: &Broker, identity: &Identity) -> DestinationSettings {
    let client_id = format!("{}-{name}", identity.gateway);
    let mut settings = DestinationSettings::new(name, &broker.host, broker.port, &client_id);
    settings.username.clone_from(&broker.username);
    settings.password.clone_from(&broker.password);
    settings.tls.clone_from(&broker.tls);
    settings.protocol = broker.protocol;
    // What was taken in can be passed on, with the name of its row.
    settings.packet_bytes_max = broker.packet_bytes_max.saturating_add(ROW_NAME_BYTES);
    settings.inflight_max = broker.in_flight;
    settings.envelope = broker.envelope;
    settings.identity = identity.clone();
    settings
}
