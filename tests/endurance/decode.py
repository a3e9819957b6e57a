"""Reads a sound and writes it as 16 bits at 24 kHz in two channels.

Usage: decode.py FILE >SAMPLES
"""

import sys

import av


def main() -> None:
    resampler = av.AudioResampler(format="s16", layout="stereo", rate=24_000)
    with av.open(sys.argv[1]) as sound:
        frames = sound.decode(audio=0)
        for frame in (one for frame in [*frames, None] for one in resampler.resample(frame)):
            sys.stdout.buffer.write(frame.to_ndarray().tobytes())


main()
