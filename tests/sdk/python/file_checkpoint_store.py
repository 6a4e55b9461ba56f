"""A checkpoint store for azure-eventhub that keeps everything in files: there is no official one for them."""

import contextlib
import fcntl
import json
import os
import pathlib
import time
import urllib.parse
import uuid

from azure.eventhub.aio import CheckpointStore


class FileCheckpointStore(CheckpointStore):
    """One JSON file for each ownership and each checkpoint, in a folder that processes of one machine may share."""

    def __init__(self, folder):
        self._folder = pathlib.Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)

    async def list_ownership(self, fully_qualified_namespace, eventhub_name, consumer_group, **_):
        return self._list("ownership", fully_qualified_namespace, eventhub_name, consumer_group)

    async def list_checkpoints(self, fully_qualified_namespace, eventhub_name, consumer_group, **_):
        return self._list("checkpoints", fully_qualified_namespace, eventhub_name, consumer_group)

    async def claim_ownership(self, ownership_list, **_):
        """Those that nobody changed since they were listed."""
        with self._locked():
            claimed = [self._claim(ownership) for ownership in ownership_list]
        return [ownership for ownership in claimed if ownership]

    async def update_checkpoint(self, checkpoint, **_):
        with self._locked():
            self._write("checkpoints", checkpoint)

    def _claim(self, ownership):
        path = self._path("ownership", ownership)
        stored = json.loads(path.read_text())["etag"] if path.exists() else None
        if ownership.get("etag") != stored:
            return None
        claimed = {**ownership, "etag": str(uuid.uuid4()), "last_modified_time": time.time()}
        self._write("ownership", claimed)
        return claimed

    def _list(self, kind, *names):
        with self._locked():
            return [json.loads(path.read_text()) for path in sorted(self._of(kind, *names).glob("*.json"))]

    def _path(self, kind, item):
        names = [item[name] for name in ("fully_qualified_namespace", "eventhub_name", "consumer_group")]
        return self._of(kind, *names) / f"{item['partition_id']}.json"

    def _of(self, kind, *names):
        return self._folder.joinpath(kind, *(urllib.parse.quote(name.lower(), safe="") for name in names))

    def _write(self, kind, item):
        """Whole or not at all: a process may be killed in between."""
        path = self._path(kind, item)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".new")
        unfinished.write_text(json.dumps(item))
        os.replace(unfinished, path)

    @contextlib.contextmanager
    def _locked(self):
        with open(self._folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
