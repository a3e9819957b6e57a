"""What schemathesis cannot know by itself."""

import schemathesis
from hypothesis import strategies as st

# What makes a body wrong that its schema calls right, because no schema can say it.
BEYOND_SCHEMAS = {
    "is the name of a tool before it",
    "is the name of a parameter before it",
    "must lie in the future",
    "must not be the name of a field",
    "must not have a key __proto__",
    "must not have a key constructor",
    "must not have a key prototype",
    "must be one of: silent",  # the model profiles of the gateway that is asked
    "the cursor is none that this list has given",
    "must be an http or https URL without a user",
    "must not lead to a private address",
    "must be false: this gateway records nothing, for recordings.directory is unset",
}


@schemathesis.hook
def map_body(context, body):
    """Chooses a model profile that is there, wherever one is named: most bodies name one."""
    if isinstance(body, dict):
        for spec in (body, body.get("to")):
            metadata = spec.get("metadata") if isinstance(spec, dict) else None
            model = metadata.get("model") if isinstance(metadata, dict) else None
            profile = model.get("profile") if isinstance(model, dict) else None
            if isinstance(profile, str) and 1 <= len(profile) <= 128:
                model["profile"] = "silent"
    return body


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Drops a refusal whose every mistake is one of those above."""
    if type(failure).__name__ != "RejectedPositiveData" or response.status_code != 400:
        return True
    mistakes = {mistake["message"] for mistake in response.json().get("details", [])}
    return not mistakes or not mistakes <= BEYOND_SCHEMAS


# No SDP can be made up from a schema.
CREDENTIALS = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdefghijklmn\r\n"

OFFER = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendrecv\r\n"
    "a=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=setup:actpass\r\n"
    + CREDENTIALS
    + "a=fingerprint:sha-256 " + ":".join(["AB"] * 32) + "\r\n"
)

FRAGMENT = (
    CREDENTIALS + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
    "a=candidate:1 1 UDP 2130706431 127.0.0.1 9 typ host\r\na=end-of-candidates\r\n"
)

schemathesis.openapi.media_type("application/sdp", st.just(OFFER.encode()))
schemathesis.openapi.media_type("application/trickle-ice-sdpfrag", st.just(FRAGMENT.encode()))
