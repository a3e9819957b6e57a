"""callbridge's helper for rooms of Daily: one stay in one room, by Daily's own client.

The gateway starts it with a socket as its standard input and speaks the protocol of
docs/daily-helper.md over it. It ends when that socket does.
"""

import json
import os
import queue
import signal
import socket
import struct
import sys
import threading
import time
from collections import deque

VERSION = 1
RATE = 24000
FRAME_BYTES = 960
FRAME_SECONDS = 0.02
TICKS_PER_FRAME = 960

KIND_JSON = 1
KIND_HEARD = 2
KIND_SAY = 3
MESSAGE_MAX = 65536

# Acts that wait for the main thread. When full: the process ends.
INBOX_CAPACITY = 256
# Reports that wait for the gateway. When full: the process ends.
REPORTS_CAPACITY = 256
# Frames of others that wait for the gateway. When full: the oldest is dropped.
HEARD_CAPACITY = 50
# Frames of ours that wait for the microphone. When full: the oldest is dropped.
SAID_CAPACITY = 10

# Characters of a message that are told.
TEXT_MAX = 4096
# Errors that are kept. When full: the oldest is dropped.
ERRORS_CAPACITY = 16
# An error older than this is not why a call has ended.
ERROR_SECONDS = 3.0

BEAT_SECONDS = 1.0
SILENT_SECONDS = 5.0
# So long the microphone may take to be open, once we are in.
AUDIBLE_SECONDS = 2.0
LEAVE_SECONDS = 1.5
# A pause of a voice is one if it lasts longer than this; less is a frame that comes late.
PAUSE_SECONDS = 0.1

# Words of Daily's, in small letters, and what they mean; the first that fits counts.
CAUSES = [
    ("unreachable", ["error(connect", "client error (connect", "timed out", "request timeout"]),
    ("token_expired", ["exp-token", "token has expired", "token expired", "expired token"]),
    ("unauthorized", ["unauthorized", "not authorized", "not-allowed", "not allowed", "nbf-token"]),
    ("unauthorized", ["invalid token", "invalid-token", "authentication"]),
    ("full", ["meeting-full", "is full", "maxparticipants", "max_participants"]),
    ("not_found", ["no-room", "does not exist", "not found", "notfound"]),
    ("not_found", ["exp-room", "nbf-room", "nolongeravailable", "notyetavailable"]),
    ("ejected", ["ejected"]),
    ("ended", ["meeting has ended", "room deleted"]),
    ("unreachable", ["fetchfailed", "noworkeravailable", "signalling", "websocket", "connection"]),
    ("media", ["transport", "media", "track", "device"]),
]


def cause_of(words):
    text = words.lower()
    for cause, signs in CAUSES:
        if any(sign in text for sign in signs):
            return cause
    return "other"


class Line:
    """The socket to the gateway."""

    def __init__(self, sock):
        self.sock = sock
        self.heard_at = time.monotonic()
        self.ready = threading.Condition()
        self.reports = deque()
        self.sound = deque(maxlen=HEARD_CAPACITY)
        self.is_sending = False
        threading.Thread(target=self.write, daemon=True).start()

    def tell(self, kind, **fields):
        body = json.dumps({"type": kind, **fields}).encode()
        with self.ready:
            if len(self.reports) >= REPORTS_CAPACITY:
                end("the gateway does not read", 3)
            self.reports.append(message(KIND_JSON, body))
            self.ready.notify()

    def hear(self, participant, sequence, ticks, pcm):
        name = participant.encode()
        body = struct.pack("B", len(name)) + name + struct.pack(">HI", sequence, ticks) + pcm
        with self.ready:
            self.sound.append(message(KIND_HEARD, body))
            self.ready.notify()

    def write(self):
        while True:
            with self.ready:
                self.is_sending = False
                self.ready.notify_all()
                while not self.reports and not self.sound:
                    self.ready.wait()
                waiting = self.reports or self.sound
                data = waiting.popleft()
                self.is_sending = True
            try:
                self.sock.sendall(data)
            except OSError:
                return

    def flush(self, seconds):
        """Waits until all reports have been sent, or not for long."""
        with self.ready:
            self.ready.wait_for(lambda: not self.reports and not self.is_sending, seconds)

    def read(self, on_order, on_say):
        """Takes what the gateway sends, until it ends."""
        try:
            while True:
                (length,) = struct.unpack(">I", self.take(4))
                if not 1 <= length <= MESSAGE_MAX:
                    return
                data = self.take(length)
                self.heard_at = time.monotonic()
                if data[0] == KIND_JSON:
                    on_order(json.loads(data[1:]))
                elif data[0] == KIND_SAY:
                    on_say(data[1:])
        except (OSError, EOFError, ValueError):
            return

    def take(self, count):
        data = b""
        while len(data) < count:
            part = self.sock.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data


