//! What devices and back ends do at a gateway, and what they tell the oracle of it.

mod back_end;
mod connection;
mod device;
mod feedback;
mod finale;
mod operations;

use std::sync::Arc;

use model::{DeviceId, Principal};
use shard_client::ShardClient;

use crate::{
    hub::{GATEWAYS, device_ids},
    network::HostId,
    random::Random,
    run::{Phase, Shared},
};

/// Everything at one gateway, for as long as its host lives.
pub async fn run(host: HostId, client: ShardClient, shared: Arc<Shared>, mut random: Random) {
    let mut actor = |device_id: DeviceId| Actor {
        host,
        client: client.clone(),
        shared: shared.clone(),
        random: random.fork(),
        device: device_id.to_string(),
        principal: Principal::device(device_id),
    };
    for id in device_ids() {
        tokio::spawn(device::come_and_go(actor(id.clone())));
        tokio::spawn(device::poll(actor(id.clone())));
        tokio::spawn(back_end::work(actor(id.clone())));
        tokio::spawn(back_end::work(actor(id)));
    }
    if let Some(id) = device_ids().next() {
        tokio::spawn(feedback::read(actor(id)));
    }
    if host == GATEWAYS.start {
        shared.reach(Phase::Draining).await;
        finale::check(device_ids().map(actor).collect()).await;
        shared.enter(Phase::Finished);
    }
    std::future::pending::<()>().await;
}

/// Somebody who has to do with one device.
#[derive(Clone)]
pub struct Actor {
    pub host: HostId,
    pub client: ShardClient,
    pub shared: Arc<Shared>,
    pub random: Random,
    pub device: String,
    pub principal: Principal,
}
