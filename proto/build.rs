//! Generates the messages and services of `ironhub/*/v1/*.proto`, without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const FILES: [&str; 13] = [
        "ironhub/event/v1/record.proto",
        "ironhub/shard/v1/cluster.proto",
        "ironhub/shard/v1/identity.proto",
        "ironhub/shard/v1/backup.proto",
        "ironhub/shard/v1/command.proto",
        "ironhub/shard/v1/twin.proto",
        "ironhub/shard/v1/method.proto",
        "ironhub/shard/v1/queue.proto",
        "ironhub/shard/v1/receiver.proto",
        "ironhub/shard/v1/state.proto",
        "ironhub/shard/v1/shard.proto",
        "ironhub/raft/v1/raft.proto",
        "ironhub/shard/v1/membership.proto",
    ];
    println!("cargo:rerun-if-changed=ironhub");
    let descriptors = protox::compile(FILES, ["."])?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
