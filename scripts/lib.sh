# What the setup scripts share: where things go, how to speak, how to install Debian packages.
# To be sourced by a POSIX shell with `set -eu`.

: "${CALLBRIDGE_CACHE:=${HOME:?HOME is not set; set CALLBRIDGE_CACHE to a folder for downloads}/.cache/callbridge}"
export CALLBRIDGE_CACHE

say() {
    printf '%s: %s\n' "${0##*/}" "$*"
}

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# apt_install PACKAGE...: installs, or says what to type and fails.
apt_install() {
    if ! have apt-get; then
        fail "these are missing, and there is no apt-get here to install them: $*. \
Please install them in this system's own way and run this again."
    fi
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        as_root=sudo
        have sudo || fail "these Debian packages are missing: $*. Please run as root: \
apt-get install --no-install-recommends $*"
    fi
    say "installing Debian packages: $*"
    if $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "$@"; then
        return
    fi
    say "that failed; refreshing the package lists and trying once more"
    if $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "$@"; then
        return
    fi
    fail "apt-get could not install: $* (its own words are above). Please run this yourself and \
then try again: ${as_root:+$as_root }apt-get install --no-install-recommends $*"
}

# stamp_of FILE... -- WORD...: a line that changes when a file's content or a word does.
stamp_of() {
    files=
    while [ "$#" -gt 0 ] && [ "$1" != -- ]; do
        files="$files $1"
        shift
    done
    # The file names hold no spaces: they are this project's own.
    # shellcheck disable=SC2086
    { cat $files; printf '%s\n' "$@"; } | sha256sum | cut -d ' ' -f 1
}

# is_stamped FOLDER STAMP: whether the folder was finished with exactly this stamp.
is_stamped() {
    [ -f "$1/.stamp" ] && [ "$(cat "$1/.stamp")" = "$2" ]
}
