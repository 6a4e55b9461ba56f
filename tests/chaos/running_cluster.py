"""The cluster under test, and the commands of its operator."""

import json
import os
import pathlib
import subprocess
import time

import hub

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "development" / "cluster"
# One command waits so long for replicas that move.
COMMAND_SECONDS = 300
NETWORK = os.environ.get("IRONHUB_CLUSTER_NETWORK", "127.0.53")


class RunningCluster(hub.Hub):
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.script("start")
        super().__init__(self.folder / "gateway-1" / "hub.json")

    def script(self, *words, timeout=150):
        environment = {**os.environ, "IRONHUB_CLUSTER_DATA": str(self.folder), "IRONHUB_CLUSTER_NETWORK": NETWORK}
        log_file = self.folder / "script-log"
        # Processes inherit what the script prints to: a pipe would stay open for as long as they run.
        with open(log_file, "ab") as log:
            result = subprocess.run([SCRIPT, *words], env=environment, stdout=log, stderr=log, timeout=timeout)
        if result.returncode != 0:
            raise RuntimeError(f"cluster {' '.join(words)}: {log_file.read_text()[-500:]}")

    def stop(self):
        self.script("stop")

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

    def heal(self, seconds):
        """Every part runs and every group is where it is wanted; else what is wrong."""
        try:
            self.script("start")
            self.settle(seconds)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            return [f"the cluster does not heal: {error}"]
        return []
