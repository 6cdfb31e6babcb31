"""How the index does at a million vectors: python benchmarks/million.py [--count 1000000] [--folder KEEP]

The vectors are synthetic, made to be as hard as embeddings are: a common direction (the mean cosine of two of them is
about 0.3), a spectrum that falls as a power (an effective dimension of some tens), and clusters whose sizes follow
Zipf's law, each with its own scale. Uniform noise would be harder for any graph and like no collection. Queries are
fresh draws: half from the same clusters (more like this), half pulled away towards another direction, as words are.
Everything goes through the store: reported times include reading items from SQLite and scoring exactly again.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from sensorium.search import nearest
from sensorium.search.sqlite import SQLiteStore
from sensorium.search.store import Filter, Identity, Item, Part, Vectors

DIM = 512
BLOCK = 8192
START = datetime(2015, 1, 1, tzinfo=UTC)


def draw(n: int, seed: int, clusters: int, words: bool = False) -> Vectors:
    """(n, 512) float32, rows of length one."""
    shape = np.random.default_rng(0)
    spectrum = np.arange(1, DIM + 1, dtype=np.float32) ** -0.6
    common = shape.standard_normal(DIM, dtype=np.float32) * spectrum * 0.7
    apart = shape.standard_normal(DIM, dtype=np.float32) * spectrum * 0.7
    centres = shape.standard_normal((clusters, DIM), dtype=np.float32) * spectrum
    scales = shape.uniform(0.5, 0.9, clusters).astype(np.float32)
    weights = 1 / np.arange(1, clusters + 1) ** 0.8
    random = np.random.default_rng(seed)
    which = random.choice(clusters, n, p=weights / weights.sum())
    noise = random.standard_normal((n, DIM), dtype=np.float32) * spectrum * scales[which, None]
    x = common + centres[which] + noise + (apart if words else 0)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def blocks(count: int) -> Iterator[tuple[int, Vectors]]:
    """The collection, block by block, the same each time."""
    for start in range(0, count, BLOCK):
        yield start, draw(min(BLOCK, count - start), 1000 + start, max(100, count // 250))


def item(i: int) -> Item:
    """Four thousand pictures a day from 2015 on would be many; here the days only spread the dates."""
    moment = START + timedelta(minutes=5 * i)
    path = Path(f"/photos/{moment.year}/{moment:%m-%d}/IMG_{i:07d}.jpg")
    stamp = int(moment.timestamp()) * 10**9
    return Item(path=path, size=i % 10**7, modified=stamp, width=1024, height=768, digest=i.to_bytes(16), taken=stamp)


def fill(folder: Path, count: int) -> dict[str, float]:
    """Write the collection and build the graph."""
    store = SQLiteStore.open(folder, Identity(model="synthetic", fingerprint="0", dim=DIM))
    began = time.perf_counter()
    for start, vectors in blocks(count):
        items = [item(start + i) for i in range(len(vectors))]
        store.upsert(items, {i.digest: Part.picture(v) for i, v in zip(items, vectors, strict=True)})
    written = time.perf_counter()
    store.maintain(lambda done, total: print(f"\rgraph {done:,} of {total:,}", end="", file=sys.stderr))
    built = time.perf_counter()
    store.close()
    sizes = {path.suffix: 0 for path in folder.iterdir()}
    for path in folder.iterdir():
        sizes[path.suffix] += path.stat().st_size
    return {
        "insert_per_second": count / (written - began),
        "build_seconds": built - written,
        "sqlite_gib": sizes[".sqlite"] / 2**30,
        "graph_gib": sizes.get(".usearch", 0) / 2**30,
    }


def truth(count: int, queries: Vectors, k: int) -> list[set[int]]:
    """The k exact nearest of each query, found block by block."""
    scores, ids = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for start, vectors in blocks(count):
        vectors = vectors.astype(np.float16).astype(np.float32)  # as stored
        scores = np.hstack([scores, queries @ vectors.T])
        ids = np.hstack([ids, np.broadcast_to(np.arange(start, start + len(vectors)), (len(queries), len(vectors)))])
        top = np.argsort(-scores, axis=1)[:, :k]
        scores, ids = np.take_along_axis(scores, top, 1), np.take_along_axis(ids, top, 1)
    return [set(row.tolist()) for row in ids]


def memory() -> float:
    """MiB that this process alone holds now; mapped files of the page cache do not count."""
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(fields["RssAnon"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(folder: Path, count: int, number: int) -> dict[str, float]:
    """In a process of its own: open, ask, and count."""
    clusters = max(100, count // 250)
    alike, words = draw(number // 2, 1, clusters), draw(number - number // 2, 2, clusters, words=True)
    queries = np.concatenate([alike, words])
    exact = truth(count, queries, 10)
    base = memory()
    began = time.perf_counter()
    store = SQLiteStore.open(folder)
    opened = time.perf_counter()
    store.search(queries[0], 10)
    first = time.perf_counter()
    answers = [store.search(query, 10) for query in queries]
    again = time.perf_counter()
    [store.search(query, 10) for query in queries]
    single = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda query: store.search(query, 10), queries))
    double = time.perf_counter()
    found = [{int.from_bytes(near.item.digest) for near in answer} for answer in answers]
    recall = [len(a & b) / 10 for a, b in zip(found, exact, strict=True)]
    day = START + timedelta(minutes=5 * (count // 2))
    filters = {
        "one_day": Filter(modified_after=day, modified_before=day + timedelta(days=1)),
        "one_folder": Filter(below=f"/photos/{day.year}/{day:%m-%d}"),
        "half": Filter(modified_after=day),
        "glob": Filter(glob="*7.jpg"),
        "nothing": Filter(below="/elsewhere"),
    }
    times: dict[str, float] = {}
    for name, where in filters.items():
        start = time.perf_counter()
        for query in queries[:20]:
            store.search(query, 10, where=where)
        times[f"filtered_{name}_ms"] = (time.perf_counter() - start) / min(20, len(queries)) * 1000
    result = {
        "open_ms": (opened - began) * 1000,
        "first_answer_ms": (first - opened) * 1000,
        "first_pass_per_second": number / (again - first),
        "queries_per_second": number / (single - again),
        "queries_per_second_two_threads": number / (double - single),
        "recall_at_10": float(np.mean(recall)),
        "recall_at_10_alike": float(np.mean(recall[: len(alike)])),
        "recall_at_10_words": float(np.mean(recall[len(alike) :])),
        **times,
        "memory_mib": memory() - base,
    }
    store.close()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=400)
    parser.add_argument("--folder", type=Path, help="keep the index here, and use the one that is there")
    parser.add_argument("--exact", type=int, default=nearest.EXACT, help="scan this many exactly, without a graph")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measure(asked.folder, asked.count, asked.queries)))
        return
    nearest.EXACT = asked.exact
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.folder or Path(scratch)
        result = {"count": float(asked.count)}
        if not (folder / "index.sqlite").exists():
            result |= fill(folder, asked.count)
        command = [
            sys.executable,
            __file__,
            "--measure",
            "--exact",
            str(asked.exact),
            "--folder",
            str(folder),
            "--count",
            str(asked.count),
        ]
        run = subprocess.run([*command, "--queries", str(asked.queries)], check=True, capture_output=True, text=True)
        result |= json.loads(run.stdout)
    for name, value in result.items():
        print(f"{name:34} {value:14,.3f}")


if __name__ == "__main__":
    main()
