//! The cluster, for whoever operates it. What is wanted is changed by commands.

use proto::shard::v1;
use tonic::Status;

use super::{Groups, not_leader_status};
use crate::{group::Refusal, membership::Driver};

/// What is wanted and what there is, as the hub group's leader sees it.
pub async fn describe(groups: &Groups, driver: &Driver) -> Result<v1::ClusterDescription, Status> {
    driver.describe().await.map_err(|refusal| refused(groups, refusal))
}

/// Spreads the leaders over the nodes without waiting for a quiet time.
pub async fn balance(groups: &Groups, driver: &Driver) -> Result<(), Status> {
    let hub = groups.hub().ok_or_else(|| Status::not_found("no hub group"))?;
    // Who asks an old leader would wait for nothing.
    hub.group.read().await.map_err(|refusal| refused(groups, refusal))?;
    driver.balance();
    Ok(())
}

fn refused(groups: &Groups, refusal: Refusal) -> Status {
    match (refusal, groups.hub()) {
        (Refusal::NotLeader { .. }, Some(hub)) => not_leader_status(hub),
        _ => Status::unavailable(refusal.to_string()),
    }
}
