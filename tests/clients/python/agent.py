"""The side of a client program that every Python client shares.

The test speaks one JSON object a line: a command in on standard input, its answer out on standard output
(`tests/clients/agent.rs` is the other end). A client is a class with one method for each command; the answer is
what the method returns. End of input ends the program, so that no client outlives its test.
"""
import base64
import json
import sys
import zlib

DIGEST_ABOVE = 1024
"""Values longer than this are reported as length and CRC-32: megabytes need not travel as text."""


class Unsupported(Exception):
    """This client has no such command."""


class KafkaCode(Exception):
    """The broker answered with an error code of Kafka's."""

    def __init__(self, code, message=""):
        super().__init__(f"kafka error {code}: {message}")
        self.code = code


def decode(text):
    return None if text is None else base64.b64decode(text)


def encode(data):
    return None if data is None else base64.b64encode(data).decode()


_files = {}


def records_of(command):
    """The records of a produce command: [(key, value, [(header, value)], timestamp or None)]."""
    path = command["file"]
    if path not in _files:
        with open(path) as file:
            _files[path] = [
                (decode(r["key"]), decode(r["value"]), [(h, decode(v)) for h, v in r["headers"]], r["timestamp"])
                for r in json.load(file)
            ]
    return _files[path]


def seen(offset, timestamp, timestamp_type, key, value, headers):
    """A consumed record as the test wants to hear of it; timestamp_type 0 = CreateTime, 1 = LogAppendTime."""
    record = {
        "offset": offset,
        "timestamp": timestamp,
        "timestamp_type": timestamp_type,
        "key": encode(key),
        "headers": [[name, encode(data)] for name, data in headers or []],
    }
    if value is not None and len(value) > DIGEST_ABOVE:
        record["digest"] = [len(value), zlib.crc32(value)]
    else:
        record["value"] = encode(value)
    return record


def numbered(command):
    """The records of produce_numbers: (partition, value) with value = the number, round robin over partitions."""
    for number in range(command["count"]):
        yield number % command["partitions"], b"%d" % number


def serve(client):
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(client, command["do"])(command) or {}
        except Unsupported:
            answer = {"unsupported": True}
        except KafkaCode as error:
            answer = {"code": error.code, "error": str(error)}
        except Exception as error:  # whatever a client throws is what the test wants to show
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
