"""Speaks the protocol of docs/daily-helper.md as the room's path says: well, badly or not at all."""

import json
import os
import socket
import struct
import sys
import threading
import time
from urllib.parse import parse_qs, urlsplit

sock = socket.socket(fileno=0)
lock = threading.Lock()
FRAME = struct.pack("<480h", *([1000, -1000] * 240))


def send(kind, body):
    with lock:
        sock.sendall(struct.pack(">IB", len(body) + 1, kind) + body)


def tell(kind, **fields):
    send(1, json.dumps({"type": kind, **fields}).encode())


def heard(id, number, pcm=FRAME):
    head = struct.pack("B", len(id)) + id.encode() + struct.pack(">HI", number & 0xFFFF, number * 960)
    send(2, head + pcm)


def take(count):
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            sys.exit(0)
        data += part
    return data


def receive():
    (length,) = struct.unpack(">I", take(4))
    data = take(length)
    return (data[0], json.loads(data[1:]) if data[0] == 1 else data[1:])


def orders():
    while True:
        kind, body = receive()
        if kind == 1 and body["type"] != "beat":
            return body


def beat():
    while True:
        tell("beat")
        time.sleep(1)


def joined():
    tell("joined", participants=[{"id": "d1", "name": "Ann"}])


def leave():
    order = orders()
    write("order", order)
    tell("left")
    sys.exit(0)


def write(name, value):
    if witness:
        with open(os.path.join(witness, name), "w", encoding="utf-8") as file:
            json.dump(value, file)


def stay():
    joined()
    leave()


def talk():
    joined()
    for number in range(20):
        heard("d1", number)
    tell("participant_joined", id="d2", name="Bob")
    tell("participant_updated", id="d2", name="Robert")
    tell("active_speaker", id="d2")
    tell("app_message", sender="d2", text="hello there")
    tell("network", connection="sfu", state="interrupted")
    tell("weather", is_fine=True)
    heard("d2", 7)
    heard("nobody", 1)
    tell("participant_left", id="d2", reason="leftCall")
    leave()


def echo():
    joined()
    number = 0
    while True:
        kind, body = receive()
        if kind == 3:
            heard("d1", number, body)
            number += 1
        elif body["type"] == "leave":
            sys.exit(0)


def refuse():
    tell("over", cause=rest, detail="so it is")
    leave()


def end():
    joined()
    tell("over", cause=rest, detail="so it is")
    leave()


def crash():
    joined()
    os.kill(os.getpid(), 9)


def hang():
    joined()
    # Whatever it is told, it neither answers nor ends.
    while True:
        time.sleep(1)


def deaf():
    joined()
    beat_for_ever.start()
    time.sleep(0.1)
    gate = os.path.join(witness, "gate")
    while not os.path.exists(gate):
        time.sleep(0.01)
    tell("participant_joined", id="d2", name="Bob")
    leave()


def crowd():
    joined()
    for number in range(1000):
        tell("participant_joined", id=f"x{number}", name="")
    leave()


def flood():
    joined()
    for number in range(5000):
        heard("d1", number)
    tell("participant_joined", id="d2", name="Bob")
    leave()


def garbage():
    joined()
    send(9, b"what is this")
    leave()


def endless():
    joined()
    sock.sendall(b"\xff\xff\xff\xff")
    leave()


witness = rest = None
beat_for_ever = threading.Thread(target=beat, daemon=True)


def main():
    global witness, rest
    tell("hello", version=1, package="stand-in")
    join = orders()
    url = urlsplit(join["url"])
    witness = parse_qs(url.query).get("witness", [None])[0]
    write("process", {"pid": os.getpid(), "args": sys.argv, "environment": dict(os.environ)})
    write("join", join)
    print("the token is", join.get("token"), file=sys.stderr)
    act, _, rest = url.path.strip("/").partition("/")
    globals()[act]()


if __name__ == "__main__":
    main()
