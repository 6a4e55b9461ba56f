use rustls_pki_types::{CertificateDer, ServerName};
use webpki::EndEntityCert;

/// What a process of the cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Serves devices and back ends.
    Gateway,
    /// Keeps replicas of groups.
    Shard,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 2] = [Self::Gateway, Self::Shard];

    /// The role in one word, as the command line has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Shard => "shard",
        }
    }

    /// The DNS name that certificates of the role carry.
    pub const fn dns_name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway.ironhub.internal",
            Self::Shard => "shard.ironhub.internal",
        }
    }

    pub(crate) fn server_name(self) -> Option<ServerName<'static>> {
        ServerName::try_from(self.dns_name()).ok()
    }

    /// The role of a certificate's holder; `None` when it has none of ours. The chain is somebody else's to check.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = EndEntityCert::try_from(certificate).ok()?;
        let carries = |role: &Self| {
            role.server_name().is_some_and(|name| certificate.verify_is_valid_for_subject_name(&name).is_ok())
        };
        Self::ALL.into_iter().find(carries)
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
