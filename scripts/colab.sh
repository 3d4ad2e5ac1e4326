#!/usr/bin/env bash
# Execute the series with the versions of Google Colab: `bash scripts/colab.sh [PYTHON]`, by default python3.13 as there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=python3
for candidate in "${1:-python3.13}" "$HOME"/.pyenv/versions/3.13*/bin/python3.13; do
    if "$candidate" --version >/dev/null 2>&1; then python=$candidate; break; fi
done
"$python" --version
"$python" -m venv --clear build/colab
build/colab/bin/python -m pip install -qq --disable-pip-version-check -c requirements-colab.txt '.[execute,rooms]'

# A home of its own: runs of the other environment would be loaded instead of trained. That is what four of the six are
# for, where `make execute` has trained them: other versions must read its runs. One of each kind of norm is trained here.
export SERLIB_HOME="$PWD/build/colab/home"
there="$SERLIB_HOME/runs/mini/stratified"
mkdir -p "$there"
for key in wav2vec2-xlsr53 hubert-xlarge unispeech-large unispeech-multilingual; do
    if [ -d "runs/mini/stratified/$key-mini" ]; then cp -R "runs/mini/stratified/$key-mini" "$there"; fi
done
# One a core: each computes with one thread, and what two of them want to train is trained by the first.
(cd notebooks && printf '%s\n' [0-9][0-9]_*.ipynb) | xargs -P "$(getconf _NPROCESSORS_ONLN)" -I{} \
    build/colab/bin/python scripts/execute.py notebooks/{} build/executed/colab/{} -p PROFILE mini
build/colab/bin/python scripts/timings.py build/executed/colab
