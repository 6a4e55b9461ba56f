//! What devices and back ends do at a gateway, and what they tell the oracle of it.

mod back_end;
mod connection;
mod desired;
mod device;
mod feedback;
mod finale;
mod mqtt_connection;
mod mqtt_device;
mod operations;
mod operator;

use std::sync::Arc;

use model::{DeviceId, Principal};
use shard_client::ShardClient;

use crate::{
    hub::{GATEWAYS, device_ids, mqtt_device_ids},
    network::{HostId, Network},
    random::Random,
    run::{Phase, Shared},
};

/// Everything at one gateway, for as long as its host lives.
pub async fn run(host: HostId, network: Arc<Network>, client: ShardClient, shared: Arc<Shared>, mut random: Random) {
    let of_the_operator = random.fork();
    let mut actor = |device_id: DeviceId| Actor::new(host, &network, &client, &shared, random.fork(), device_id);
    for id in device_ids() {
        tokio::spawn(device::come_and_go(actor(id)));
    }
    for id in device_ids().chain(mqtt_device_ids()) {
        tokio::spawn(device::poll(actor(id.clone())));
        tokio::spawn(back_end::work(actor(id.clone())));
        tokio::spawn(back_end::work(actor(id)));
    }
    if let Some(id) = device_ids().next() {
        tokio::spawn(feedback::read(actor(id)));
    }
    if host == GATEWAYS.start {
        tokio::spawn(operator::operate(client.clone(), shared.clone(), of_the_operator));
        shared.reach(Phase::Draining).await;
        finale::check(device_ids().map(&mut actor).collect(), mqtt_device_ids().map(&mut actor).collect()).await;
        operator::check(&client, &shared).await;
        shared.enter(Phase::Finished);
    }
    std::future::pending::<()>().await;
}

/// All devices that speak MQTT, on a host of their own. `client` belongs to no gateway and is not used by them.
pub async fn run_devices(
    host: HostId,
    network: Arc<Network>,
    client: ShardClient,
    shared: Arc<Shared>,
    mut random: Random,
) {
    shared.reach(Phase::Working).await;
    for device_id in mqtt_device_ids() {
        // Two of each: the newer connection wins.
        for _ in 0..2 {
            let actor = Actor::new(host, &network, &client, &shared, random.fork(), device_id.clone());
            tokio::spawn(mqtt_device::come_and_go(actor));
        }
    }
    std::future::pending::<()>().await;
}

/// Somebody who has to do with one device.
#[derive(Clone)]
pub struct Actor {
    pub host: HostId,
    pub network: Arc<Network>,
    pub client: ShardClient,
    pub shared: Arc<Shared>,
    pub random: Random,
    pub device: String,
    pub principal: Principal,
}

impl Actor {
    fn new(
        host: HostId,
        network: &Arc<Network>,
        client: &ShardClient,
        shared: &Arc<Shared>,
        random: Random,
        device_id: DeviceId,
    ) -> Self {
        Self {
            host,
            network: network.clone(),
            client: client.clone(),
            shared: shared.clone(),
            random,
            device: device_id.to_string(),
            principal: Principal::device(device_id),
        }
    }
}
