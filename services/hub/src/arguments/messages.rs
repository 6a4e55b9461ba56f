//! `ironhub c2d ...`

use clap::{Args, Subcommand, ValueEnum};
use model::DeviceId;

pub const EXAMPLES: &str = "\
Examples:
  ironhub c2d send thermostat-1 '{\"fan\": 3}' --property level=high --ack full --message-id m1
  ironhub c2d receive thermostat-1                        in place of the device: prints the message and its lock token
  ironhub c2d complete thermostat-1 LOCK-TOKEN            or reject, or abandon
  ironhub c2d feedback                                    what became of messages that were sent with --ack
  ironhub c2d purge thermostat-1

A message waits in the device's queue until the device takes it or it expires. Outcomes are handed out about 15 seconds
after they happened, together; `feedback` takes them out of the hub, unless it says --keep.";

#[derive(Debug, Subcommand)]
pub enum MessageCommand {
    /// Put a message into a device's queue
    Send(SendArguments),
    /// Take the oldest message in hand, for a minute, as the device would
    Receive { id: DeviceId },
    /// Be done with a message in hand
    Complete { id: DeviceId, lock_token: String },
    /// Be done with a message that cannot be worked on
    Reject { id: DeviceId, lock_token: String },
    /// Give a message back; too often, and it is dropped
    Abandon { id: DeviceId, lock_token: String },
    /// Remove every message of a device
    Purge { id: DeviceId },
    /// Take the next outcomes of messages
    Feedback {
        /// Leave them in the hub; they come again after a minute
        #[arg(long)]
        keep: bool,
    },
}

#[derive(Debug, Args)]
pub struct SendArguments {
    pub id: DeviceId,
    /// What the device gets
    #[arg(default_value = "")]
    pub body: String,
    /// Property of the application; may be repeated
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = parse_property)]
    pub properties: Vec<(String, String)>,
    /// Names the message in feedback
    #[arg(long, value_name = "TEXT")]
    pub message_id: Option<String>,
    /// Tells which question it answers
    #[arg(long, value_name = "TEXT")]
    pub correlation_id: Option<String>,
    /// Such as application/json
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
    /// Which outcomes to hear of
    #[arg(long, value_enum, default_value_t = Acknowledge::None)]
    pub ack: Acknowledge,
    /// How long it may wait, such as 10min; up to 2days [default: the hub's time, an hour]
    #[arg(long, value_name = "DURATION")]
    pub expires_in: Option<jiff::SignedDuration>,
}

/// `iothub-ack`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Acknowledge {
    None,
    Positive,
    Negative,
    Full,
}

impl Acknowledge {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Full => "full",
        }
    }
}

fn parse_property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    if name.is_empty() { Err("expected a name before =".into()) } else { Ok((name.into(), value.into())) }
}
