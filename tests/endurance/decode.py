"""Reads a sound and writes it as 16 bits at 24 kHz in two channels.

Usage: decode.py FILE >SAMPLES
"""

import sys

import av


def main() -> None:
    resampler = av.AudioResampler(format="s16", layout="stereo", rate=24_000)
    with av.open(sys.argv[1]) as sound:
        frames = sound.decode(audio=0)
        for frame in [*frames, None]:
            for part in resampler.resample(frame):
                # Planes are longer than what is in them.
                sys.stdout.buffer.write(bytes(part.planes[0])[: 4 * part.samples])


main()
