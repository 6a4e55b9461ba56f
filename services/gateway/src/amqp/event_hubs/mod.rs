//! The Event Hubs-compatible endpoint (amqp §8, §9; messaging §2.1): back ends read the events of the hub as if the
//! built-in endpoint were an event hub.
//!
//! ```text
//!   attach --> Address --> Endpoint: is it there? --> ReceiverOptions: from where, which epoch
//!                                                        |
//!   credit --> Receiver: a cursor over the event log --> EventEncoder: record -> message, settled
//!   $management --> management: READ eventhub, READ partition
//!   all that is refused --> Refusal --> condition and text
//! ```
//!
//! Sequence number and offset of an event are its offset in the event log, the latter as a decimal text.

pub mod address;
mod endpoint;
mod event;
mod links;
mod management;
mod options;
mod reading;
mod receiver;
mod refusal;
pub mod start_position;

pub(super) use reading::Reader;

use address::Address;
use endpoint::{Endpoint, Node};
use event::{EventEncoder, LastEnqueued};
use options::ReceiverOptions;
use receiver::Receiver;
use refusal::Refusal;
use start_position::StartPosition;
