//! What of the hub's settings concerns this process beside the gateway: how long events are kept, and the connection
//! strings in `hub.json`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use eventlog::embedded::EmbeddedLog;
use model::HubSettings;
use shard_client::SettingsWatch;

use super::hub_json::{ConnectionStrings, EVENT_HUB_NAME, EventHubCompatible, HubJson};

/// Applies the settings whenever they change.
pub struct FollowSettings {
    pub settings: SettingsWatch,
    pub event_log: Arc<EmbeddedLog>,
    /// The configuration's, when the settings say nothing.
    pub retention: Duration,
    pub hub_json: HubJson,
    pub hub_json_file: PathBuf,
}

impl FollowSettings {
    /// Until the client of the hub group is gone.
    pub async fn run(mut self) {
        loop {
            let current = self.settings.borrow_and_update().clone();
            if let Some(current) = current {
                self.apply(&current);
            }
            if self.settings.changed().await.is_err() {
                return;
            }
        }
    }

    fn apply(&mut self, settings: &HubSettings) {
        const HOUR_SECONDS: u64 = 3600;
        let set = settings.overrides.event_retention_hours;
        let set = set.map(|hours| Duration::from_secs(u64::from(hours) * HOUR_SECONDS));
        self.event_log.set_retention(set.unwrap_or(self.retention));
        let connection_strings = ConnectionStrings::new(&self.hub_json.host_name, settings);
        let event_hub_compatible = EventHubCompatible::new(&self.hub_json.host_name, EVENT_HUB_NAME, settings);
        if (&connection_strings, &event_hub_compatible)
            == (&self.hub_json.connection_strings, &self.hub_json.event_hub_compatible)
        {
            return;
        }
        self.hub_json.connection_strings = connection_strings;
        self.hub_json.event_hub_compatible = event_hub_compatible;
        if let Err(error) = self.hub_json.write(&self.hub_json_file) {
            tracing::error!(error = format!("{error:#}"), "hub.json still has the connection strings from before");
        }
    }
}
