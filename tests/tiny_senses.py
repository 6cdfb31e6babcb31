"""A model with every sense, and a file of every kind: small, real, and the same in every run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

import sensorium
from sensorium.checkpoints.load import save_model
from sensorium.data.kind_names import Kind, Spot
from sensorium.tasks.embedding import Embedder
from sensorium.tasks.senses import Piece
from tests import tiny
from tests.data.test_depth import png, ramp
from tests.data.test_motion import NAMES, clock, signal, table
from tests.data.test_segments import film, tone
from tests.data.test_thermal import celsius

# 63 x 8 readings in five seconds and words of CLIP's: else as tiny.IMAGEBIND.
CONFIG = replace(tiny.IMAGEBIND, text=replace(tiny.TEXT, words=49408, context=77))


def imagebind(folder: Path) -> Embedder:
    """An ImageBind of random weights, saved under the authors' names and loaded."""
    save_model(tiny.build(CONFIG), folder, naming="imagebind")
    model = sensorium.load(folder, device="cpu")
    assert isinstance(model, Embedder)
    return model


def spots(pieces: Sequence[Piece]) -> list[Spot]:
    """What a store keeps of the first pieces of a file beside their vectors."""
    return [Spot(number, piece.sense, piece.begin, piece.end, piece.page) for number, piece in enumerate(pieces)]


def pdf(path: Path, pages: list[str], size: tuple[float, float] = (300, 400), *, cut: int = 0) -> Path:
    """A PDF of one line of words a page; a page without words has a gray box."""
    parts = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids: list[str] = []
    for words in pages:
        drawn = f"BT /F 24 Tf 20 200 Td ({words}) Tj ET" if words else "0.5 g 50 50 100 100 re f"
        content = b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawn), drawn.encode("latin-1"))
        number = len(parts) + 1
        kids.append(f"{number} 0 R")
        box = f"[0 0 {size[0]:g} {size[1]:g}]"
        page = f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Contents {number + 1} 0 R"
        parts += [f"{page} /Resources << /Font << /F 3 0 R >> >> >>".encode(), content]
    parts[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(pages)} >>".encode()
    out, offsets = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    tail = f"xref\n0 {len(parts) + 1}\n0000000000 65535 f \n{table}trailer << /Size {len(parts) + 1} /Root 1 0 R >>\n"
    path.write_bytes((out + f"{tail}startxref\n{len(out)}\n%%EOF\n".encode())[: -cut or None])
    return path


def recording(path: Path, seconds: float = 12, rate: float = 100) -> Path:
    """Motion with named axes and units."""
    times = clock(rate, seconds)
    names = ("t_s", *(f"{name} (m/s2)" for name in NAMES[:3]), *(f"{name} (rad/s)" for name in NAMES[3:]))
    return table(path, times, signal(times), names)


def everything(folder: Path) -> dict[Kind, Path]:
    """One readable file of every kind, in folders of their own."""
    paths: dict[Kind, Path] = {
        "picture": folder / "picture.png",
        "video": folder / "walk.mp4",
        "sound": folder / "a.wav",
        "depth": folder / "depth" / "room.png",
        "thermal": folder / "thermal" / "hand.tiff",
        "motion": folder / "walk.csv",
        "document": folder / "letter.pdf",
    }
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(paths["picture"])
    film(paths["video"], [4 * i for i in range(60)], sound=tone(6.5, 16000)[None])
    soundfile.write(paths["sound"], tone(7.5, 16000), 16000)
    png(paths["depth"], ramp() * 1000)
    (folder / "depth" / "depth.json").write_text('{"unit": "mm", "focal": 520}')
    Image.fromarray(((celsius() + 273.15) * 100).round().astype(np.uint16)).save(paths["thermal"])
    recording(paths["motion"])
    pdf(paths["document"], ["Dear reader", "", "Yours"])
    return paths
