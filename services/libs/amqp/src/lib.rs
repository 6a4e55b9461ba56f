//! x
mod connection;
mod frame;
mod message;
mod performative;
mod types;
pub use connection::*;
pub use frame::*;
pub use message::*;
pub use performative::*;
pub use types::*;
