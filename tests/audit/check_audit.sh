#!/bin/sh
here=$(dirname "$0")
exec env PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$here/../system" python3 "$here/audit.py" "$@"
