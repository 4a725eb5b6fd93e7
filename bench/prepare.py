"""What every benchmark does first: installs what is missing, builds the release preset."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

INSTALL = """\
set -euo pipefail
. scripts/packages.sh
install_missing "${packages_to_build[@]}" "${packages_to_bench[@]}"
"""


def prepare(*targets):
    """Without targets, everything the preset builds by itself.

    Nothing is built when BACKHAND_BUILD names a build folder: it is measured as it is.
    """
    subprocess.run(["bash", "-c", INSTALL], cwd=ROOT, check=True)
    if "BACKHAND_BUILD" in os.environ:
        return
    selected = ["--target", *targets] if targets else []
    for command in (["cmake", "--preset", "release"], ["cmake", "--build", "--preset", "release", *selected]):
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        if done.returncode != 0:
            print(done.stdout, file=sys.stderr)
            sys.exit(f"{' '.join(command)} failed")
