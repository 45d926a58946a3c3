#!/bin/sh
exec env PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$(dirname "$0")/../system" python3 "$(dirname "$0")/display.py" "$@"
