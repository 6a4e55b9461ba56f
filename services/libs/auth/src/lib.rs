//! Who may do what: SAS tokens, audiences, permissions, and whether a live connection may go on.
//!
//! ```text
//!   token text --> SasToken --> which key? --> signature --> audience --> expiry --> status
//!                               identity's own, or a policy with the right
//! ```
//!
//! Pure functions over values: no IO, no clock (the caller says what time it is), no registry (the caller brings the
//! identity). Comparison of signatures takes constant time. No [`Refusal`] and no `Debug` output contains a secret.

mod audience;
mod authenticate;
mod authority;
mod authorize;
mod certificate;
mod chain;
mod connection_string;
mod fingerprint;
mod method;
mod percent;
mod permission;
mod refusal;
mod sign;
mod token;

pub use audience::HostNames;
pub use authenticate::{Authenticated, Presented, authenticate};
pub use authority::{AuthorityCertificate, InvalidCertificate};
pub use authorize::{Authorized, authorize, authorize_within, verify_policy_token};
pub use certificate::ClientCertificate;
pub use chain::{CHAIN_BYTES_MAX, ChainCache, INTERMEDIATES_MAX};
pub use connection_string::{ConnectionString, InvalidConnectionString};
pub use fingerprint::{Fingerprint, recheck};
pub use method::ConnectionAuthMethod;
pub use permission::Operation;
pub use refusal::Refusal;
pub use sign::{sign, sign_with_text};
pub use token::{CLOCK_SKEW_SECONDS, SasToken};
