"""A whole cluster as processes of this machine (`deploy/development/cluster`), parts of which can be killed."""

import os
import pathlib
import shutil
import subprocess

import hub

SCRIPT = pathlib.Path(__file__).parents[3] / "deploy" / "development" / "cluster"
NETWORK = "127.0.52"
# Every part that may die without the hub being gone.
PARTS = ["shard-1", "shard-2", "shard-3", "gateway-1", "gateway-2", "haproxy", "kafka-1"]


class Cluster(hub.Hub):
    def __init__(self, folder):
        self._folder = pathlib.Path(folder) / "cluster"
        # The authority of the other hubs, so that the suites trust this one.
        shutil.copytree(
            pathlib.Path(os.environ["IRONHUB_SDK_RESTART_DATA_DIR"]) / "certificates",
            self._folder / "certificates" / "server",
        )
        self._run("start")
        self.data_dir = self._folder / "gateway-1"
        super().__init__(self.data_dir / "hub.json")

    def kill(self, part):
        """kill -9."""
        self._run("kill", part)

    def start_again(self, part):
        """Returns when it is ready."""
        self._run("run", part)

    def stop(self):
        self._run("stop")

    def logs(self):
        return "\n".join(f"== {log}\n{log.read_text()[-2000:]}" for log in sorted(self._folder.glob("*/log")))

    def _run(self, *words):
        environment = {**os.environ, "IRONHUB_CLUSTER_DATA": str(self._folder), "IRONHUB_CLUSTER_NETWORK": NETWORK}
        # Processes inherit what the script prints to: a pipe would stay open for as long as they run.
        with open(self._folder / "script-log", "ab") as log:
            result = subprocess.run([SCRIPT, *words], env=environment, stdout=log, stderr=log, timeout=120)
        if result.returncode != 0:
            raise RuntimeError(f"cluster {words}: {(self._folder / 'script-log').read_text()[-2000:]}\n{self.logs()}")
