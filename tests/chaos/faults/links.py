"""Parts that do not reach each other: what they send is dropped, without a word."""

import time

import network
from parts import BROKERS, GATEWAYS, SHARDS

INSIDE = [*SHARDS, *GATEWAYS, *BROKERS]


def _both_ways(these, those):
    return {(one, other) for one in these for other in those} | {(other, one) for one in these for other in those}


def _cut_for_a_while(ways, random, say, what):
    seconds = random.uniform(0.5, 12)
    say(f"{what}, {seconds:.1f} s")
    network.cut(ways)
    time.sleep(seconds)
    network.mend()


def isolate(_cluster, random, say):
    """From everything but the load balancer, which believes in it."""
    part = random.choice(INSIDE)
    ways = _both_ways([part], [other for other in INSIDE if other != part])
    _cut_for_a_while(ways, random, say, f"nothing reaches {part} or comes from it")


def split(_cluster, random, say):
    """One shard from the other two, perhaps with gateways that see only one side."""
    (one, *others) = random.sample(SHARDS, 3)
    gateways = [gateway for gateway in GATEWAYS if random.random() < 0.5]
    ways = _both_ways([one, *gateways], others)
    beside = f", with {' and '.join(gateways)}" if gateways else ""
    _cut_for_a_while(ways, random, say, f"{one}{beside} is cut from {' and '.join(others)}")


def cut_one_way(_cluster, random, say):
    source, target = random.sample(INSIDE, 2)
    _cut_for_a_while({(source, target)}, random, say, f"nothing passes from {source} to {target}")


def cut_from_kafka(_cluster, random, say):
    gateways = random.choice([GATEWAYS[:1], GATEWAYS])
    _cut_for_a_while(_both_ways(gateways, BROKERS), random, say, f"{' and '.join(gateways)} without Kafka")
