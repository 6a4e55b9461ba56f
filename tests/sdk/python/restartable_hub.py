"""A hub of the tests' own, for those that end it: started again on the same data folder and address."""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import time

import hub

START_TIMEOUT_SECONDS = 20


WANTED = ("IRONHUB_BINARY", "IRONHUB_SDK_RESTART_ADDRESS", "IRONHUB_SDK_RESTART_DATA_DIR")
# What the environment lacks to start a hub.
MISSING = [name for name in WANTED if not os.environ.get(name)]
WHY_NOT = f"no hub can be started and ended without {', '.join(MISSING)}"


class RestartableHub(hub.Hub):
    def __init__(self, folder):
        self._folder = pathlib.Path(folder)
        self.data_dir = self._folder / "data"
        self._address = os.environ["IRONHUB_SDK_RESTART_ADDRESS"]
        shutil.copytree(os.environ["IRONHUB_SDK_RESTART_DATA_DIR"], self.data_dir)
        self.start()
        super().__init__(self.data_dir / "hub.json")

    def start(self):
        """Returns when it listens."""
        names = ["--data-dir", self.data_dir, "--listen-address", self._address, "--host-name", self._address]
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen([os.environ["IRONHUB_BINARY"], "all", *names], stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the hub does not start: {(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def _listens(self):
        try:
            socket.create_connection((self._address, 8883), timeout=1).close()
        except OSError:
            return False
        return (self.data_dir / "hub.json").exists()

    def resident_bytes(self):
        """Memory of the process that is not swapped out or given back."""
        status = pathlib.Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)[1]) * 1024

    def stop(self):
        """In an orderly way."""
        self._process.terminate()
        assert self._process.wait(START_TIMEOUT_SECONDS) == 0

    def kill(self):
        """As a crash would."""
        self._process.kill()
        self._process.wait()
