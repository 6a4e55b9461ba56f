//! The newest connection of a device wins: larger ids are given later, and older connections end by themselves.

use std::collections::BTreeMap;

use model::ConnectionId;

use crate::network::HostId;

#[derive(Default)]
pub struct Sessions {
    /// The largest id of a device that was given until now.
    newest: BTreeMap<String, ConnectionId>,
    open: BTreeMap<String, Vec<(HostId, ConnectionId)>>,
}

impl Sessions {
    /// An attachment begins; answers what its id has to be larger than.
    pub fn begin(&self, device: &str) -> Option<ConnectionId> {
        self.newest.get(device).copied()
    }

    /// A connection at that host is attached.
    pub fn opened(
        &mut self,
        device: &str,
        floor: Option<ConnectionId>,
        host: HostId,
        id: ConnectionId,
    ) -> Result<(), String> {
        let newest = self.newest.entry(device.to_owned()).or_insert(id);
        *newest = id.max(*newest);
        self.open.entry(device.to_owned()).or_default().push((host, id));
        match floor {
            Some(older) if older >= id => Err(format!("{device}: {id:?} was given after {older:?}")),
            _ => Ok(()),
        }
    }

    /// It has ended, for whatever reason.
    pub fn closed(&mut self, device: &str, id: ConnectionId) {
        self.open.entry(device.to_owned()).or_default().retain(|(_, open)| *open != id);
    }

    /// All connections of the host have ended.
    pub fn host_died(&mut self, host: HostId) {
        self.open.values_mut().for_each(|open| open.retain(|(at, _)| *at != host));
    }

    /// After a while in which nothing failed, a device has one connection.
    pub fn check_quiet(&self) -> Result<(), String> {
        match self.open.iter().find(|(_, open)| open.len() > 1) {
            Some((device, open)) => Err(format!("{device} has several connections: {open:?}")),
            None => Ok(()),
        }
    }
}
