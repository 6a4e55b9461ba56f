"""The cluster under test, and the commands of its operator."""

import json
import os
import pathlib
import shutil
import ssl
import struct
import subprocess
import time
import urllib.request

import hub
from parts import ADDRESSES, BROKERS, FURTHER_SHARD, NETWORK, SHARDS

HERE = pathlib.Path(__file__).parent
SCRIPT = HERE.parents[1] / "deploy" / "development" / "cluster"
# One command waits so long for replicas that move.
COMMAND_SECONDS = 300
# The reserve of a shard is 256 MiB; it works with as much again.
DISK_MEBIBYTES = 768


class RunningCluster(hub.Hub):
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.clocks = self.folder / "clocks"
        self.clocks.mkdir()
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", self.clocks / "clock.so", HERE / "clock.c"], check=True)
        for shard in [*SHARDS, FURTHER_SHARD]:
            (self.clocks / shard).write_bytes(bytes(8))
        for shard in SHARDS:
            self._make_disk(shard)
        try:
            self.script("start")
        except RuntimeError:
            self.keep_logs()
            raise
        super().__init__(self.folder / "gateway-1" / "hub.json")

    def _make_disk(self, shard):
        disk = self.disk(shard)
        disk.mkdir()
        options = f"size={DISK_MEBIBYTES}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=True)

    def disk(self, shard):
        """A small file system: data and log."""
        return self.folder / shard

    def set_clock(self, shard, seconds):
        """So far ahead of ours. The shard has the file in its memory: it is written over."""
        with open(self.clocks / shard, "r+b") as file:
            file.write(struct.pack("=q", seconds))

    def script(self, *words, timeout=150):
        environment = {
            **os.environ,
            "IRONHUB_CLUSTER_DATA": str(self.folder),
            "IRONHUB_CLUSTER_NETWORK": NETWORK,
            "IRONHUB_CLUSTER_BROKERS": str(len(BROKERS)),
            "IRONHUB_CLUSTER_WITHIN": str(HERE / "within"),
            "IRONHUB_CHAOS_CLOCKS": str(self.clocks),
        }
        log_file = self.folder / "script-log"
        # Processes inherit what the script prints to: a pipe would stay open for as long as they run.
        with open(log_file, "ab") as log:
            result = subprocess.run([SCRIPT, *words], env=environment, stdout=log, stderr=log, timeout=timeout)
        if result.returncode != 0:
            raise RuntimeError(f"cluster {' '.join(words)}: {log_file.read_text()[-500:]}")

    def stop(self):
        self.script("stop")

    def keep_logs(self):
        """The small file systems go with this process."""
        for shard in SHARDS:
            for log in self.disk(shard).glob("log"):
                shutil.copy(log, self.folder / f"{shard}-log")

    def remove(self):
        for shard in SHARDS:
            subprocess.run(["umount", self.disk(shard)], check=True)
        shutil.rmtree(self.folder)

    def request(self, method, path):
        """One request of a back end: the ETag of the answer without its quotes, and its body."""
        request = urllib.request.Request(
            f"https://{self.host_name}{path}?api-version=2021-04-12",
            method=method,
            headers={"Authorization": self.service_token()},
        )
        context = ssl.create_default_context(cafile=self.certificate_authority_file)
        with urllib.request.urlopen(request, context=context, timeout=10) as response:
            etag = response.headers.get("ETag")
            return etag and etag.strip('"'), response.read()

    def ironhub(self, *words, tries=10):
        """One command of the operator, who tries again when a leader is gone just then; its JSON."""
        target = ["--data-dir", str(self.folder / "gateway-1"), "--json"]
        command = [os.environ["IRONHUB_BINARY"], *words, *target]
        result = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS)
        if result.returncode == 0:
            return json.loads(result.stdout)
        if tries > 1:
            time.sleep(1)
            return self.ironhub(*words, tries=tries - 1)
        raise RuntimeError(f"{' '.join(words)}: {result.stderr.strip()[-500:]}")

    def nodes(self, name):
        """Those of that name that were not removed."""
        nodes = self.ironhub("cluster", "status")["nodes"]
        return [node for node in nodes if node["name"] == name and node["state"] != "removed"]

    def settle(self, seconds):
        """Waits until every group is where it is wanted."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                status = self.ironhub("cluster", "status")
                if status["isSettled"]:
                    return
            except (RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
                status = error
            if time.monotonic() > deadline:
                raise RuntimeError(f"not settled after {seconds} s: {str(status)[:2000]}")
            time.sleep(0.5)

    def becomes_ready(self, part, seconds):
        """Whether it says so within that time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://{ADDRESSES[part]}:9600/readyz", timeout=1).close()
                return True
            except OSError:
                time.sleep(0.2)
        return False

    def heal(self, seconds):
        """Every part runs and every group is where it is wanted; else what is wrong."""
        try:
            self.script("start")
            self.settle(seconds)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            return [f"the cluster does not heal: {error}"]
        return []
