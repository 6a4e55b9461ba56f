//! The hub's settings, now and after every change.

use futures::{Stream, stream};
use proto::shard::v1;
use tonic::Status;

use super::{Groups, not_leader_status};

/// Streams the settings from the hub group's leader; nothing until the hub is initialised.
pub async fn watch(
    groups: &Groups,
) -> Result<impl Stream<Item = Result<v1::HubSettings, Status>> + Send + use<>, Status> {
    let leader = groups.hub().ok_or_else(|| Status::not_found("no hub group"))?.clone();
    // Who follows an old leader would miss changes.
    leader.group.read().await.map_err(|_| not_leader_status(&leader))?;
    let (mut settings, ended) = leader.settings().ok_or_else(|| not_leader_status(&leader))?;
    settings.mark_changed();
    Ok(stream::unfold(Some(settings), move |settings| {
        let (leader, ended) = (leader.clone(), ended.clone());
        async move {
            let mut settings = settings?;
            let next = async {
                loop {
                    settings.changed().await.ok()?;
                    let current = settings.borrow_and_update().clone();
                    if current.is_some() {
                        return current;
                    }
                }
            };
            match ended.run_until_cancelled(next).await.flatten() {
                Some(current) => Some((Ok(current), Some(settings))),
                None => Some((Err(not_leader_status(&leader)), None)),
            }
        }
    }))
}
