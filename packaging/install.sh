#!/bin/sh
# Install the single executable of Foreman for this user:
#
#   curl -fsSL @URL@/install.sh | sh
#
# RELEASE_URL: where the release is   BIN_DIR: where to put it, ~/.local/bin   SLIM=1: without the embedded engine

set -eu

RELEASE_URL=${RELEASE_URL:-@URL@}

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

fetch() { # URL FILE
    if command -v curl > /dev/null; then
        curl --fail --silent --show-error --location --retry 3 --output "$2" "$1"
    elif command -v wget > /dev/null; then
        wget --quiet --output-document "$2" "$1"
    else
        fail "needs curl or wget"
    fi || fail "cannot fetch $1"
}

digest() { # FILE
    if command -v sha256sum > /dev/null; then
        sha256sum "$1"
    else
        shasum -a 256 "$1"
    fi | cut -d ' ' -f 1
}

main() {
    case $RELEASE_URL in
        https://* | http://127.0.0.1:*) ;;
        *) fail "RELEASE_URL must begin with https://, got $RELEASE_URL" ;;
    esac
    [ "$(uname -s)" = Linux ] || fail "there is no executable for $(uname -s); run: pipx install 'foreman-llm[embedded]'"
    case $(uname -m) in
        x86_64 | amd64) machine=x86_64 ;;
        aarch64 | arm64) machine=arm64 ;;
        *) fail "there is no executable for $(uname -m); run: pipx install 'foreman-llm[server]'" ;;
    esac
    if [ "$(id -u)" = 0 ] && [ -z "${BIN_DIR:-}" ]; then
        fail "run it as yourself, without sudo; or, to install for every user: BIN_DIR=/usr/local/bin"
    fi
    bin=${BIN_DIR:-$HOME/.local/bin}
    name=foreman${SLIM:+-slim}-linux-$machine

    mkdir -p "$bin"
    work=$(mktemp -d "$bin/.foreman-XXXXXX") # where it may be executed, and can be moved in one step
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    echo "Fetching $name ..."
    fetch "$RELEASE_URL/SHA256SUMS" "$work/SHA256SUMS"
    expected=$(sed -n "s/^\([0-9a-f]\{64\}\)  $name\$/\1/p" "$work/SHA256SUMS")
    [ -n "$expected" ] || fail "$RELEASE_URL/SHA256SUMS does not name $name"
    fetch "$RELEASE_URL/$name" "$work/foreman"
    found=$(digest "$work/foreman")
    [ "$found" = "$expected" ] || fail "$name has the SHA-256 $found, expected $expected; nothing is installed"
    chmod 755 "$work/foreman"
    version=$("$work/foreman" --version) || fail "$name does not run here (it needs glibc and a TMPDIR that is not noexec)"
    mv -f "$work/foreman" "$bin/foreman"
    echo "Installed $version as $bin/foreman"
    case :$PATH: in
        *":$bin:"*) echo "Next: foreman demo" ;;
        *) echo "Next: $bin/foreman demo    ($bin is not in PATH)" ;;
    esac
}

main # last, so that a script cut short by the network does nothing
