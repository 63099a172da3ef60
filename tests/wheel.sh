#!/usr/bin/env bash
# Builds the wheel and runs the README's ten lines with it, its core dependencies and nothing else; warnings are errors.
# The environment .venv-wheel has to be empty the first time, so that what is not declared is missed.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/.." && pwd)
bin=$checkout/.venv-wheel/bin
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

# from a copy, since setuptools would take up files that an older build has left in the checkout
mkdir source empty
cp -r "$checkout"/{noisyfit,pyproject.toml,setup.cfg,README.md,LICENSE} source
"$bin/python" -m pip wheel --quiet --no-deps --wheel-dir . ./source
"$bin/python" -m pip install --quiet --force-reinstall --no-deps noisyfit-*.whl
"$bin/python" -m pip install --quiet --constraint "$checkout/constraints.txt" noisyfit-*.whl

cd empty
installed=$("$bin/python" -I -c 'import noisyfit; print(noisyfit.__path__[0])')
diff --recursive --exclude=__pycache__ "$checkout/noisyfit" "$installed"
sed -n '/^```python$/,/^```$/{/^```/!p}' "$checkout/README.md" >../ten_lines.py
echo 'import noisyfit; noisyfit.save_review("review.html", clf.label_report(), X)' >>../ten_lines.py
"$bin/python" -I -W error ../ten_lines.py
test -s review.html
PYTHONWARNINGS=error "$bin/noisyfit" --help >/dev/null
