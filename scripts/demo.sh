#!/usr/bin/env bash
# Set up, then train, record, export and render on real data.
# Usage: bash scripts/demo.sh [OUT] [--images DIR] [--epochs N] [--seed S]
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
bash "$here/scripts/setup.sh" demo
exec "$here/.venv/bin/tensorview-insitu" demo "$@"
