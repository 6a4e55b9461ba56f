//! Which right opens which operation: the table of security §5.2, as far as the operations exist.

use model::Right;

/// Something a back end or device asks of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    ReadDevice,
    ListDevices,
    WriteDevice,
    DeleteDevice,
    ReadModule,
    ListModules,
    WriteModule,
    DeleteModule,
    ReadRegistryStatistics,
    ReadServiceStatistics,
    ReadEvents,
    SendTelemetry,
    ManageSettings,
    ExplainIdentity,
    ReadTwin,
    WriteTwin,
    InvokeMethod,
    SendDeviceBound,
    PurgeDeviceBound,
    ReceiveFeedback,
    ReceiveFileNotifications,
}

/// Operation and the rights of which any one suffices, unless it needs them all.
const TABLE: [(Operation, &[Right]); 21] = [
    (Operation::ReadDevice, &[Right::RegistryRead]),
    (Operation::ListDevices, &[Right::RegistryRead]),
    (Operation::WriteDevice, &[Right::RegistryWrite]),
    (Operation::DeleteDevice, &[Right::RegistryWrite]),
    (Operation::ReadModule, &[Right::RegistryRead]),
    (Operation::ListModules, &[Right::RegistryRead]),
    (Operation::WriteModule, &[Right::RegistryWrite]),
    (Operation::DeleteModule, &[Right::RegistryWrite]),
    (Operation::ReadRegistryStatistics, &[Right::RegistryRead, Right::ServiceConnect]),
    (Operation::ReadServiceStatistics, &[Right::ServiceConnect, Right::RegistryRead]),
    (Operation::ReadEvents, &[Right::ServiceConnect]),
    (Operation::SendTelemetry, &[Right::DeviceConnect]),
    (Operation::ReadTwin, &[Right::ServiceConnect]),
    (Operation::WriteTwin, &[Right::ServiceConnect]),
    (Operation::InvokeMethod, &[Right::ServiceConnect]),
    (Operation::SendDeviceBound, &[Right::ServiceConnect]),
    (Operation::PurgeDeviceBound, &[Right::ServiceConnect]),
    (Operation::ReceiveFeedback, &[Right::ServiceConnect]),
    (Operation::ReceiveFileNotifications, &[Right::ServiceConnect]),
    (Operation::ExplainIdentity, &[Right::RegistryRead, Right::ServiceConnect]),
    (
        Operation::ManageSettings,
        &[Right::RegistryRead, Right::RegistryWrite, Right::ServiceConnect, Right::DeviceConnect],
    ),
];

impl Operation {
    /// Every operation.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    /// Whether only a policy with all of the rights opens it: the owner's.
    pub fn needs_all(self) -> bool {
        self == Self::ManageSettings
    }

    /// The rights of which any one suffices, unless it needs them all.
    pub fn any_of(self) -> &'static [Right] {
        TABLE.iter().find(|row| row.0 == self).map_or(&[], |row| row.1)
    }
}
