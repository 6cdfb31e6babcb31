"""A folder with a file of every kind, small and made here: what each shows or sounds like is known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.search.fake import COLOURS, paint

RATE = 16000
COLOURS_OF_FILM = ("red", "green", "blue", "yellow", "cyan")  # two seconds each
KINDS = {
    "red.png": "picture",
    "walk.mp4": "video",
    "tones.wav": "sound",
    "room_depth.png": "depth",
    "hand_thermal.tiff": "thermal",
    "imu.csv": "motion",
    "manual.pdf": "document",
}


def write_everything(folder: Path) -> dict[str, Path]:
    """The files by their names; facts that their numbers do not state lie beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    paint(folder / "red.png", "red", size=(96, 64))
    write_film(folder / "walk.mp4")
    write_tones(folder / "tones.wav")
    return {
        **{name: folder / name for name in ("red.png", "walk.mp4", "tones.wav")},
        "room_depth.png": write_depth(folder / "room" / "room_depth.png"),
        "hand_thermal.tiff": write_heat(folder / "heat" / "hand_thermal.tiff"),
        "imu.csv": write_motion(folder / "imu.csv"),
        "manual.pdf": write_pdf(folder / "manual.pdf", ["the first page", "a red bicycle", "the end"]),
    }


def tones(seconds: float = 10.0) -> np.ndarray:
    """A beep of 440 Hz in every second second, of 1,760 Hz in the others."""
    t = np.arange(round(seconds * RATE)) / RATE
    return (0.4 * np.sin(2 * np.pi * np.where(t % 2 < 1, 440, 1760) * t)).astype(np.float32)


def write_tones(path: Path, seconds: float = 10.0) -> Path:
    import wave

    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((tones(seconds) * 32767).astype("<i2").tobytes())
    return path


def write_film(path: Path, *, codec: str = "libx264", sound: bool = True, size: tuple[int, int] = (160, 96)) -> Path:
    """Ten seconds: two of every colour in COLOURS_OF_FILM, with the tones."""
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = *size, "yuv420p", 10
        track: Any = container.add_stream("aac", rate=RATE, layout="mono") if sound else None
        for number in range(100):
            pixels = np.full((size[1], size[0], 3), COLOURS[COLOURS_OF_FILM[number // 20]], np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
        if track is not None:
            wave = tones()
            for at in range(0, len(wave), 1024):
                frame = av.AudioFrame.from_ndarray(wave[None, at : at + 1024], format="fltp", layout="mono")
                frame.rate, frame.pts = RATE, at
                container.mux(track.encode(frame))
            container.mux(track.encode())
    return path


def write_depth(path: Path) -> Path:
    """From 4 m at the top to 1 m at the bottom, its first rows not measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metres = np.broadcast_to(np.linspace(4, 1, 96)[:, None], (96, 128)).copy()
    metres[:4] = 0
    Image.fromarray((metres * 1000).astype(np.uint16)).save(path)
    (path.parent / "depth.json").write_text(json.dumps({"unit": "mm", "focal": 120}))
    return path


def write_heat(path: Path) -> Path:
    """20 °C, and a warm spot of 35 °C in the middle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:60, :80]
    celsius = 20 + 15 * (((x - 40) ** 2 + (y - 30) ** 2) < 200)
    Image.fromarray(((celsius + 273.15) * 100).astype(np.uint16)).save(path)
    (path.parent / "thermal.json").write_text(json.dumps({"unit": "centikelvin"}))
    return path


def write_motion(path: Path, seconds: float = 12.0) -> Path:
    """At rest for six seconds, then shaken; the clock begins at 100 s."""
    t = np.arange(round(seconds * 100)) / 100
    shaken = np.where(t >= 6, np.sin(2 * np.pi * 3 * t), 0)
    rows = np.stack([t + 100, 4 * shaken, 2 * shaken - 2, 9.8 + 0 * t, shaken, 0.1 + 0 * t, -shaken], axis=1)
    head = "time_s,acc_x_ms2,acc_y_ms2,acc_z_ms2,gyro_x_rads,gyro_y_rads,gyro_z_rads\n"
    path.write_text(head + "\n".join(",".join(f"{value:.4f}" for value in row) for row in rows))
    return path


def write_pdf(path: Path, pages: list[str]) -> Path:
    """A PDF written by hand: a line of words on each page, every page 300 x 400 points."""
    count = len(pages)
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(count))
    parts = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {count}>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for i, words in enumerate(pages):
        shade = 1 - 0.1 * i
        drawn = f"{shade} 1 1 rg 0 0 300 200 re f 0 0 0 rg BT /F1 24 Tf 40 300 Td ({words}) Tj ET"
        page = "<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 400]/Resources<</Font<</F1 3 0 R>>>>"
        parts += [f"{page}/Contents {5 + 2 * i} 0 R>>", f"<</Length {len(drawn)}>>stream\n{drawn}\nendstream"]
    data, places = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        places.append(len(data))
        data += f"{number} 0 obj{part}endobj\n".encode()
    start = len(data)
    data += f"xref\n0 {len(parts) + 1}\n0000000000 65535 f \n".encode()
    data += b"".join(f"{at:010} 00000 n \n".encode() for at in places)
    path.write_bytes(data + f"trailer<</Size {len(parts) + 1}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF".encode())
    return path
