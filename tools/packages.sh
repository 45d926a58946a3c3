#!/bin/sh
# Installs the Debian packages that the named purposes need and that are missing, and says which and why.
#   sh tools/packages.sh build [check] [bench-peers]
set -eu

list() {
    case "$1" in
    build) cat <<'END'
gcc the compiler
libc6-dev headers of the C library
make the build
pkg-config finds libraries
libck-dev atomics
protobuf-c-compiler the schema's compiler
libprotobuf-c-dev the schema's run time
libyaml-dev topology and grants files
libjansson-dev JSON output
libsodium-dev hashing of the audit trail
libnuma-dev placement of rings
procps vmstat, a sensor of the built-in topology
END
        ;;
    check) cat <<'END'
libcriterion-dev the unit tests
g++ headers are compiled as C++ too
clang the tests under ThreadSanitizer, and fuzzing
libclang-rt-14-dev the sanitizers' run time
libfuzzer-14-dev fuzzing
spin the protocol models
python3 the scripted tests
python3-protobuf a control in Python
protobuf-compiler the schema for it
mandoc the man pages are checked
qemu-system-x86 real VMs
strace system calls that fail
gcovr which branches are tested
END
        ;;
    bench-peers) cat <<'END'
g++ two of the peers are C++
libboost-dev a peer: boost::lockfree
libzmq3-dev a peer: ZeroMQ
libnng-dev a peer: nng
libnats-dev a peer: NATS
nats-server a peer: NATS
iceoryx a peer: its daemon
libiceoryx-posh-dev a peer: iceoryx
libiceoryx-hoofs-dev a peer: iceoryx
END
        ;;
    *)
        echo "packages.sh: no such purpose: $1 (build, check, bench-peers)" >&2
        exit 64
        ;;
    esac
}

missing=""
for purpose in "$@"; do
    wanted=$(list "$purpose")
    while read -r name why; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null || true)" = installed ] && continue
        echo "vmsig needs the Debian package $name: $why"
        missing="$missing $name"
    done <<END
$wanted
END
done
[ -n "$missing" ] || exit 0

sudo=""
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "vmsig: not root and no sudo here; as root, run: apt-get install$missing" >&2; exit 1; }
    sudo="sudo"
fi
echo "installing:$missing"
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
