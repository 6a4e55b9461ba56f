//! The annotation `iothub-connection-auth-method` (messaging §1.2, mqtt §4.3).

/// How a connection authenticated, as readers of its events see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionAuthMethod {
    /// A token of the device's own key.
    DeviceKey,
    /// A token of the module's own key.
    ModuleKey,
    /// A token of a policy with DeviceConnect.
    Policy,
    /// A certificate of the device.
    DeviceCertificate,
    /// A certificate of the module.
    ModuleCertificate,
    /// A certificate of the device, signed by a registered authority.
    DeviceCertificateAuthority,
    /// A certificate of the module, signed by a registered authority.
    ModuleCertificateAuthority,
}

impl ConnectionAuthMethod {
    /// The JSON text.
    pub fn as_json(self) -> &'static str {
        match self {
            Self::DeviceKey => r#"{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#,
            Self::ModuleKey => r#"{"scope":"module","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#,
            Self::Policy => r#"{"scope":"hub","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#,
            Self::DeviceCertificate => {
                r#"{"scope":"device","type":"x509","issuer":"iothub","acceptingIpFilterRule":null}"#
            }
            Self::ModuleCertificate => {
                r#"{"scope":"module","type":"x509","issuer":"iothub","acceptingIpFilterRule":null}"#
            }
            // Whoever signed it is not the hub.
            Self::DeviceCertificateAuthority => {
                r#"{"scope":"device","type":"x509","issuer":"external","acceptingIpFilterRule":null}"#
            }
            Self::ModuleCertificateAuthority => {
                r#"{"scope":"module","type":"x509","issuer":"external","acceptingIpFilterRule":null}"#
            }
        }
    }
}
