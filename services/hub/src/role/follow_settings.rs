//! What of the hub's settings concerns this process beside the gateway: how long events are kept, and the connection
//! strings in `hub.json`.

use std::{path::PathBuf, time::Duration};

use model::HubSettings;
use shard_client::SettingsWatch;

use super::{
    event_log::HubEventLog,
    hub_json::{ConnectionStrings, EVENT_HUB_NAME, EventHubCompatible, HubJson},
};

/// When something did not take effect.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// Applies the settings whenever they change.
pub struct FollowSettings {
    pub settings: SettingsWatch,
    pub event_log: HubEventLog,
    /// The configuration's, when the settings say nothing.
    pub retention: Duration,
    pub hub_json: HubJson,
    /// Where that is written, if anywhere.
    pub hub_json_file: Option<PathBuf>,
}

impl FollowSettings {
    /// Until the client of the hub group is gone.
    pub async fn run(mut self) {
        loop {
            let current = self.settings.borrow_and_update().clone();
            let is_applied = match current {
                Some(current) => self.apply(&current).await,
                None => true,
            };
            let changed = tokio::select! {
                changed = self.settings.changed() => changed,
                () = tokio::time::sleep(TRY_AGAIN), if !is_applied => Ok(()),
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// Whether all of it took effect.
    async fn apply(&mut self, settings: &HubSettings) -> bool {
        const HOUR_SECONDS: u64 = 3600;
        let set = settings.overrides.event_retention_hours;
        let set = set.map(|hours| Duration::from_secs(u64::from(hours) * HOUR_SECONDS));
        self.write_hub_json(settings);
        let kept = self.event_log.set_retention(set.unwrap_or(self.retention)).await;
        kept.inspect_err(|error| tracing::warn!(%error, "events are kept as long as before")).is_ok()
    }

    fn write_hub_json(&mut self, settings: &HubSettings) {
        let connection_strings = ConnectionStrings::new(&self.hub_json.host_name, settings);
        let event_hub_compatible = EventHubCompatible::new(&self.hub_json.host_name, EVENT_HUB_NAME, settings);
        if (&connection_strings, &event_hub_compatible)
            == (&self.hub_json.connection_strings, &self.hub_json.event_hub_compatible)
        {
            return;
        }
        self.hub_json.connection_strings = connection_strings;
        self.hub_json.event_hub_compatible = event_hub_compatible;
        let Some(file) = &self.hub_json_file else { return };
        if let Err(error) = self.hub_json.write(file) {
            tracing::error!(error = format!("{error:#}"), "hub.json still has the connection strings from before");
        }
    }
}
