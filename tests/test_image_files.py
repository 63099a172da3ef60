from __future__ import annotations

import io
import os
import random
import socket
import struct
import time
import warnings
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from noisyfit import save_review
from noisyfit.files.images import MOST_PIXELS, list_images, load_images

from fuzzing import n_cases

ENDINGS = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "bmp": "BMP", "webp": "WEBP", "tif": "TIFF"}
MODES = {"png": ["RGB", "RGBA", "P", "L", "1", "I;16"], "jpg": ["RGB", "L", "CMYK"], "tif": ["RGB", "L", "CMYK", "F"]}
REPORT = pd.DataFrame(
    {
        "given_label": ["a", "b"],
        "predicted_label": ["b", "b"],
        "is_label_issue": [True, False],
        "label_quality": [0.1, 0.8],
        "corrected_label": ["b", "b"],
        "confidence": [0.9, 0.8],
    }
)


def drawn(mode="RGB", size=(90, 70)):
    picture = Image.new("RGB", size, (200, 30, 60))
    ImageDraw.Draw(picture).ellipse((10, 10, 60, 50), fill=(20, 200, 90))
    return picture.convert("L").convert(mode) if mode in ("I;16", "F") else picture.convert(mode)


def png_chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width, height, *chunks):
    """A gray PNG whose header says so; there are no pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    ends = png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + ends


def animated(ending):
    content = io.BytesIO()
    frames = [drawn(), Image.new("RGB", (90, 70))]
    frames[0].save(content, ENDINGS[ending], save_all=True, append_images=frames[1:])
    return content.getvalue()


def both_ways(path, tmp_path):
    """Ways to read a picture: the command line's, and the review page's."""
    return [
        lambda: load_images([path], 8, quiet=True),
        lambda: save_review(tmp_path / "page.html", REPORT, [path, path], overwrite=True),
    ]


def refusals(path, tmp_path):
    """What the two say about a picture that cannot be read."""
    told = []
    for read in both_ways(path, tmp_path):
        with pytest.raises(ValueError, match="is no image that can be read") as refusal:
            read()
        told.append(str(refusal.value))
        assert str(path) in told[-1]
    return told


BOMBS = {
    "too many pixels": (png(MOST_PIXELS + 1, 1), "64,000,001 x 1 pixels, more than the 64,000,000"),
    "far too many pixels": (png(2**31 - 1, 2**31 - 1), "pixels, more than the 64,000,000"),
    "text": (png(8, 8, png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))), "too large"),
    "profile": (png(8, 8, png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8)))), "too large"),
    "cut off": (png(8, 8), ""),
    "empty": (b"", "none of BMP, GIF, JPEG, PNG, TIFF, WEBP"),
    # for this one Pillow would start Ghostscript
    "program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "none of BMP, GIF"),
}


@pytest.mark.parametrize("limit", [None, 4, 10**12])
@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_refused_before_they_are_decoded(tmp_path, monkeypatch, kind, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)  # whatever other code has set
    content, message = BOMBS[kind]
    (tmp_path / "bomb.png").write_bytes(content)
    start = time.perf_counter()
    for told in refusals(tmp_path / "bomb.png", tmp_path):
        assert message in told or "exceeds limit" in told
        assert "anew" in told or "pass X=None" in told
    assert time.perf_counter() - start < 2
    assert limit == Image.MAX_IMAGE_PIXELS


def test_pillows_warnings_are_not_handed_on(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 90 * 70 - 1)
    drawn().save(tmp_path / "a.png")
    for read in both_ways(tmp_path / "a.png", tmp_path):  # warnings are errors in the tests
        read()


@pytest.mark.parametrize("ending", ["png", "gif", "webp", "tif"])
def test_of_several_frames_the_first_is_taken(tmp_path, ending):
    (tmp_path / f"a.{ending}").write_bytes(animated(ending))
    assert load_images([tmp_path / f"a.{ending}"], 8, quiet=True).max() > 100  # the second is black
    save_review(tmp_path / "page.html", REPORT, [tmp_path / f"a.{ending}"] * 2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_no_numbers(tmp_path, value):
    pixels = np.linspace(0, 1, 40 * 40, dtype=np.float32).reshape(40, 40)
    pixels[0, 0] = value
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    for read in both_ways(tmp_path / "a.tif", tmp_path):
        read()


def test_turned_pictures_are_shown_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    drawn().save(tmp_path / "a.jpg", exif=exif)
    drawn().rotate(270, expand=True).save(tmp_path / "b.jpg")
    turned, upright = load_images([tmp_path / "a.jpg", tmp_path / "b.jpg"], 32, quiet=True).astype(int)
    assert np.abs(turned - upright).mean() < 5


def test_a_page_takes_over_no_profile_and_no_comment(tmp_path):
    profile = random.Random(0).randbytes(500_000)
    drawn(size=(40, 40)).save(tmp_path / "a.png", icc_profile=profile)
    page = save_review(tmp_path / "page.html", REPORT, [tmp_path / "a.png"] * 2)
    assert page.stat().st_size < 200_000


def make_special(path, kind):
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        os.chdir(path.parent)  # an address must be short
        socket.socket(socket.AF_UNIX).bind(path.name)
    elif kind == "device":
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path)


@pytest.mark.filterwarnings("ignore:unclosed <socket")
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder", "loop"])
def test_what_is_no_file_is_not_waited_for(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    try:
        make_special(tmp_path / "a.png", kind)
    except PermissionError:
        pytest.skip("only root makes devices")
    assert "there is no such file" in refusals(tmp_path / "a.png", tmp_path)[0]


# ------------------------------------------------------------------ folders


@pytest.fixture
def folder(tmp_path):
    for label in "ab":
        (tmp_path / "images" / label).mkdir(parents=True)
        drawn().save(tmp_path / "images" / label / "1.png")
    return tmp_path / "images"


def names(found):
    return [f"{path.parent.name}/{path.name}" for path in found[0]]


def test_links_are_followed_on_request_only(folder, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    drawn().save(tmp_path / "elsewhere" / "secret.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (folder / "a" / "2.png").symlink_to(tmp_path / "elsewhere" / "secret.png")
    (folder / "c").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "d").symlink_to(folder, target_is_directory=True)
    (folder / "a" / "loop.png").symlink_to(folder / "a" / "loop.png")
    (folder / "notes.txt").symlink_to(tmp_path / "notes.txt")
    assert names(list_images(folder)) == ["a/1.png", "b/1.png"]
    assert "left out of" in (told := capsys.readouterr().err)
    assert "4 symbolic links: --follow-links takes them in" in told
    found = list_images(folder, follow_links=True)
    assert names(found) == ["a/1.png", "a/2.png", "b/1.png", "c/secret.png"]
    assert found[1] == ["a", "a", "b", "c"]
    assert "1 names of images that name no file, 'loop.png' say" in capsys.readouterr().err


def test_what_is_hidden_is_left_out(folder, capsys):
    for hidden in (".ipynb_checkpoints", "a/.ipynb_checkpoints"):
        (folder / hidden).mkdir()
        drawn().save(folder / hidden / "1-checkpoint.png")
    for hidden in (".1.png", "a/._1.png"):
        drawn().save(folder / hidden)
    (folder / ".c").symlink_to(folder / "a", target_is_directory=True)
    assert list_images(folder) == list_images(folder, follow_links=True)
    assert names(list_images(folder)) == ["a/1.png", "b/1.png"]
    assert capsys.readouterr().err == ""


def test_what_only_looks_like_an_image_is_told(folder, capsys):
    os.mkfifo(folder / "a" / "pipe.png")
    assert names(list_images(folder)) == ["a/1.png", "b/1.png"]
    assert "1 names of images that name no file, 'pipe.png' say" in capsys.readouterr().err


def test_nothing_is_told_where_nothing_is_left_out(folder, capsys):
    list_images(folder)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("place", ["a/\udcff.png", "\udcff/1.png"])
def test_names_that_are_no_text_are_told_before_training(folder, place):
    (folder / place).parent.mkdir(exist_ok=True)
    drawn().save(folder / place)
    with pytest.raises(ValueError, match=r"\\udcff.*must have a name in UTF-8. Rename it"):
        list_images(folder)


@pytest.mark.parametrize("name", ["=1+1", "<script>alert(1)</script>"[:8], "a\nb", "-x", "💥", "x" * 250, "a,b;\"c'"])
def test_odd_names_are_names(folder, tmp_path, name):
    (folder / name).mkdir()
    drawn().save(folder / name / f"{name[:200]}.png")
    paths, labels = list_images(folder)
    assert (paths[labels.index(name)].name, len(paths)) == (f"{name[:200]}.png", 3)
    report = REPORT.assign(given_label=[name, "b"]).set_axis([str(paths[labels.index(name)]), "b"])
    page = save_review(tmp_path / "page.html", report, [paths[labels.index(name)]] * 2, title=name)
    assert page.read_text("utf-8").count("<script") == 2


# ------------------------------------------------------------------ damaged files


def originals():
    """Real files of every kind."""
    for ending, kind in ENDINGS.items():
        for mode in MODES.get(ending, ["RGB"]):
            content = io.BytesIO()
            drawn(mode).save(content, kind, **({"compression": "tiff_lzw"} if mode == "CMYK" == "TIFF" else {}))
            yield ending, content.getvalue()
        if ending in ("png", "gif", "webp", "tif"):
            yield ending, animated(ending)
    for options in ({"progressive": True}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"}):
        content = io.BytesIO()
        drawn().save(content, "JPEG", **options)
        yield "jpg", content.getvalue()
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        content = io.BytesIO()
        drawn().save(content, "TIFF", compression=compression)
        yield "tif", content.getvalue()


def mutated(content, draw):
    """Change some bytes, most often in the head, where sizes and offsets stand; cut off, double or swap parts."""
    content = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 4, 16])):
        end = draw.choice([min(64, len(content)), min(400, len(content)), len(content)])
        place = draw.randrange(end)
        how = draw.randrange(5)
        if how < 2:
            content[place] = draw.choice([0, 1, 127, 128, 255, draw.randrange(256)])
        elif how == 2:
            content[place : place + 4] = draw.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\0\1\0\0"])
        elif how == 3:
            content[place:place] = content[draw.randrange(len(content)) :][: draw.randrange(1, 200)]
        else:
            del content[place : place + draw.randrange(1, 200)]
        content = content or bytearray(b"\0")
    return bytes(content)


def refusal(read):
    """What is said of a file that cannot be read; None of one that can."""
    try:
        read()
    except UnicodeError:
        raise
    except (ValueError, OSError) as error:
        return str(error)
    return None


def fresh_peak():
    """Forget how much memory was used at most, and give what is used now, in MB."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return memory("VmRSS")


def memory(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name)) / 1024


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux to measure memory")
def test_damaged_pictures_are_read_or_named(tmp_path):
    pictures = list(originals())
    for case in range(n_cases(3000)):
        draw = random.Random(case)
        ending, content = pictures[case % len(pictures)]
        path = tmp_path / f"{case}.{ending}"
        path.write_bytes(mutated(content, draw))
        for read in both_ways(path, tmp_path):
            before, start = fresh_peak(), time.perf_counter()
            told = refusal(read)
            assert told is None or str(path) in told, case
            assert time.perf_counter() - start < 2, case
            assert memory("VmHWM") - before < 500, case
        path.unlink()


def test_whole_pictures_of_every_kind_are_read(tmp_path):
    for i, (ending, content) in enumerate(originals()):
        (tmp_path / f"{i}.{ending}").write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for read in both_ways(tmp_path / f"{i}.{ending}", tmp_path):
                read()
