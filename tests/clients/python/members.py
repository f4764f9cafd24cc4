"""Members of consumer groups: each consumes on a thread of its own and keeps what happened to it.

`join` starts one, `member` tells what it has seen so far, `commit` commits what it has consumed, `leave` closes it.
What is committed otherwise is up to its `commit` setting: `auto` leaves it to the client's defaults, `none` commits
only when told to, `batch` commits after every batch and remembers what the broker acknowledged.
"""
import queue
import threading

TIMEOUT = 60


class Member(threading.Thread):
    """A family fills in open, poll, commit_now, close and generation; all of them run on the member's thread."""

    def __init__(self, command):
        super().__init__(daemon=True)
        self.command = command
        self.assigned = set()
        self.events = []
        self.records = []
        self.next = {}
        self.commits = {}
        self.failed = []
        self.requests = queue.SimpleQueue()
        self.ending = False

    def run(self):
        try:
            self.open()
            while not self.ending:
                self.consumed(self.poll())
                self.answer_requests()
            self.close()
        except Exception as error:
            self.failed.append(f"{type(error).__name__}: {error}")
        finally:
            self.answer_requests()

    # What happens to the member

    def consumed(self, batch):
        """A batch of (topic, partition, offset)."""
        self.kept(batch)
        if batch and self.command["commit"] == "batch":
            try:
                self.commit()
            except Exception as error:
                self.events.append(["refused", f"{type(error).__name__}: {error}"])

    def kept(self, batch):
        for topic, partition, offset in batch:
            self.records.append((topic, partition, offset))
            self.next[topic, partition] = offset + 1

    def on_assigned(self, partitions, incremental):
        partitions = set(partitions)
        self.assigned = self.assigned | partitions if incremental else partitions
        self.events.append(["assigned", sorted(partitions)])

    def on_revoked(self, partitions, how="revoked"):
        self.assigned = self.assigned - set(partitions)
        for partition in partitions:
            self.next.pop(tuple(partition), None)
        self.events.append([how, sorted(partitions)])

    # What it is asked to do

    def to_commit(self):
        return {partition: offset for partition, offset in self.next.items() if partition in self.assigned}

    def commit(self):
        offsets = self.to_commit()
        if offsets:
            self.commit_now(offsets)
            self.acknowledged(offsets)
        return offsets

    def acknowledged(self, offsets):
        for partition, offset in offsets.items():
            self.commits[partition] = max(offset, self.commits.get(partition, 0))

    def answer_requests(self):
        while not self.requests.empty():
            work, answer = self.requests.get()
            try:
                answer.put((work(), None))
            except Exception as error:
                answer.put((None, error))

    def ask(self, work):
        """The result of `work` on the member's thread."""
        answer = queue.SimpleQueue()
        self.requests.put((work, answer))
        result, error = answer.get(timeout=TIMEOUT)
        if error is not None:
            raise error
        return result

    def status(self, first):
        return {
            "assigned": sorted(self.assigned),
            "events": list(self.events),
            "records": self.records[first:],
            "commits": named(self.commits),
            "failed": list(self.failed),
            "alive": self.is_alive(),
            "generation": self.generation(),
        }

    def generation(self):
        return None


def named(offsets):
    return {f"{topic}-{partition}": offset for (topic, partition), offset in list(offsets.items())}


class Members:
    """The commands about members; a client class inherits them and names its `Member` in `member_class`."""

    def member_of(self, c):
        return self.__dict__.setdefault("members", {})[c["member"]]

    def join(self, c):
        member = self.member_class(self.base, c)
        self.__dict__.setdefault("members", {})[c["member"]] = member
        member.start()

    def member(self, c):
        return self.member_of(c).status(c["first"])

    def commit(self, c):
        member = self.member_of(c)
        return {"committed": named(member.ask(member.commit))}

    def leave(self, c):
        member = self.member_of(c)
        member.ending = True
        member.join(TIMEOUT)
        if member.is_alive():
            raise TimeoutError("the member does not end")
        return member.status(c["first"])
