//! Places of receivers, asked for by several gateways, and over a change of leader.

use std::time::Duration;

use shard_client::{ClaimError, ClaimedReceiver, NewReceiver, ShardClient};
use tokio::time::timeout;

mod cluster_of_three;

use cluster_of_three::{Cluster, Failure, PATIENCE};
use model::GroupId;

fn receiver(epoch: Option<i64>, name: &str) -> NewReceiver {
    NewReceiver { consumer_group: "$default".into(), partition: 3, epoch, name: name.into() }
}

async fn claim(client: &ShardClient, epoch: Option<i64>, name: &str) -> Result<ClaimedReceiver, ClaimError> {
    client.claim_receiver(&receiver(epoch, name)).await
}

/// Who displaced it.
async fn displaced(claimed: &mut ClaimedReceiver) -> Result<(String, i64), Failure> {
    let by = timeout(PATIENCE, claimed).await?.by.ok_or("nobody is named")?;
    Ok((by.name, by.epoch))
}

async fn still_there(claimed: &mut ClaimedReceiver) -> bool {
    timeout(Duration::from_millis(300), claimed).await.is_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_take_an_epoch_from_each_other() -> Result<(), Failure> {
    let cluster = Cluster::start().await?;
    let (first, second) = (cluster.client().await?, cluster.client().await?);
    let mut a = claim(&first, Some(0), "a").await?;
    let mut b = claim(&second, Some(0), "b").await?;
    assert_eq!(displaced(&mut a).await?, ("b".to_owned(), 0));
    let mut c = claim(&first, Some(1), "c").await?;
    assert_eq!(displaced(&mut b).await?, ("c".to_owned(), 1));
    assert_eq!(claim(&second, Some(0), "d").await.err(), Some(ClaimError::HigherEpoch(1)));
    assert_eq!(claim(&second, None, "d").await.err(), Some(ClaimError::EpochReceiver(1)));
    assert!(still_there(&mut c).await);

    // The place is free when its receiver is gone, and shared by five.
    drop(c);
    let mut shared = Vec::new();
    let names = ["e", "f", "g", "h", "i"].map(str::to_owned);
    for (number, name) in names.iter().enumerate() {
        let client = if number % 2 == 0 { &first } else { &second };
        // The one before gives back its place a moment later.
        let claimed = timeout(PATIENCE, async {
            loop {
                match claim(client, None, name).await {
                    Err(ClaimError::EpochReceiver(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                    claimed => return claimed,
                }
            }
        });
        shared.push(claimed.await??);
    }
    let refused = claim(&second, None, "j").await.err();
    assert_eq!(refused, Some(ClaimError::TooMany { names: names.to_vec() }));
    let _alone = claim(&second, Some(0), "k").await?;
    for claimed in &mut shared {
        assert_eq!(displaced(claimed).await?, ("k".to_owned(), 0));
    }
    cluster.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_survive_the_leader_and_are_lost_under_the_next_one_as_before() -> Result<(), Failure> {
    let mut cluster = Cluster::start().await?;
    let (first, second) = (cluster.client().await?, cluster.client().await?);
    let mut owner = claim(&first, Some(5), "owner").await?;
    cluster.stop_leader(GroupId::HUB).await?;
    // A newcomer waits until those of before had their time to come back.
    assert_eq!(claim(&second, Some(4), "lower").await.err(), Some(ClaimError::HigherEpoch(5)));
    assert_eq!(claim(&second, None, "plain").await.err(), Some(ClaimError::EpochReceiver(5)));
    assert!(still_there(&mut owner).await);
    let mut thief = claim(&second, Some(5), "thief").await?;
    assert_eq!(displaced(&mut owner).await?, ("thief".to_owned(), 5));
    assert!(still_there(&mut thief).await);
    cluster.stop().await;
    Ok(())
}
