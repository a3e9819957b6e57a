"""Somebody in an AudioBridge room on another WebRTC stack (aiortc): speaks, and records the mix.

Usage: participant.py JANUS_WS_URL ROOM NAME WAV_TO_SAY WAV_TO_WRITE

Takes orders on standard input, one a line: `say` says the WAV once, `say PATH` another one; `hear MS`
tells when so much more speech was heard; `request JSON` asks something of the plugin, like a kick;
`hang up` waits until nobody has spoken for a while, leaves, writes what was heard, and ends. Tells on
standard output, one JSON object a line, what has happened: `plugin` is an event of the room.
"""

import asyncio
import itertools
import json
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).parent.parent / "interop"))

import websockets
from aiortc import RTCPeerConnection, RTCSessionDescription

from aiortc_caller import HEARD_RATES, PATIENCE_SECONDS, Ear, Mouth, Wire, orders, tell

KEEPALIVE_SECONDS = 20


class Bridge:
    """A handle of the AudioBridge, and the answers to what is asked of it."""

    def __init__(self, socket):
        self.socket = socket
        self.numbers = itertools.count()
        self.waiting = {}
        self.ids = {}

    async def open(self):
        self.reading = asyncio.ensure_future(self.read())
        self.ids["session_id"] = (await self.ask(janus="create"))["data"]["id"]
        attach = {"janus": "attach", "plugin": "janus.plugin.audiobridge"}
        self.ids["handle_id"] = (await self.ask(**attach))["data"]["id"]
        self.living = asyncio.ensure_future(self.live())

    async def live(self):
        while True:
            await asyncio.sleep(KEEPALIVE_SECONDS)
            await self.ask(janus="keepalive")

    async def read(self):
        async for message in self.socket:
            said = json.loads(message)
            if said["janus"] == "event" and "transaction" not in said:
                tell(plugin=said["plugindata"]["data"])
            is_last = said["janus"] != "ack" or self.waiting.get(said.get("transaction"), (0, 0))[1]
            if "transaction" in said and is_last:
                waiting = self.waiting.pop(said["transaction"], None)
                if waiting:
                    waiting[0].set_result(said)
            if said["janus"] in ("hangup", "timeout", "media", "webrtcup"):
                tell(janus=said["janus"])

    async def ask(self, **what):
        number = str(next(self.numbers))
        answer = asyncio.get_running_loop().create_future()
        self.waiting[number] = (answer, what["janus"] == "keepalive")
        await self.socket.send(json.dumps({**what, **self.ids, "transaction": number}))
        return await asyncio.wait_for(answer, PATIENCE_SECONDS)

    async def request(self, body, jsep=None):
        what = {"janus": "message", "body": body}
        return await self.ask(**what, **({"jsep": jsep} if jsep else {}))


async def connect(peer, bridge, room, name):
    connected = asyncio.Event()

    @peer.on("connectionstatechange")
    def changed():
        tell(connection=peer.connectionState)
        if peer.connectionState == "connected":
            connected.set()

    joined = await bridge.request({"request": "join", "room": room, "display": name})
    joined = joined["plugindata"]["data"]
    assert joined["audiobridge"] == "joined", joined
    tell(participants=joined["participants"], me=joined["id"])
    await peer.setLocalDescription(await peer.createOffer())
    offer = {"type": "offer", "sdp": peer.localDescription.sdp, "trickle": False}
    answer = (await bridge.request({"request": "configure", "muted": False}, offer))["jsep"]
    await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
    await asyncio.wait_for(connected.wait(), PATIENCE_SECONDS)


async def main(url, room, name, to_say, to_write):
    wire, peer = Wire(), RTCPeerConnection()
    mouth, ear = Mouth(to_say), Ear(HEARD_RATES["opus"])
    peer.addTrack(mouth)
    listening = []
    peer.on("track", lambda track: listening.append(asyncio.ensure_future(ear.listen(track))))
    async with websockets.connect(url, subprotocols=["janus-protocol"]) as socket:
        bridge = Bridge(socket)
        await bridge.open()
        room = int(room) if room.isdigit() else room
        await connect(peer, bridge, room, name)
        async for order in orders():
            verb, _, what = order.partition(" ")
            if verb == "say":
                mouth.say(what)
            elif verb == "hear":
                ear.awaited = ear.rate * int(what) // 1000
            elif verb == "request":
                answer = await bridge.request(json.loads(what))
                tell(answer=answer["plugindata"]["data"])
            elif order == "hang up":
                break
            else:
                raise ValueError(order)
        await ear.quiet()
        await bridge.request({"request": "leave"})
        bridge.living.cancel()
        await peer.close()
        await asyncio.gather(*listening)
        ear.write(to_write)
        tell(seconds=len(ear.heard) / ear.rate, packets=wire.packets, missing=wire.missing)
        bridge.reading.cancel()


asyncio.run(main(*sys.argv[1:]))
