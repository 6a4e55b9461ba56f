"""What happens to a cluster. Every fault undoes itself and waits until the parts it touched run again."""

import collections
import subprocess
import time

from . import clocks, disks, links, processes

# How often each comes, relative to the others.
FAULTS = {
    processes.kill: 6,
    processes.kill_majority: 2,
    processes.kill_all_shards: 1,
    processes.kill_brokers: 2,
    processes.pause: 4,
    processes.restart: 3,
    processes.grow_and_shrink: 1,
    links.isolate: 3,
    links.split: 3,
    links.cut_one_way: 3,
    links.cut_from_kafka: 1,
    disks.fill: 2,
    disks.damage_log_tail: 2,
    disks.lose: 1,
    clocks.step: 3,
}


def named(names):
    """Those of these names, or all."""
    chosen = {fault: weight for fault, weight in FAULTS.items() if not names or fault.__name__ in names}
    if not chosen:
        raise ValueError(f"there are: {', '.join(fault.__name__ for fault in FAULTS)}")
    return chosen


def inject(cluster, random, seconds, say, weights):
    """One fault after the other, with pauses: how many there were of each, and what did not go as it should."""
    counts, unexpected = collections.Counter(), []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(random.uniform(1, 6))
        (fault,) = random.choices(list(weights), weights=weights.values())
        counts[fault.__name__] += 1
        try:
            fault(cluster, random, say)
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            say(f"unexpected: {error}")
            unexpected.append(f"{fault.__name__}: {error}")
            cluster.script("start")
    return counts, unexpected
