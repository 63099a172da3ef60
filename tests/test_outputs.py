from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from noisyfit.command.outputs import Outputs
from noisyfit.files import whole
from noisyfit.files.whole import write_atomically


def put(text):
    """Write a text to the name that is given."""
    return lambda name: name.write_text(text) and None


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def no_links(monkeypatch):
    """A file system without hard links."""

    def fails(*_):
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(os, "link", fails)


@pytest.fixture(params=["links", "no links"])
def either_file_system(request):
    if request.param == "no links":
        request.getfixturevalue("no_links")


@pytest.mark.usefixtures("either_file_system")
def test_a_file_is_written_whole_and_named(tmp_path):
    outputs = Outputs(force=False)
    outputs.check([tmp_path / "a.csv", None], [tmp_path / "in.csv", None])
    assert names(tmp_path) == []
    outputs.write(tmp_path / "a.csv", put("new"))
    assert (tmp_path / "a.csv").read_text() == "new"
    assert names(tmp_path) == ["a.csv"]
    assert outputs.told() == [f"written: {tmp_path / 'a.csv'}"]
    assert not outputs.failed


@pytest.mark.usefixtures("either_file_system")
def test_a_file_that_appears_meanwhile_stays(tmp_path, capsys):
    outputs, path = Outputs(force=False), tmp_path / "a.csv"
    outputs.check([path], [])
    path.write_text("somebody's")
    (tmp_path / "a-1.csv").write_text("somebody's, too")
    outputs.write(path, put("new"))
    assert path.read_text() == "somebody's"
    assert (tmp_path / "a-2.csv").read_text() == "new"
    assert names(tmp_path) == ["a-1.csv", "a-2.csv", "a.csv"]
    assert outputs.failed
    assert outputs.told() == [f"written: {tmp_path / 'a-2.csv'}"]
    said = capsys.readouterr().err
    assert f"{path} is there by now, and was not before" in said
    assert f"what was to go to {path} is in {tmp_path / 'a-2.csv'}" in said


