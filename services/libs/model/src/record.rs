//! One event, with its three layers of properties kept apart (messaging §1.2, design "Telemetry").

use std::borrow::Cow;

use bytes::Bytes;

/// Properties that the sender sets and AMQP carries in its `properties` section. The discriminant is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SystemProperty {
    MessageId = 1,
    CorrelationId = 2,
    UserId = 3,
    To = 4,
    ContentType = 5,
    ContentEncoding = 6,
    AbsoluteExpiryTime = 7,
}

/// Values that Event Hubs readers see as message annotations; most are stamped by the hub. The discriminant is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Annotation {
    ConnectionDeviceId = 1,
    ConnectionModuleId = 2,
    ConnectionAuthGenerationId = 3,
    ConnectionAuthMethod = 4,
    EnqueuedTime = 5,
    MessageSource = 6,
    DtDataschema = 7,
    DtSubject = 8,
    InterfaceId = 9,
    TraceState = 10,
    DiagnosticId = 11,
    CorrelationContext = 12,
}

macro_rules! names {
    ($type:ident, $($variant:ident = $name:literal),+ $(,)?) => {
        impl $type {
            /// Every variant.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name as readers of the built-in endpoint see it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The variant stored with that discriminant.
            pub fn from_number(number: u32) -> Option<Self> {
                Self::ALL.iter().copied().find(|variant| *variant as u32 == number)
            }
        }
    };
}

names!(
    SystemProperty,
    MessageId = "message-id",
    CorrelationId = "correlation-id",
    UserId = "user-id",
    To = "to",
    ContentType = "content-type",
    ContentEncoding = "content-encoding",
    AbsoluteExpiryTime = "absolute-expiry-time",
);

names!(
    Annotation,
    ConnectionDeviceId = "iothub-connection-device-id",
    ConnectionModuleId = "iothub-connection-module-id",
    ConnectionAuthGenerationId = "iothub-connection-auth-generation-id",
    ConnectionAuthMethod = "iothub-connection-auth-method",
    EnqueuedTime = "iothub-enqueuedtime",
    MessageSource = "iothub-message-source",
    DtDataschema = "dt-dataschema",
    DtSubject = "dt-subject",
    InterfaceId = "iothub-interface-id",
    TraceState = "tracestate",
    DiagnosticId = "Diagnostic-Id",
    CorrelationContext = "Correlation-Context",
);

/// An event as it is appended to the event log. Borrows what the caller already holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record<'a> {
    pub system_properties: Vec<(SystemProperty, Cow<'a, str>)>,
    pub annotations: Vec<(Annotation, Cow<'a, str>)>,
    pub application_properties: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub body: Bytes,
}

impl Record<'_> {
    /// The size that limits count: body, values of system properties, names and values of application properties
    /// (messaging §1.4). Bytes; hub annotations do not count.
    pub fn counted_bytes(&self) -> usize {
        let system: usize = self.system_properties.iter().map(|(_, value)| value.len()).sum();
        let application: usize = self.application_properties.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.body.len() + system + application
    }

    /// The system property's value, when set.
    pub fn system_property(&self, property: SystemProperty) -> Option<&str> {
        self.system_properties.iter().find(|(key, _)| *key == property).map(|(_, value)| value.as_ref())
    }

    /// The annotation's value, when set.
    pub fn annotation(&self, annotation: Annotation) -> Option<&str> {
        self.annotations.iter().find(|(key, _)| *key == annotation).map(|(_, value)| value.as_ref())
    }
}
