"""Published sets of films with words: MSR-VTT, as text finds video in it."""

import csv
from collections.abc import Iterator
from pathlib import Path

from sensorium.data.sources.clips import FILMS, Clips, Sense, files_below, listed, reads

FIRST = "key,vid_key,video_id,sentence"  # of MSRVTT_JSFUSION_test.csv


@reads
def msr_vtt(file: Path) -> Clips:
    """MSR-VTT (Xu et al. 2016), the thousand pairs of Yu et al. 2018 (1k-A): MSRVTT_JSFUSION_test.csv and the films.

    They are looked for beside the table and one folder up, in all/, videos/, videos/all/, video/ and TestVideo/.
    """
    names = ("all", "videos", "videos/all", "video", "videos/test", "TestVideo", "MSRVTT_Videos", ".")
    films = files_below([root / name for root in (file.parent, file.parent.parent) for name in names], FILMS)
    with file.open(encoding="utf-8-sig", newline="") as lines:
        table = list(csv.DictReader(lines))

    def rows() -> Iterator[Sense | str]:
        for row in table:
            if path := films.get(row["video_id"]):
                yield Sense(key=row["key"], video=path, audio=path, text=row["sentence"].strip())
            else:
                yield f"{row['video_id']}.mp4"

    return listed(str(file), "MSR-VTT", rows())
