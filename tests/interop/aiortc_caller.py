"""A caller on another WebRTC stack (aiortc): joins a hosted room by WHIP, speaks, and records.

Usage: aiortc_caller.py WHIP_URL WAV_TO_SAY WAV_TO_WRITE

Takes orders on standard input, one a line: `say` says the WAV once; `hang up` waits until nobody
has spoken for a while, leaves, writes what was heard, and ends. Tells on standard output, one JSON
object a line, what has happened.
"""

import array
import asyncio
import fractions
import json
import sys
import time
import urllib.parse
import urllib.request
import wave

import aioice.ice
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame

# Everything here is on one machine, and loopback is not among the addresses it looks for.
aioice.ice.get_host_addresses = lambda *_, **__: ["127.0.0.1"]

FRAME_SECONDS = 0.02
HEARD_RATE = 48000
LOUD = 500
QUIET_SECONDS = 0.6
PATIENCE_SECONDS = 20


def tell(**what):
    print(json.dumps(what), flush=True)


class Mouth(MediaStreamTrack):
    """Silence in real time, and a recording when it is told to say one."""

    kind = "audio"

    def __init__(self, path):
        super().__init__()
        with wave.open(path) as file:
            assert (file.getnchannels(), file.getsampwidth()) == (1, 2), path
            self.rate = file.getframerate()
            self.recording = file.readframes(file.getnframes())
        self.size = int(self.rate * FRAME_SECONDS) * 2
        self.left = b""
        self.sent = 0
        self.begun = None

    def say(self):
        self.left = self.recording

    async def recv(self):
        self.begun = self.begun or time.monotonic()
        due = self.begun + self.sent * FRAME_SECONDS
        await asyncio.sleep(max(0, due - time.monotonic()))
        data, self.left = self.left[: self.size], self.left[self.size :]
        if data and not self.left:
            tell(said=True)
        frame = AudioFrame(format="s16", layout="mono", samples=self.size // 2)
        frame.planes[0].update(data.ljust(self.size, b"\0"))
        frame.sample_rate = self.rate
        frame.pts = self.sent * (self.size // 2)
        frame.time_base = fractions.Fraction(1, self.rate)
        self.sent += 1
        return frame


class Ear:
    """Keeps all that is heard, and when it last was more than silence."""

    def __init__(self):
        self.heard = array.array("h")
        self.last_loud = 0

    async def listen(self, track):
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert frame.format.name == "s16" and frame.sample_rate == HEARD_RATE, frame
            channels = len(frame.layout.channels)
            samples = array.array("h", bytes(frame.planes[0])[: frame.samples * channels * 2])
            mono = samples[::channels]
            self.heard.extend(mono)
            if max(map(abs, mono)) > LOUD:
                if not self.last_loud:
                    tell(hears=True)
                self.last_loud = time.monotonic()

    async def quiet(self):
        while (left := self.last_loud + QUIET_SECONDS - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def write(self, path):
        with wave.open(path, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(HEARD_RATE)
            file.writeframes(self.heard.tobytes())


async def request(method, url, body=None):
    def send():
        headers = {"Content-Type": "application/sdp"} if body else {}
        asked = urllib.request.Request(url, body, headers, method=method)
        with urllib.request.urlopen(asked, timeout=PATIENCE_SECONDS) as answer:
            return answer.status, answer.headers, answer.read().decode()

    return await asyncio.to_thread(send)


async def connect(peer, url):
    connected = asyncio.Event()

    @peer.on("connectionstatechange")
    def changed():
        tell(connection=peer.connectionState)
        if peer.connectionState == "connected":
            connected.set()

    await peer.setLocalDescription(await peer.createOffer())
    offer = peer.localDescription.sdp.encode()
    status, headers, answer = await request("POST", url, offer)
    assert status == 201 and headers["Content-Type"] == "application/sdp", (status, headers)
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await asyncio.wait_for(connected.wait(), PATIENCE_SECONDS)
    return urllib.parse.urljoin(url, headers["Location"])


async def orders():
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line.decode().strip()


async def main(url, to_say, to_write):
    peer, mouth, ear = RTCPeerConnection(), Mouth(to_say), Ear()
    peer.addTrack(mouth)
    listening = []
    peer.on("track", lambda track: listening.append(asyncio.ensure_future(ear.listen(track))))
    resource = await connect(peer, url)
    async for order in orders():
        if order == "say":
            mouth.say()
        elif order == "hang up":
            break
        else:
            raise ValueError(order)
    await ear.quiet()
    status, _, _ = await request("DELETE", resource)
    assert status == 200, status
    await peer.close()
    await asyncio.gather(*listening)
    ear.write(to_write)
    tell(seconds=len(ear.heard) / HEARD_RATE)


asyncio.run(main(*sys.argv[1:]))
