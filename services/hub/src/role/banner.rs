//! What a start prints for the person in front of it: standard output, short, ready to be pasted.

use std::{
    fmt::{self, Display, Formatter},
    path::Path,
};

use crate::role::hub_json::{HubJson, Ports};

/// The lines after a start.
pub struct Banner<'a> {
    pub hub: &'a HubJson,
    pub hub_json: &'a Path,
    /// Where this binary is, which need not be on the search path.
    pub program: &'a Path,
    /// Connection strings of the devices of `--with-device`, by id.
    pub devices: &'a [(String, String)],
}

impl Display for Banner<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { hub, hub_json, program, devices } = self;
        let (name, ports) = (&hub.host_name, &hub.ports);
        let Ports { mqtt, amqp, https, admin, .. } = ports;
        writeln!(f, "IronHub is ready: {name}, MQTT {mqtt}, AMQP {amqp}, HTTPS {https}, admin {admin}")?;
        writeln!(f)?;
        if let Some(owner) = &hub.connection_strings.iothubowner {
            writeln!(f, "  owner      {owner}")?;
        }
        if let Some(events) = &hub.event_hub_compatible.connection_string {
            writeln!(f, "  events     {events}")?;
        }
        if let Some(authority) = &hub.certificate_authority_file {
            writeln!(f, "  authority  {}", authority.display())?;
        }
        writeln!(f, "  all else   {}", hub_json.display())?;
        devices.iter().try_for_each(|(id, connection_string)| self.device(f, id, connection_string))?;
        writeln!(f)?;
        let data_dir = hub_json.parent().unwrap_or(hub_json);
        writeln!(f, "What devices send, in another terminal (Ctrl-C here ends the hub):")?;
        writeln!(f)?;
        writeln!(f, "{} events tail --follow --data-dir {}", program.display(), data_dir.display())?;
        match &hub.event_hub_compatible.connection_string {
            Some(events) => self.reader(f, events),
            None => Ok(()),
        }
    }
}

impl Banner<'_> {
    fn reader(&self, f: &mut Formatter<'_>, connection_string: &str) -> fmt::Result {
        writeln!(f)?;
        writeln!(f, "Or in Python, after `pip install azure-eventhub`:")?;
        writeln!(f)?;
        writeln!(f, "from azure.eventhub import EventHubConsumerClient")?;
        let trust = match &self.hub.certificate_authority_file {
            Some(file) => format!(", connection_verify={:?}", file.display().to_string()),
            None => String::new(),
        };
        write!(f, "client = EventHubConsumerClient.from_connection_string(")?;
        writeln!(f, "{connection_string:?}, \"$Default\"{trust})")?;
        writeln!(f, "client.receive(lambda partition, event: print(event.body_as_str()), starting_position=\"-1\")")
    }

    fn device(&self, f: &mut Formatter<'_>, id: &str, connection_string: &str) -> fmt::Result {
        writeln!(f)?;
        writeln!(f, "Device {id}: {connection_string}")?;
        writeln!(f, "In Python, after `pip install azure-iot-device`:")?;
        writeln!(f)?;
        writeln!(f, "from azure.iot.device import IoTHubDeviceClient")?;
        let trust = match &self.hub.certificate_authority_file {
            Some(file) => format!(", server_verification_cert=open({:?}).read()", file.display().to_string()),
            None => String::new(),
        };
        writeln!(f, "client = IoTHubDeviceClient.create_from_connection_string({connection_string:?}{trust})")?;
        writeln!(f, "client.send_message(\"hello\")")
    }
}
