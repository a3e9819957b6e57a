"""A Daily package that is made up: as much of the real one as the helper calls, and one room."""

import threading
import time
from types import SimpleNamespace
from urllib.parse import urlsplit

LogLevel = SimpleNamespace(Error=1)
ANN = {"id": "d1", "info": {"isLocal": False, "userName": "Ann"}, "media": {}}
BOB = {"id": "d2", "info": {"isLocal": False, "userName": "Bob"}, "media": {}}
ME = {"id": "me", "info": {"isLocal": True}, "media": {"microphone": {"state": "off"}}}
HEARD_ME = {**ME, "media": {"microphone": {"state": "playable"}}}


class Daily:
    @staticmethod
    def init(worker_threads=2, log_level=None):
        pass


class EventHandler:
    pass


class CustomAudioSource:
    written = []

    def __init__(self, rate, channels, auto_silence=True):
        assert (rate, channels) == (24000, 1)

    def write_frames(self, pcm):
        """Lasts as long as its sound; what is said is heard again from Ann."""
        time.sleep(len(pcm) / 2 / 24000)
        CallClient.one.was_spoken_to.set()
        CallClient.one.speak("d1", pcm)
        return len(pcm) // 2


class CustomAudioTrack:
    def __init__(self, source):
        self.id = "track"


class CallClient:
    one = None

    def __init__(self, event_handler=None):
        CallClient.one = self
        self.events = event_handler
        self.renderers = {}
        self.was_spoken_to = threading.Event()
        self.name = ""
        self.others = {"local": ME}

    def set_user_name(self, name):
        self.name = name

    def update_subscription_profiles(self, profiles):
        assert profiles["base"]["camera"] == "unsubscribed"

    def participants(self):
        return self.others

    def set_audio_renderer(self, id, callback, source, rate, interval_ms):
        assert (source, rate, interval_ms) == ("microphone", 24000, 20)
        self.renderers[id] = callback

    def speak(self, id, pcm):
        if id in self.renderers:
            data = SimpleNamespace(audio_frames=pcm, num_channels=1)
            self.renderers[id](id, data, "microphone")

    def join(self, url, token, settings, completion):
        assert settings["inputs"]["microphone"]["settings"]["customTrack"]["id"] == "track"
        act = getattr(self, urlsplit(url).path[1:])
        threading.Thread(target=act, args=(token, completion), daemon=True).start()

    def leave(self, completion):
        self.events.on_call_state_updated("left")
        completion(None)

    def enter(self, completion, *others):
        self.others = {"local": ME, **{other["id"]: other for other in others}}
        completion({"participants": self.others}, None)

    def hall(self, token, completion):
        """Ann is there. Bob comes, speaks, and goes when something is said to him."""
        self.enter(completion, ANN)
        self.events.on_participant_updated(HEARD_ME)
        named = {**BOB, "info": {"isLocal": False, "userName": self.name + "'s friend"}}
        self.events.on_participant_joined(named)
        self.events.on_participant_updated(named)
        self.events.on_active_speaker_changed(named)
        self.events.on_app_message({"event": "chat-msg", "message": "hi", "name": "Bob"}, "d2")
        self.events.on_app_message({"score": 7}, "d2")
        self.events.on_app_message("of a stranger", "d9")
        self.events.on_network_connection_status_updated({"type": "sfu", "event": "connected"})
        while "d2" not in self.renderers:
            time.sleep(0.01)
        self.speak("d2", b"\1\0" * 480)
        self.was_spoken_to.wait()
        self.events.on_participant_left(named, "leftCall")

    def pausing(self, token, completion):
        """Ann speaks, and speaks again."""
        self.enter(completion, ANN)
        self.events.on_participant_updated(HEARD_ME)
        while "d1" not in self.renderers:
            time.sleep(0.01)
        self.speak("d1", b"\1\0" * 960)
        time.sleep(0.5)
        self.speak("d1", b"\1\0" * 480)

    def shy(self, token, completion):
        """The microphone is never said to be open."""
        self.enter(completion, ANN)

    def ejecting(self, token, completion):
        self.enter(completion, ANN)
        self.events.on_participant_updated(HEARD_ME)
        self.events.on_error("You have been ejected from the meeting")
        self.events.on_call_state_updated("left")

    def over(self, token, completion):
        self.enter(completion, ANN)
        self.events.on_participant_updated(HEARD_ME)
        self.events.on_call_state_updated("left")

    def refusing(self, token, completion):
        self.events.on_error(f"Error: {token}")
        completion(None, f"Connection(Api(RoomLookup(RoomInfoError({token}))))")

    def crashing(self, token, completion):
        import os

        os.abort()
