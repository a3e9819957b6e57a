"""The official OpenAI client against a Realtime server: a spoken turn, a function call, a text.

Usage: openai_client.py WEBSOCKET_BASE_URL FOLDER_OF_RECORDINGS

Every event must be of a class the client knows, and fit it to the letter. Prints what was said as
one JSON object; any other outcome is a traceback and a failing status.
"""

import array
import asyncio
import base64
import json
import sys
import wave

from openai import AsyncOpenAI

PATIENCE_SECONDS = 60


def recording(path):
    """A WAV at 16 kHz as PCM at 24 kHz, and a second of silence behind it."""
    with wave.open(path) as file:
        assert (file.getnchannels(), file.getframerate()) == (1, 16000), path
        low = array.array("h", file.readframes(file.getnframes()))
    high = array.array("h")
    for i in range(0, len(low) - 2, 2):
        a, b, c = low[i : i + 3]
        high.extend((a, (a + 2 * b) // 3, (2 * b + c) // 3))
    high.extend([0] * 24000)
    return high.tobytes()


class Talk:
    def __init__(self, connection):
        self.connection = connection
        self.classes = set()

    async def say(self, path):
        pcm = recording(path)
        for start in range(0, len(pcm), 4800):
            audio = base64.b64encode(pcm[start : start + 4800]).decode()
            await self.connection.input_audio_buffer.append(audio=audio)

    async def next(self):
        event = await asyncio.wait_for(self.connection.recv(), PATIENCE_SECONDS)
        # The client builds events without looking; this looks.
        type(event).model_validate(event.to_dict())
        assert event.type != "error", event
        self.classes.add(type(event).__name__)
        return event

    async def until(self, kind):
        events = []
        while not events or events[-1].type != kind:
            events.append(await self.next())
        return events


def one(events, kind):
    found = [event for event in events if event.type == kind]
    assert len(found) == 1, f"{len(found)} of {kind} in {[event.type for event in events]}"
    return found[0]


async def spoken_turn(talk, folder):
    await talk.say(f"{folder}/repeat-after-me-16000hz-16bit-mono.wav")
    events = await talk.until("response.done")
    heard = one(events, "conversation.item.input_audio_transcription.completed").transcript
    said = one(events, "response.output_audio_transcript.done").transcript
    deltas = [event.delta for event in events if event.type == "response.output_audio.delta"]
    seconds = sum(len(base64.b64decode(delta)) for delta in deltas) / 48000
    response = events[-1].response
    assert response.status == "completed", response
    assert response.output[0].content[0].transcript == said, response
    return {"heard": heard, "said": said, "seconds": seconds}


async def function_call(talk, folder):
    await talk.say(f"{folder}/tell-me-the-weather-in-paris-16000hz-16bit-mono.wav")
    events = await talk.until("response.done")
    call = one(events, "response.function_call_arguments.done")
    assert call.name == "get_weather", call
    assert events[-1].response.output[0].call_id == call.call_id, events[-1]
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    await talk.connection.conversation.item.create(item=output)
    await talk.connection.response.create()
    told = one(await talk.until("response.done"), "response.output_audio_transcript.done")
    return {"arguments": json.loads(call.arguments), "told": told.transcript}


async def written_turn(talk):
    content = [{"type": "input_text", "text": "What is two plus two?"}]
    item = {"type": "message", "role": "user", "content": content}
    await talk.connection.conversation.item.create(item=item)
    await talk.connection.response.create(response={"output_modalities": ["text"]})
    return one(await talk.until("response.done"), "response.output_text.done").text


async def text_session(connection):
    """A session that neither hears nor speaks, as agents outside calls have it."""
    talk = Talk(connection)
    assert (await talk.next()).type == "session.created"
    session = {
        "type": "realtime",
        "output_modalities": ["text"],
        "audio": {"input": {"turn_detection": None}},
        "tools": [MESSENGER],
    }
    await connection.session.update(session=session)
    assert (await talk.next()).session.output_modalities == ["text"]
    for role, kind, text in [
        ("system", "input_text", '{"topic": "cats"}'),
        ("assistant", "output_text", "Hello."),
        ("user", "input_text", "new-message: Ann wrote: what is the topic?"),
    ]:
        content = [{"type": kind, "text": text}]
        item = {"type": "message", "role": role, "content": content}
        await connection.conversation.item.create(item=item)
    await connection.response.create()
    call = one(await talk.until("response.done"), "response.function_call_arguments.done")
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "sent"}
    await connection.conversation.item.create(item=output)
    await connection.response.create()
    after = (await talk.until("response.done"))[-1].response
    assert (after.status, after.output) == ("completed", []), after
    return {"sent": [call.name, json.loads(call.arguments)]}


MESSENGER = {
    "type": "function",
    "name": "send_message",
    "description": "Send a message to the chat",
    "parameters": {
        "type": "object",
        "properties": {"message": {"type": "string"}},
        "required": ["message"],
    },
}

SESSION = {
    "type": "realtime",
    "instructions": "Be brief.",
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": {"model": "gpt-transcribe"},
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 400},
        },
        "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin"},
    },
    "tools": [
        {
            "type": "function",
            "name": "get_weather",
            "description": "Get the weather in a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        }
    ],
}


async def main(url, folder):
    client = AsyncOpenAI(api_key="none", base_url="http://127.0.0.1:9", websocket_base_url=url)
    async with client.realtime.connect(model="local") as connection:
        talk = Talk(connection)
        assert (await talk.next()).type == "session.created"
        await connection.session.update(session=SESSION)
        assert (await talk.next()).session.instructions == "Be brief."
        outcome = await spoken_turn(talk, folder)
        outcome |= await function_call(talk, folder)
        outcome["written"] = await written_turn(talk)
        outcome["classes"] = sorted(talk.classes)
    async with client.realtime.connect(model="local") as connection:
        outcome |= await text_session(connection)
    print(json.dumps(outcome))


asyncio.run(main(*sys.argv[1:]))
