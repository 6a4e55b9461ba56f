//! Where the groups are: replicas and leaders move until every group is as it is wanted.
//!
//! ```text
//!   operators --commands--> rows of the hub group: nodes, their wanted state, replication       (state/cluster.rs)
//!                                |
//!   leader of the hub group:  driver --DescribeGroups--> every node                             (observe.rs)
//!                                |         what is wanted, what there is --plan--> one step per group  (plan, placement)
//!                                +--ChangeMembers, TransferLeadership--> leader of the group    (service.rs)
//!                                +--WipeReplica--> a node that has left the group
//! ```
//!
//! Nothing is remembered but what is wanted: whoever leads the hub group next looks at what there is and goes on. Every
//! node opens every group; a replica that no membership names is empty, silent and cheap. A replica moves in steps, each
//! committed before the next: its node becomes a learner, catches up, votes; the one that left is wiped, keeping its
//! vote. A node that cannot be reached keeps its replicas until somebody says `remove` or `drain`.

mod driver;
mod hand_over;
mod nodes;
mod observe;
pub mod placement;
pub mod plan;
mod register;
mod report;
mod service;

pub use driver::Driver;
pub use register::register;
pub use service::MembershipService;

#[cfg(test)]
mod tests;
