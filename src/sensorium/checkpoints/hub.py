"""Weights from the Hugging Face hub: its cache, its progress and resume, its offline mode."""

import re
from collections.abc import Sequence
from pathlib import Path

from sensorium.checkpoints.files import CONFIG_FILES, WEIGHT_FILES, read_json
from sensorium.checkpoints.rename import CheckpointError

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
COMMIT = re.compile(r"[0-9a-f]{40}")
VOCABULARIES = ("tokenizer.json", "vocab.json", "merges.txt")


def is_hub_id(source: str) -> bool:
    """Whether this reads as `organisation/name`."""
    return HUB_ID.fullmatch(source) is not None


def fetch(repository: str, *, revision: str | None = None, file: str | None = None) -> Path:
    """The weight file of a hub repository in the local cache, with its configuration beside it.

    Safetensors come before pickles; `file` names one where a repository holds several. A broken connection is taken
    up where it stopped. What is in the cache is not fetched again: the hub is asked once whether `revision` has moved,
    not at all where it is a full commit hash or HF_HUB_OFFLINE=1, and the cache serves where the hub is out of reach.
    Raises CheckpointError with the remedy where the repository, the revision, its weights or the network is missing.
    """
    from huggingface_hub import errors

    where = f"{repository}@{revision}" if revision else repository
    names = (file,) if file else WEIGHT_FILES
    try:
        return _fetch(repository, names, revision)
    except errors.GatedRepoError:
        message = f"{where} is gated: accept its licence on its hub page, then log in with `hf auth login`"
    except errors.RevisionNotFoundError:
        message = f"{repository} has no revision {revision}: its branches, tags and commits stand on its hub page"
    except errors.RepositoryNotFoundError:
        message = f"the hub has no model {repository}; if it is private, log in with `hf auth login`"
    except errors.HFValidationError as error:
        message = f"{repository!r} cannot be a hub id: {error}"
    except errors.LocalEntryNotFoundError:
        message = (
            f"{where} is not in the cache, or not whole, and the hub cannot be reached; fetch it where there is a "
            f"network (`hf download {repository}`), or load a local folder or file"
        )
    except errors.EntryNotFoundError:
        message = (
            f"{where} holds no weights under a usual name ({', '.join(names)}); "
            "download the file that you mean and load it by its path"
        )
    except (_http_error(), OSError) as error:  # OSError: a full disk, or a file cut short for good
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        message = f"{where} could not be fetched ({reason}); try again: whole files are kept"
    raise CheckpointError(message)


def _http_error() -> type[Exception]:
    """What the hub's client raises when a transfer breaks: its HTTP library has changed with its versions."""
    from huggingface_hub import errors

    return errors.HTTPError  # pyright: ignore[reportPrivateImportUsage]


def _fetch(repository: str, names: Sequence[str], revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    # What was chosen before is asked for first: one question, and an answer from the cache without a network.
    names = sorted(names, key=lambda name: not isinstance(_cached(repository, name, revision), str))
    for name in names[:-1]:
        if weights := _get(repository, name, revision):
            break
    else:
        weights = Path(hf_hub_download(repository, names[-1], revision=revision))
    commit = weights.parent.name  # the cache keeps a folder a commit: everything else comes from the same one
    for name in (*CONFIG_FILES, *VOCABULARIES):
        _get(repository, name, commit, needed=False)
    if weights.name.endswith(".index.json"):
        for shard in sorted(set(read_json(weights).get("weight_map", {}).values())):
            try:
                hf_hub_download(repository, shard, revision=commit)
            except RemoteEntryNotFoundError as error:
                raise CheckpointError(f"{repository}: {weights.name} names {shard}, which is not there") from error
    return weights


def _cached(repository: str, name: str, revision: str | None) -> object:
    """The path of a file in the cache as a string; None or a sentinel where it is unknown, or known not to exist."""
    from huggingface_hub import try_to_load_from_cache

    return try_to_load_from_cache(repository, name, revision=revision)


def _get(repository: str, name: str, revision: str | None, *, needed: bool = True) -> Path | None:
    """One file, or None where the repository does not have it (or, where it is not `needed`, cannot be asked)."""
    from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if COMMIT.fullmatch(revision or "") and _cached(repository, name, revision) is _CACHED_NO_EXIST:
        return None
    try:
        return Path(hf_hub_download(repository, name, revision=revision))
    except LocalEntryNotFoundError:
        if needed:
            raise
        return None
    except EntryNotFoundError:
        return None
