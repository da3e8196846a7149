#!/usr/bin/env bash
# Run tests/in_paraview on the ParaView that is installed, and on that of Debian trixie (5.13).
#
#   bash scripts/paraview_matrix.sh [FOLDER [PYTEST ARGUMENTS]]
#
# Trixie's goes into FOLDER (default: in your cache folder) with debootstrap, and is used again
# the next time; that takes root and some 3 GB. Nothing of it touches the system.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD
root=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/tensorview-insitu/trixie}
shift || true
python=${PYTHON:-.venv/bin/python}
[ -x "$python" ] || { bash scripts/setup.sh demo,test; python=.venv/bin/python; }
[ "$(id -u)" = 0 ] || { echo "paraview_matrix.sh: Expected to run as root, which chroot needs." >&2; exit 2; }

echo "== the installed ParaView"
status=0
"$python" -m pytest -q tests/in_paraview "$@" || status=1

if [ ! -x "$root/usr/bin/pvpython" ]; then
  echo "== installing Debian trixie's ParaView into $root"
  command -v debootstrap > /dev/null || apt-get install -y -qq debootstrap
  [ -e "$root/etc/debian_version" ] || debootstrap --variant=minbase trixie "$root"
  chroot "$root" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install -y -qq --no-install-recommends \
    paraview python3-paraview python3-h5py libgl1-mesa-dri fonts-dejavu-core
fi

mounted=()
unmount() {
  for ((i = ${#mounted[@]} - 1; i >= 0; i--)); do umount -l "${mounted[i]}"; done
}
trap unmount EXIT
bind() {
  mkdir -p "$root$1"
  mountpoint -q "$root$1" && return
  mount --rbind "$1" "$root$1"
  mounted+=("$root$1")
}
bind /proc
bind /dev
bind /tmp
bind "$here"

# Tests and commands find ParaView by these; what they name lies under /tmp or here, in both worlds.
tools=$(mktemp -d)
for program in pvpython pvbatch pvserver; do
  printf '#!/bin/sh\nexec chroot "%s" env -C "$PWD" /usr/bin/%s "$@"\n' "$root" "$program" > "$tools/$program"
  chmod +x "$tools/$program"
done
echo "== Debian trixie's ParaView: $("$tools/pvpython" --version 2>&1 | tail -1)"
PATH=$tools:$PATH PVPYTHON=$tools/pvpython "$python" -m pytest -q tests/in_paraview "$@" || status=1
rm -rf "$tools"
exit "$status"
