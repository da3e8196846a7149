#!/usr/bin/env bash
# Set up what the project needs: .venv with the package and its extras; ParaView and Xvfb (and strace for the tests) from apt.
# Usage: bash scripts/setup.sh [EXTRAS]      for example: bash scripts/setup.sh demo,test
set -euo pipefail
cd "$(dirname "$0")/.."
extras=${1:-demo}

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "Python 3.10 or later is needed. Found: $("$python" --version 2>&1 || echo none). Set PYTHON to one." >&2
    exit 1
fi

# Run a command as root; say what to do where that is not possible.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo "$@"; else return 1; fi
}

# Install Debian packages when a program of theirs is missing; fails where that is not possible.
apt_install() {
    command -v apt-get >/dev/null || return 1
    as_root apt-get -qq update >/dev/null && as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install -y --no-install-recommends "$@" >/dev/null
}

if [ ! -x .venv/bin/python ]; then
    if ! "$python" -m venv .venv >/dev/null 2>&1; then
        rm -rf .venv
        # Debian splits venv off its Python.
        apt_install python3-venv && "$python" -m venv .venv || {
            echo "A virtual environment could not be made. On Debian: apt install python3-venv" >&2
            exit 1
        }
    fi
fi

# tensorflow-cpu is half the size of tensorflow, but there is no build of it for every machine.
tensorflow=tensorflow
if [ "$(uname -sm)" = "Linux x86_64" ] && ! command -v nvidia-smi >/dev/null; then tensorflow=tensorflow-cpu; fi

# What was installed is noted in the environment: nothing is done when it is there still.
state=$(cat setup.cfg pyproject.toml | cksum | tr -d ' ')
is_installed() {
    [ "$(head -n 1 .venv/installed 2>/dev/null)" = "$state" ] || return 1
    for extra in ${extras//,/ } "$tensorflow"; do grep -qx "$extra" .venv/installed || return 1; done
}
if ! is_installed; then
    echo "installing Python packages into .venv (this takes a few minutes the first time)"
    # An older pip knows no editable install from setup.cfg alone.
    if ! .venv/bin/python -m pip install --upgrade 'pip>=23' > .venv/install.log 2>&1 ||
        ! .venv/bin/python -m pip install -e ".[$extras,$tensorflow]" >> .venv/install.log 2>&1; then
        tail -n 20 .venv/install.log >&2
        echo "The packages could not be installed (all of it: .venv/install.log)." >&2
        exit 1
    fi
    { echo "$state"; printf '%s\n' ${extras//,/ } "$tensorflow"; } > .venv/installed
fi

missing=()
# pvpython is in python3-paraview, which paraview only recommends.
command -v pvpython >/dev/null || [ -n "${PVPYTHON:-}" ] || missing+=(paraview python3-paraview)
command -v Xvfb >/dev/null && command -v xauth >/dev/null || missing+=(xvfb xauth) # xvfb-run needs xauth
# The tests replay what a writer does to its files, call by call.
case ",$extras," in *,test,*) command -v strace >/dev/null || missing+=(strace) ;; esac
# ParaView's reader of run.h5 needs h5py in ParaView's own Python, which is the system's.
case ",$extras," in *,test,*) /usr/bin/python3 -c 'import h5py' 2>/dev/null || missing+=(python3-h5py) ;; esac
if [ "${#missing[@]}" -gt 0 ] && [ "$(uname -s)" = Linux ]; then
    echo "installing ${missing[*]} from apt"
    apt_install "${missing[@]}" || echo "Not installed: ${missing[*]} (no pictures without ParaView). As root: apt install ${missing[*]}"
fi
