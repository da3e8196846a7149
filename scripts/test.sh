#!/usr/bin/env bash
# Set up, then run all tests, several files at a time. Arguments go to pytest: bash scripts/test.sh -k gradient
# (-n 0: one after the other)
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh demo,explain,test
bin=$PWD/.venv/bin

# Other people's explanations, to compare ours with: not needed, so nothing fails where they are not to be had.
if ! "$bin/python" -c 'import tf_keras_vis, tf_explain, xplique, lime, saliency' 2>/dev/null; then
    "$bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r tests/explain/oracles.txt \
        > /dev/null 2>&1 || echo "tests/explain/oracles.txt could not be installed: its tests will be skipped"
fi

"$bin/ruff" check .
"$bin/ruff" format --check .

# mypy does not see the mapped folders of an editable install: it checks the package as it is installed.
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
"$bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$site" .
(cd "$site" && "$bin/mypy" --config-file "$OLDPWD/pyproject.toml" -p tensorview_insitu)

# By file: what a file's tests share is made once. In the order of tests/conftest.py.
# One process more than there are processors: tests wait for ParaView and for children of theirs.
"$bin/python" -m pytest --numprocesses "$(($(nproc) < 4 ? $(nproc) + 1 : 4))" --dist loadfile --no-loadscope-reorder "$@"