def message(kind, body):
    return struct.pack(">IB", len(body) + 1, kind) + body


class Voice:
    """Numbers one participant's frames as RTP does, so that losses and pauses can be seen."""

    def __init__(self, line, participant):
        self.line = line
        self.participant = participant
        self.sequence = 0
        self.ticks = 0
        self.at = None
        self.rest = b""

    def on_sound(self, _participant, data, _source):
        now = time.monotonic()
        if self.at is not None and now - self.at > PAUSE_SECONDS:
            self.ticks += round((now - self.at) / FRAME_SECONDS - 1) * TICKS_PER_FRAME
            self.rest = b""
        self.at = now
        pcm = self.rest + mono(data.audio_frames, data.num_channels)
        whole = len(pcm) // FRAME_BYTES * FRAME_BYTES
        for start in range(0, whole, FRAME_BYTES):
            frame = pcm[start : start + FRAME_BYTES]
            self.line.hear(self.participant, self.sequence & 0xFFFF, self.ticks & 0xFFFFFFFF, frame)
            self.sequence += 1
            self.ticks += TICKS_PER_FRAME
        self.rest = pcm[whole:]


def mono(pcm, channels):
    """The first channel."""
    if channels == 1:
        return bytes(pcm)
    samples = memoryview(bytes(pcm)).cast("h")
    return samples[::channels].tobytes()


class Microphone:
    """What we say, at the pace at which Daily takes it: a write lasts as long as its sound."""

    def __init__(self, source):
        self.source = source
        self.ready = threading.Condition()
        self.frames = deque(maxlen=SAID_CAPACITY)
        threading.Thread(target=self.play, daemon=True).start()

    def say(self, pcm):
        with self.ready:
            self.frames.append(pcm)
            self.ready.notify()

    def play(self):
        while True:
            with self.ready:
                while not self.frames:
                    self.ready.wait()
                pcm = self.frames.popleft()
            self.source.write_frames(pcm)


