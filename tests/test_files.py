import os
import stat

import pytest

from bayesnn.files import shipped, written_whole


def test_a_finished_file_lies_alone_in_its_folder(tmp_path):
    target = tmp_path / "new" / "folder" / "a.txt"
    with written_whole(target) as partial:
        partial.write_text("whole")
        assert not target.exists()
        assert partial.parent == target.parent
    assert target.read_text() == "whole"
    assert os.listdir(target.parent) == ["a.txt"]


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_in_the_middle_leaves_no_file(tmp_path, failure):
    with pytest.raises(type(failure)), written_whole(tmp_path / "a.txt") as partial:
        partial.write_text("half")
        raise failure
    assert os.listdir(tmp_path) == []


def test_a_failure_in_the_middle_leaves_the_older_file_as_it_was(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="in the middle"), written_whole(target) as partial:
        partial.write_text("half of the n")
        raise RuntimeError("in the middle")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_an_older_file_is_replaced(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with written_whole(target) as partial:
        partial.write_text("new")
    assert target.read_text() == "new"


def test_the_file_has_the_rights_any_new_file_has(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.write_text("")
    with written_whole(tmp_path / "a.txt") as partial:
        partial.write_text("x")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_a_path_may_be_a_string(tmp_path):
    with written_whole(str(tmp_path / "a.txt")) as partial:
        partial.write_text("x")
    assert (tmp_path / "a.txt").read_text() == "x"


def test_shipped_data_are_found():
    assert shipped("data", "yacht.csv").is_file()
    assert not shipped("data", "no such file.csv").exists()
