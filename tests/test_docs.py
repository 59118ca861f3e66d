"""What the documents say is what the package does."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bayesnn as bnn

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(path for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")])


def python_blocks(path):
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def test_the_quick_start_script_is_the_readmes():
    (block,) = python_blocks(ROOT / "README.md")
    script = ast.parse((ROOT / "workflows" / "quickstart.py").read_text(encoding="utf-8"))
    statements = script.body[1:-1]  # less the docstring and the final print
    assert [ast.dump(s) for s in statements] == [ast.dump(s) for s in ast.parse(block).body]


def test_the_quick_start_runs_as_written(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "workflows" / "quickstart.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert "cannot be trusted" in done.stdout


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_name_in_the_documents_exists(path):
    text = path.read_text(encoding="utf-8")
    for dotted in set(re.findall(r"\bbnn((?:\.\w+)+)\(", text)):
        found = bnn
        for part in dotted.strip(".").split("."):
            found = getattr(found, part)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_the_public_face_hands_on_every_name_it_lists():
    assert sorted(bnn.__all__) == sorted(set(bnn.__all__))
    for name in bnn.__all__:
        assert getattr(bnn, name) is not None


def test_the_api_page_knows_every_public_name():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    missing = [name for name in bnn.__all__ if name not in text]
    assert not missing
