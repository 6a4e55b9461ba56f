"""Processes that die, stand still, end, come and go."""

import time

from parts import BROKERS, FURTHER_SHARD, GATEWAYS, SHARDS


def _kill_for_a_while(cluster, parts, seconds, say):
    say(f"kill -9 {', '.join(parts)}, {seconds:.1f} s")
    for part in parts:
        cluster.script("kill", part)
    time.sleep(seconds)
    # All are started before one is waited for: what needs the others is ready with them.
    for part in parts:
        cluster.script("launch", part)
    for part in parts:
        cluster.script("await", part)


def kill(cluster, random, say):
    part = random.choice([*SHARDS, *GATEWAYS, "haproxy", *BROKERS])
    _kill_for_a_while(cluster, [part], random.uniform(0, 6), say)


def kill_majority(cluster, random, say):
    _kill_for_a_while(cluster, random.sample(SHARDS, 2), random.uniform(0.5, 5), say)


def kill_all_shards(cluster, random, say):
    _kill_for_a_while(cluster, SHARDS, random.uniform(0, 3), say)


def kill_brokers(cluster, random, say):
    _kill_for_a_while(cluster, random.sample(BROKERS, random.choice([2, 2, 3])), random.uniform(0, 8), say)


def pause(cluster, random, say):
    part = random.choice([*SHARDS, *GATEWAYS, "haproxy", *BROKERS])
    still = random.uniform(0.3, 8)
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
