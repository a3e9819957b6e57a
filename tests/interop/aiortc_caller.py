"""A caller on another WebRTC stack (aiortc): joins a hosted room by WHIP, speaks, and records.

Usage: aiortc_caller.py WHIP_URL WAV_TO_SAY WAV_TO_WRITE [CODEC]

CODEC is the only one it offers, like `PCMU`; without it, it offers all it has.

Takes orders on standard input, one a line: `say` says the WAV once, `say PATH` another one; `hear MS`
tells when so much more speech was heard; `mark` tells where in the recording we are; `hang up` waits
until nobody has spoken for a while, leaves, writes what was heard, and ends. Tells on standard output,
one JSON object a line, what has happened.
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
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtcrtpsender import RTCRtpSender
from av import AudioFrame

FRAME_SECONDS = 0.02
HEARD_RATES = {"opus": 48000, "PCMU": 8000, "PCMA": 8000}
LOUD = 500
QUIET_SECONDS = 0.6
PATIENCE_SECONDS = 20


def tell(**what):
    print(json.dumps(what), flush=True)


def read(path):
    with wave.open(path) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2), path
        return file.getframerate(), file.readframes(file.getnframes())


class Wire:
    """What arrives as RTP, before any jitter buffer: whose it is, and its number."""

    def __init__(self):
        self.sources = set()
        self.packets = 0
        self.missing = 0
        self.last = None
        handle = RTCRtpReceiver._handle_rtp_packet

        async def watched(receiver, packet, arrival_time_ms):
            self.see(packet)
            await handle(receiver, packet, arrival_time_ms)

        RTCRtpReceiver._handle_rtp_packet = watched

    def see(self, packet):
        self.sources.add(packet.ssrc)
        self.packets += 1
        if self.last is not None:
            # A number that goes back counts as a jump right round.
            self.missing += (packet.sequence_number - self.last - 1) % 65536
        self.last = packet.sequence_number


class Mouth(MediaStreamTrack):
    """Silence in real time, and a recording when it is told to say one."""

    kind = "audio"

    def __init__(self, path):
        super().__init__()
        self.rate, self.recording = read(path)
        self.size = int(self.rate * FRAME_SECONDS) * 2
        self.left = b""
        self.sent = 0
        self.begun = None

    def say(self, path=None):
        rate, recording = read(path) if path else (self.rate, self.recording)
        assert rate == self.rate, path
        self.left = recording

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

    def __init__(self, rate):
        self.rate = rate
        self.heard = array.array("h")
        self.last_loud = 0
        self.awaited = 0

    async def listen(self, track):
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert frame.format.name == "s16" and frame.sample_rate == self.rate, frame
            channels = len(frame.layout.channels)
            samples = array.array("h", bytes(frame.planes[0])[: frame.samples * channels * 2])
            mono = samples[::channels]
            self.heard.extend(mono)
            if max(map(abs, mono)) > LOUD:
                if not self.last_loud:
                    tell(hears=True)
                self.last_loud = time.monotonic()
                if 0 < self.awaited <= len(mono):
                    tell(heard=True)
                self.awaited -= min(self.awaited, len(mono))

    async def quiet(self):
        while (left := self.last_loud + QUIET_SECONDS - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def write(self, path):
        with wave.open(path, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(self.rate)
            file.writeframes(self.heard.tobytes())


async def request(method, url, body=None):
    def send():
        headers = {"Content-Type": "application/sdp"} if body else {}
        asked = urllib.request.Request(url, body, headers, method=method)
        with urllib.request.urlopen(asked, timeout=PATIENCE_SECONDS) as answer:
            return answer.status, answer.headers, answer.read().decode()

    return await asyncio.to_thread(send)


async def connect(peer, url, states):
    connected = asyncio.Event()

    @peer.on("connectionstatechange")
    def changed():
        tell(connection=peer.connectionState)
        states.append(peer.connectionState)
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


def offer_only(peer, codec):
    known = RTCRtpSender.getCapabilities("audio").codecs
    chosen = [one for one in known if one.mimeType == f"audio/{codec}"]
    assert chosen, known
    for transceiver in peer.getTransceivers():
        transceiver.setCodecPreferences(chosen)


async def main(url, to_say, to_write, codec=None):
    wire, states = Wire(), []
    peer, mouth, ear = RTCPeerConnection(), Mouth(to_say), Ear(HEARD_RATES[codec or "opus"])
    peer.addTrack(mouth)
    if codec:
        offer_only(peer, codec)
    listening = []
    peer.on("track", lambda track: listening.append(asyncio.ensure_future(ear.listen(track))))
    resource = await connect(peer, url, states)
    async for order in orders():
        verb, _, what = order.partition(" ")
        if verb == "say":
            mouth.say(what)
        elif verb == "hear":
            ear.awaited = ear.rate * int(what) // 1000
        elif verb == "mark":
            tell(at=len(ear.heard))
        elif order == "hang up":
            break
        else:
            raise ValueError(order)
    await ear.quiet()
    before = list(states)
    status, _, _ = await request("DELETE", resource)
    assert status == 200, status
    await peer.close()
    await asyncio.gather(*listening)
    ear.write(to_write)
    rtp = {"sources": len(wire.sources), "packets": wire.packets, "missing": wire.missing}
    tell(seconds=len(ear.heard) / ear.rate, states=before, rtp=rtp)


if __name__ == "__main__":
    # Everything here is on one machine, and loopback is not among the addresses it looks for.
    aioice.ice.get_host_addresses = lambda *_, **__: ["127.0.0.1"]
    asyncio.run(main(*sys.argv[1:]))
