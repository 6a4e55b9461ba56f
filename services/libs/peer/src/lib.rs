//! Who the processes of a cluster are to each other: mutual TLS under an authority of the cluster's own.
//!
//! ```text
//!   files (authority, certificate, key) ──> Credentials ──> Connector   to a process of one role, whatever its address
//!                replaced: read again            └────────> accept()    connections that say whose they are
//! ```
//!
//! A certificate says which role its holder has: by the DNS name `ROLE.ironhub.internal` among its alternative names. So the
//! usual check of a server's name is the check of its role, and addresses may change as they like. A peer without a
//! certificate of the authority gets no connection; what the role of one that has it may do is up to the service.

mod accept;
mod connector;
mod credentials;
mod role;

pub use accept::{PeerConnection, accept};
pub use connector::Connector;
pub use credentials::{Credentials, CredentialsError, Files};
pub use role::Role;
