//! `ironhub cluster ...`

use clap::{Args, Subcommand};

pub const EXAMPLES: &str = "\
Examples:
  ironhub cluster status                    nodes, groups, and what is being done
  ironhub cluster drain shard-3 --wait      before its process ends for good: it leads nothing, then carries nothing
  ironhub cluster remove shard-3            its disk is gone, or will be; its groups go to others. There is no way back
  ironhub cluster add shard-4               waits until a node that was started has joined and carries its share
  ironhub cluster replication 3             replicas of each group: 1, 3 or 5
  ironhub cluster balance                   spread the leaders now, instead of after a quiet minute

Nodes join by themselves when they are started on an empty disk. A node that is away keeps its place until it is drained or
removed. A node is named by its name or its id.";

#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Show the nodes, where the groups are, and what is being done
    Status {
        #[command(flatten)]
        wait: WaitArguments,
    },
    /// Wait until a node has joined and carries its share
    Add {
        /// Name or id
        node: String,
        /// How long, seconds
        #[arg(long, value_name = "SECONDS", default_value_t = WAIT_SECONDS)]
        within: u64,
    },
    /// Take leaders and replicas away from a node; it stays registered
    Drain {
        /// Name or id
        node: String,
        #[command(flatten)]
        wait: WaitArguments,
    },
    /// Take a node out for ever
    Remove {
        /// Name or id
        node: String,
        #[command(flatten)]
        wait: WaitArguments,
    },
    /// Give a drained node its share again
    Activate {
        /// Name or id
        node: String,
        #[command(flatten)]
        wait: WaitArguments,
    },
    /// Spread the leaders over the nodes now
    Balance,
    /// Change how many replicas each group has
    Replication {
        /// 1, 3 or 5
        replicas: u32,
        #[command(flatten)]
        wait: WaitArguments,
    },
}

const WAIT_SECONDS: u64 = 600;

/// Whether to wait for what follows from a command.
#[derive(Debug, Args)]
pub struct WaitArguments {
    /// Wait until nothing is left to do
    #[arg(long)]
    pub wait: bool,
    /// How long, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = WAIT_SECONDS, requires = "wait")]
    pub within: u64,
}