class Call:
    """A stay in a room. All but the handing on of sound is done by the main thread."""

    def __init__(self, daily, line):
        self.line = line
        self.inbox = queue.Queue(INBOX_CAPACITY)
        daily.Daily.init(log_level=daily.LogLevel.Error)
        self.source = daily.CustomAudioSource(RATE, 1, True)
        self.track = daily.CustomAudioTrack(self.source)
        self.microphone = Microphone(self.source)
        self.client = daily.CallClient(event_handler=self.handler(daily))
        self.names = {}
        self.voices = {}
        self.errors = deque(maxlen=ERRORS_CAPACITY)
        self.is_joined = False
        self.is_audible = False
        self.audible_by = None
        self.is_told = False
        self.leave_by = None

    def handler(self, daily):
        """Daily's events, brought to the main thread."""
        call = self

        class Handler(daily.EventHandler):
            def on_participant_joined(self, participant):
                call.later(call.on_participant, participant)

            def on_participant_updated(self, participant):
                call.later(call.on_participant, participant)

            def on_participant_left(self, participant, reason):
                call.later(call.on_left, participant, reason)

            def on_active_speaker_changed(self, participant):
                call.later(call.on_speaker, participant)

            def on_app_message(self, message, sender):
                # Anybody can send floods of them: they take no place that other news will need.
                if call.inbox.qsize() < INBOX_CAPACITY // 2:
                    call.later(call.on_message, message, sender)

            def on_network_connection_status_updated(self, status):
                call.later(call.on_network, status)

            def on_call_state_updated(self, state):
                call.later(call.on_state, state)

            def on_error(self, message):
                call.later(call.on_error, message)

        return Handler()

    def later(self, act, *args, **fields):
        try:
            self.inbox.put_nowait((act, args, fields))
        except queue.Full:
            end("more happens than can be told", 3)

    def run(self):
        while True:
            self.line.tell("beat")
            beat_at = time.monotonic() + BEAT_SECONDS
            while (wait := beat_at - time.monotonic()) > 0:
                try:
                    act, args, fields = self.inbox.get(timeout=min(wait, 0.1))
                    act(*args, **fields)
                except queue.Empty:
                    pass
                self.check_time()

    def check_time(self):
        now = time.monotonic()
        if self.leave_by is not None and now > self.leave_by:
            self.finish()
        if self.leave_by is None and now - self.line.heard_at > SILENT_SECONDS:
            self.leave()
        if self.audible_by is not None and now > self.audible_by:
            self.is_audible = True
            self.tell_joined()

    def on_order(self, order):
        kind = order.get("type")
        if kind == "join":
            try:
                self.join(order)
            except Exception as error:
                self.on_error(f"{type(error).__name__}: {error}")
                self.over()
        elif kind == "leave":
            self.leave()

    def join(self, order):
        if order["name"]:
            self.client.set_user_name(order["name"])
        unseen = {"camera": "unsubscribed", "screenVideo": "unsubscribed"}
        unseen["screenAudio"] = "unsubscribed"
        self.client.update_subscription_profiles({"base": unseen})
        microphone = {"isEnabled": True, "settings": {"customTrack": {"id": self.track.id}}}
        sent = {"isPublishing": True, "sendSettings": {"channelConfig": "mono"}}
        settings = {
            "inputs": {"camera": False, "microphone": microphone},
            "publishing": {"camera": {"isPublishing": False}, "microphone": sent},
        }
        joined = lambda data, error: self.later(self.on_joined, data, error)
        self.client.join(order["url"], order.get("token"), settings, joined)

    def on_joined(self, data, error):
        if error is not None:
            self.on_error(error)
            self.over()
            return
        self.is_joined = True
        self.audible_by = time.monotonic() + AUDIBLE_SECONDS
        everybody = dict(data.get("participants") or {})
        everybody.update(self.client.participants())
        for participant in everybody.values():
            self.on_participant(participant)
        self.tell_joined()

    def tell_joined(self):
        if self.is_told or not (self.is_joined and self.is_audible):
            return
        self.is_told = True
        self.audible_by = None
        others = [{"id": id, "name": name} for id, name in self.names.items()]
        self.line.tell("joined", participants=others)

    def on_participant(self, participant):
        info = participant.get("info") or {}
        media = (participant.get("media") or {}).get("microphone") or {}
        if info.get("isLocal"):
            if media.get("state") in ("playable", "sendable"):
                self.is_audible = True
                self.tell_joined()
            return
        id, name = participant["id"], info.get("userName") or ""
        known = self.names.get(id)
        self.names[id] = name
        if self.is_told and known != name:
            kind = "participant_joined" if known is None else "participant_updated"
            self.line.tell(kind, id=id, name=name)
        # After the telling: nobody is heard who is not known.
        if known is None:
            self.voices[id] = voice = Voice(self.line, id)
            self.client.set_audio_renderer(id, voice.on_sound, "microphone", RATE, 20)

    def on_left(self, participant, reason):
        id = participant["id"]
        self.voices.pop(id, None)
        if self.names.pop(id, None) is not None and self.is_told:
            self.line.tell("participant_left", id=id, reason=str(reason))

    def on_speaker(self, participant):
        if participant and participant.get("id") in self.names and self.is_told:
            self.line.tell("active_speaker", id=participant["id"])

    def on_message(self, message, sender):
        """What people write comes as Daily's chat has it; programs send any JSON."""
        if isinstance(message, dict) and message.get("event") == "chat-msg":
            message = message.get("message")
        text = message if isinstance(message, str) else json.dumps(message)
        is_crowded = len(self.line.reports) >= REPORTS_CAPACITY // 2
        if sender in self.names and self.is_told and not is_crowded:
            self.line.tell("app_message", sender=sender, text=text[:TEXT_MAX])

    def on_network(self, status):
        fields = {key: str(status.get(key, "")) for key in ("type", "event")}
        self.line.tell("network", connection=fields["type"], state=fields["event"])

    def on_state(self, state):
        if state == "left" and self.leave_by is not None:
            self.finish()
        elif state == "left" and self.is_joined:
            self.over()

    def on_error(self, words):
        self.errors.append((time.monotonic(), str(words)))

    def over(self):
        """Daily has not let us in, or has sent us out."""
        recent = time.monotonic() - ERROR_SECONDS
        words = [words for at, words in self.errors if at > recent]
        cause = cause_of(" ".join(words)) if words else "ended"
        self.line.tell("over", cause=cause, detail=words[0] if words else "")
        self.leave()

    def leave(self):
        if self.leave_by is None:
            self.leave_by = time.monotonic() + LEAVE_SECONDS
            self.client.leave(lambda _error: self.later(self.finish))

    def finish(self):
        self.line.tell("left")
        self.line.flush(0.3)
        # Daily's own clean-up aborts when its objects outlive its context; the system's does not.
        os._exit(0)


def end(words, status):
    print(words, file=sys.stderr, flush=True)
    os._exit(status)


def main():
    # The gateway decides when this ends, also when a terminal or a supervisor signals to all.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    line = Line(socket.socket(fileno=0))
    # Daily's own log may go to either.
    os.dup2(2, 1)
    try:
        import daily
        from importlib.metadata import version

        call = Call(daily, line)
    except Exception as error:
        line.tell("over", cause="no_package", detail=f"{type(error).__name__}: {error}")
        line.flush(1)
        os._exit(1)
    line.tell("hello", version=VERSION, package=version("daily-python"))

    def read():
        line.read(lambda order: call.later(call.on_order, order), call.microphone.say)
        call.later(call.leave)
        time.sleep(2 * LEAVE_SECONDS)
        end("the gateway is gone", 2)

    threading.Thread(target=read, daemon=True).start()
    call.run()


if __name__ == "__main__":
    main()
