"""The wheel: what a user installs has the data, the run files and the report's template in it."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_wheel_holds_all_that_the_package_reads(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in ("airfoil", "co2", "concrete", "energy", "yacht"):
        assert f"bayesnn/_shipped/data/{name}.csv" in names
    assert {
        "bayesnn/_shipped/workflows/concrete.toml",
        "bayesnn/_shipped/data/README.md",
        "bayesnn/report/templates/report.html.j2",
        "bayesnn/py.typed",
    } <= names
    assert not [name for name in names if name.startswith("tests/")]


def test_importing_the_package_loads_no_drawing_and_no_command_line():
    code = "import sys, bayesnn; print([m for m in ('matplotlib.pyplot', 'typer', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
