"""Disks that fill, are damaged, or are gone."""

import os
import shutil
import time

from parts import SHARDS

# Moving replicas to an empty disk.
SETTLE_SECONDS = 120
# For a shard to notice that there is space again; one whose database failed meanwhile wants a restart, as it says.
RECOVERS_WITHIN_SECONDS = 10


def fill(cluster, random, say):
    shard = random.choice(SHARDS)
    left, seconds = random.choice([200 << 20, 30 << 20, 0]), random.uniform(1, 8)
    say(f"{left >> 20} MiB are left on the disk of {shard}, {seconds:.1f} s")
    filler = cluster.disk(shard) / "filler"
    _take_space(filler, left)
    time.sleep(seconds)
    filler.unlink(missing_ok=True)
    if not cluster.becomes_ready(shard, RECOVERS_WITHIN_SECONDS):
        say(f"{shard} is restarted after its disk was full")
        cluster.script("kill", shard)
        cluster.script("run", shard)


def _take_space(filler, left):
    """The shard takes some, too: what was free a moment ago may not be any more."""
    for _ in range(20):
        wanted = shutil.disk_usage(filler.parent).free - left
        if wanted <= 0:
            return
        try:
            with filler.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, wanted)
            return
        except OSError:
            filler.unlink(missing_ok=True)


def damage_log_tail(cluster, random, say):
    """What a write leaves that a lost power cut off: behind what was synced there is something else."""
    shard = random.choice(SHARDS)
    cluster.script("kill", shard)
    log = max((cluster.disk(shard) / "data").rglob("*.log"), key=lambda file: int(file.stem))
    length = random.randint(1, 40_000)
    kind, tail = random.choice([("zeros", bytes(length)), ("noise", random.randbytes(length))])
    say(f"kill -9 {shard}; {length} bytes of {kind} at the end of its log")
    with log.open("ab") as file:
        file.write(tail)
    cluster.script("run", shard)


def lose(cluster, random, say):
    shard = random.choice(SHARDS)
    cluster.settle(SETTLE_SECONDS)
    old = [node["nodeId"] for node in cluster.nodes(shard)]
    say(f"{shard} loses its disk")
    cluster.script("kill", shard)
    cluster.script("lose-disk", shard)
    cluster.script("launch", shard)
    for node_id in old:
        cluster.ironhub("cluster", "remove", node_id)
    cluster.settle(SETTLE_SECONDS)
