#!/bin/sh
if ! command -v qemu-system-x86_64 >/dev/null; then
    echo "ok a Linux guest skipped: no qemu"
    exit 0
fi
exec env PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$(dirname "$0")/../system" python3 "$(dirname "$0")/linux.py" "$@"
