"""What the cluster is made of, and where each part is."""

NETWORK = "10.53.0"
# Devices and back ends.
CLIENTS = f"{NETWORK}.2"

SHARDS = ["shard-1", "shard-2", "shard-3"]
FURTHER_SHARD = "shard-4"
GATEWAYS = ["gateway-1", "gateway-2"]
BROKERS = ["kafka-1", "kafka-2", "kafka-3"]
ADDRESSES = {
    "haproxy": f"{NETWORK}.1",
    **{name: f"{NETWORK}.{10 + number}" for number, name in enumerate(GATEWAYS, start=1)},
    **{name: f"{NETWORK}.{20 + number}" for number, name in enumerate([*SHARDS, FURTHER_SHARD], start=1)},
    **{name: f"{NETWORK}.{30 + number}" for number, name in enumerate(BROKERS, start=1)},
}
