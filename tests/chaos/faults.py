"""What happens to the parts of a cluster. Every fault undoes itself and waits until the parts it touched run again."""

import collections
import subprocess
import time

SHARDS = ["shard-1", "shard-2", "shard-3"]
GATEWAYS = ["gateway-1", "gateway-2"]
FURTHER_SHARD = "shard-4"
# Moving replicas to an empty disk.
SETTLE_SECONDS = 120


def kill(cluster, random, say):
    part = random.choice([*SHARDS, *GATEWAYS, "haproxy", "kafka"])
    down = random.uniform(0, 6)
    say(f"kill -9 {part}, {down:.1f} s")
    cluster.script("kill", part)
    time.sleep(down)
    cluster.script("run", part)


def kill_majority(cluster, random, say):
    parts = random.sample(SHARDS, 2)
    down = random.uniform(0.5, 5)
    say(f"kill -9 {' and '.join(parts)}, {down:.1f} s")
    for part in parts:
        cluster.script("kill", part)
    time.sleep(down)
    for part in parts:
        cluster.script("run", part)


def pause(cluster, random, say):
    part = random.choice([*SHARDS, *GATEWAYS, "haproxy"])
    still = random.uniform(0.3, 6)
    say(f"SIGSTOP {part}, {still:.1f} s")
    cluster.script("pause", part)
    time.sleep(still)
    cluster.script("resume", part)


def restart(cluster, random, say):
    part = random.choice([*SHARDS, *GATEWAYS])
    say(f"orderly restart of {part}")
    cluster.script("end", part)
    cluster.script("run", part)


def grow_and_shrink(cluster, random, say):
    say(f"{FURTHER_SHARD} joins")
    cluster.script("launch", FURTHER_SHARD)
    cluster.ironhub("cluster", "add", FURTHER_SHARD)
    time.sleep(random.uniform(0, 5))
    say(f"{FURTHER_SHARD} is drained and leaves")
    cluster.ironhub("cluster", "drain", FURTHER_SHARD, "--wait")
    cluster.ironhub("cluster", "remove", FURTHER_SHARD, "--wait")
    cluster.script("end", FURTHER_SHARD)
    cluster.script("lose-disk", FURTHER_SHARD)


def lose_disk(cluster, random, say):
    part = random.choice(SHARDS)
    cluster.settle(SETTLE_SECONDS)
    old = [node["nodeId"] for node in cluster.nodes(part)]
    say(f"{part} loses its disk")
    cluster.script("kill", part)
    cluster.script("lose-disk", part)
    cluster.script("launch", part)
    for node_id in old:
        cluster.ironhub("cluster", "remove", node_id)
    cluster.settle(SETTLE_SECONDS)


# How often each comes, relative to the others.
FAULTS = {kill: 8, pause: 4, restart: 3, kill_majority: 2, grow_and_shrink: 1, lose_disk: 1}


def inject(cluster, random, seconds, say):
    """One fault after the other, with pauses: how many there were of each, and what did not go as it should."""
    counts, unexpected = collections.Counter(), []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(random.uniform(1, 6))
        (fault,) = random.choices(list(FAULTS), weights=FAULTS.values())
        counts[fault.__name__] += 1
        try:
            fault(cluster, random, say)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            say(f"unexpected: {error}")
            unexpected.append(f"{fault.__name__}: {error}")
            cluster.script("start")
    return counts, unexpected
