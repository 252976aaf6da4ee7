"""A job queue: many workers, each job done once, nothing lost when a worker dies."""

import tempfile
import threading
import time
from typing import Any, List, Optional, Tuple

import atomkv

LEASE_SECONDS = 30

with tempfile.TemporaryDirectory() as directory, atomkv.open(directory + "/jobs") as db:
    waiting = db.table("waiting", serializer="json", ordered=True, text_keys=True)
    running = db.table("running", serializer="json", text_keys=True)
    done: List[Tuple[str, Any]] = []

    @db.transact
    def take(t: atomkv.Transaction) -> Optional[Tuple[str, Any]]:
        """The oldest job; whoever else takes the same one at the same time tries again and gets the next."""
        for key, job in t.scan(waiting, limit=1):
            t.delete(waiting, key)
            t.put(running, key, {"job": job, "until": time.time() + LEASE_SECONDS})
            return key, job
        return None

    @db.transact
    def put_back_what_was_left(t: atomkv.Transaction) -> int:
        left = [(key, entry) for key, entry in t.scan(running) if entry["until"] < time.time()]
        for key, entry in left:
            t.delete(running, key)
            t.put(waiting, key, entry["job"])
        return len(left)

    def work() -> None:
        while (taken := take()) is not None:
            done.append(taken)
            running.delete(taken[0])

    waiting.put_many((f"{number:08}", {"number": number}) for number in range(200))
    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(len(done), "jobs done,", put_back_what_was_left(), "left over")
    assert sorted(job["number"] for _, job in done) == list(range(200))
