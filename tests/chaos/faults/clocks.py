"""Clocks that go wrong, and right again."""

import time

from parts import SHARDS

# Up to five seconds are borne; what is further off may not lead.
STEPS_SECONDS = [-3600, -60, -6, -3, 3, 6, 60, 3600]


def step(cluster, random, say):
    shard, ahead, seconds = random.choice(SHARDS), random.choice(STEPS_SECONDS), random.uniform(2, 10)
    say(f"the clock of {shard} is {ahead:+} s, for {seconds:.1f} s")
    cluster.set_clock(shard, ahead)
    time.sleep(seconds)
    cluster.set_clock(shard, 0)