def test_force_replaces(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")
    outputs = Outputs(force=True)
    outputs.check([path], [])
    outputs.write(path, put("new"))
    assert path.read_text() == "new"
    assert not outputs.failed


def test_what_cannot_go_into_a_folder_goes_into_a_temporary_one(tmp_path, capsys, monkeypatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    outputs, path = Outputs(force=False), tmp_path / "there" / "a.csv"
    outputs.check([path], [])
    shutil.rmtree(path.parent)
    outputs.write(path, put("new"))
    (found,) = (tmp_path / "temporary").rglob("a.csv")
    assert found.read_text() == "new"
    assert f"what was to go to {path} is in {found}" in capsys.readouterr().err
    assert outputs.failed


def test_what_cannot_be_written_keeps_no_other_file_from_it(tmp_path, capsys):
    def fails(_):
        raise ValueError("No text.")

    outputs = Outputs(force=False)
    outputs.write(tmp_path / "a.csv", fails)
    outputs.write(tmp_path / "b.csv", put("new"))
    assert names(tmp_path) == ["b.csv"]
    assert outputs.failed
    assert f"{tmp_path / 'a.csv'} was not written. No text." in capsys.readouterr().err


def test_a_warning_names_the_file(tmp_path, capsys):
    Outputs(force=False).write(tmp_path / "a.csv", lambda name: str(name.write_text("x")))
    assert f"noisyfit: warning: {tmp_path / 'a.csv'} has 1" in capsys.readouterr().err


@pytest.mark.parametrize("when", ["before", "after"])
def test_ctrl_c_leaves_a_true_record(tmp_path, monkeypatch, when):
    """Also where it comes when the file has its name, and is only waited for until it is on the disk."""
    write_through = whole._write_through

    def interrupted(path):
        if (Path(path) == tmp_path) == (when == "after"):
            raise KeyboardInterrupt
        write_through(path)

    monkeypatch.setattr(whole, "_write_through", interrupted)
    outputs = Outputs(force=False)
    with pytest.raises(KeyboardInterrupt):
        outputs.write(tmp_path / "a.csv", put("new"))
    assert names(tmp_path) == [path.name for path in outputs.written] == (["a.csv"] if when == "after" else [])


@pytest.mark.parametrize("kind", ["dotted", "symlink", "hard link", "symlink to nothing", "linked folder"])
@pytest.mark.parametrize("is_read", [True, False])
def test_one_file_under_two_names_is_refused(tmp_path, kind, is_read):
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    if kind != "symlink to nothing" or is_read:
        one.write_text("mine")
    if kind == "dotted":
        other = tmp_path / "x" / ".." / "one.csv"
        (tmp_path / "x").mkdir()
    elif kind == "hard link":
        os.link(one, other)
    elif kind == "linked folder":
        (tmp_path / "link").symlink_to(tmp_path)
        other = tmp_path / "link" / "one.csv"
    else:
        other.symlink_to("one.csv")
    before = names(tmp_path)
    with pytest.raises(ValueError, match="is read: name another" if is_read else "must differ"):
        Outputs(force=True).check([other] if is_read else [one, other], [one] if is_read else [])
    assert names(tmp_path) == before


def test_what_cannot_be_written_is_found_before(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe")
    for name, force, error, message in (
        ("file/a.csv", False, FileNotFoundError, "folder of .* is not there"),
        ("a" * 300, False, OSError, "cannot be written: File name too long. Name another"),
        ("é" * 128, False, OSError, "cannot be written: File name too long"),
        (".", True, IsADirectoryError, "is a folder"),
        ("pipe", True, FileExistsError, "is no file that can be replaced"),
        ("link", False, FileExistsError, "is there already"),
    ):
        with pytest.raises(error, match=message):
            Outputs(force).check([tmp_path / name], [])
    assert names(tmp_path) == ["file", "link", "pipe"]


@pytest.mark.usefixtures("either_file_system")
@pytest.mark.parametrize("name", ["a" * 251 + ".csv", "é" * 125 + ".csv", "a" + "." + "b" * 253])
def test_what_passes_the_check_is_written_however_long_its_name(tmp_path, name):
    outputs, path = Outputs(force=False), tmp_path / name
    outputs.check([path], [])
    outputs.write(path, lambda name: write_atomically(name, b"new"))
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == [name]
    assert not outputs.failed


@pytest.mark.parametrize(("name", "other"), [("a" * 251, "a" * 249 + "-1"), ("é" * 125, "é" * 124 + "-1")])
def test_the_longest_names_are_rescued_too(tmp_path, monkeypatch, name, other):
    (tmp_path / "temporary").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    outputs, path = Outputs(force=False), tmp_path / "there" / f"{name}.csv"
    path.write_text("somebody's")
    outputs.write(path, put("new"))
    assert names(path.parent) == sorted([f"{name}.csv", f"{other}.csv"])
    assert outputs.written == [path.with_name(f"{other}.csv")]
    shutil.rmtree(path.parent)
    outputs.write(path, put("new"))
    (found,) = (tmp_path / "temporary").rglob(path.name)
    assert found.read_text() == "new"


def as_another_user(folder):
    """Check as a user to whom it means something that the folder is read-only."""
    if os.geteuid() == 0:
        os.setuid(65534)
    try:
        Outputs(force=False).check([folder / "a.csv"], [])
    except PermissionError as error:
        sys.exit(0 if "a.csv cannot be written: Permission denied" in str(error) else 1)
    sys.exit(2)


def test_a_read_only_folder_is_found_before():
    with tempfile.TemporaryDirectory() as folder:  # others may go through the folders above it
        os.chmod(folder, 0o555)
        process = multiprocessing.get_context("fork").Process(target=as_another_user, args=(Path(folder),))
        process.start()
        process.join(60)
        assert process.exitcode == 0


def test_a_full_disk_is_found_before(tmp_path, monkeypatch):
    open_full_disk = Path("/dev/full").open
    monkeypatch.setattr(Path, "open", lambda *_: open_full_disk("wb"))
    with pytest.raises(OSError, match=r"a\.csv cannot be written: No space left on device"):
        Outputs(force=False).check([tmp_path / "a.csv"], [])
