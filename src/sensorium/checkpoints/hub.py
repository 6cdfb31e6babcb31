"""Weights from the Hugging Face hub: its cache, its progress and resume, its offline mode."""

import re
from pathlib import Path

from sensorium.checkpoints.files import CONFIG_FILES, WEIGHT_FILES, read_json
from sensorium.checkpoints.rename import CheckpointError

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
VOCABULARIES = ("tokenizer.json", "vocab.json", "merges.txt")


def is_hub_id(source: str) -> bool:
    """Whether this reads as `organisation/name`."""
    return HUB_ID.fullmatch(source) is not None


def fetch(repository: str, *, revision: str | None = None, file: str | None = None) -> Path:
    """The weight file of a hub repository in the local cache, with its configuration beside it.

    Safetensors come before pickles; `file` names one where a repository holds several. What is in the cache
    is not fetched again, a broken download goes on where it stopped, and with HF_HUB_OFFLINE=1 only the cache
    is read. Raises CheckpointError with the remedy where the repository, the revision or the network is missing.
    """
    from huggingface_hub import errors

    where = f"{repository}@{revision}" if revision else repository
    names = [file] if file else list(WEIGHT_FILES)
    try:
        return _fetch(repository, names, revision)
    except errors.GatedRepoError:
        message = f"{where} is gated: accept its licence on its hub page, then log in with `hf auth login`"
    except errors.RevisionNotFoundError:
        message = f"{repository} has no revision {revision}"
    except errors.RepositoryNotFoundError:
        message = f"the hub has no model {repository}; if it is private, log in with `hf auth login`"
    except errors.LocalEntryNotFoundError:
        message = (
            f"{where} is not in the cache and the hub cannot be reached; fetch it where there is a network "
            f"(`hf download {repository}`), or load a local folder or file"
        )
    except errors.EntryNotFoundError:
        message = (
            f"{where} holds no weights under a usual name ({', '.join(names)}); "
            "download the file that you mean and load it by its path"
        )
    except errors.HfHubHTTPError as error:
        message = f"the hub refused {where}: {error}"
    raise CheckpointError(message)


def _fetch(repository: str, names: list[str], revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    weights = _weights(repository, names, revision)
    commit = weights.parent.name  # the cache keeps a folder a commit: everything else comes from the same one
    for name in (*CONFIG_FILES, *VOCABULARIES):
        _get(repository, name, commit)
    if weights.name.endswith(".index.json"):
        for shard in sorted(set(read_json(weights).get("weight_map", {}).values())):
            hf_hub_download(repository, shard, revision=commit)
    return weights


def _weights(repository: str, names: list[str], revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        for name in names[:-1]:
            if path := _get(repository, name, revision):
                return path
        return Path(hf_hub_download(repository, names[-1], revision=revision))
    except LocalEntryNotFoundError:  # the hub is out of reach: what the cache holds must do
        for name in names:
            if isinstance(path := try_to_load_from_cache(repository, name, revision=revision), str):
                return Path(path)
        raise


def _get(repository: str, name: str, revision: str | None) -> Path | None:
    """One file, or None where the repository does not have it."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, name, revision=revision))
    except LocalEntryNotFoundError:
        if name in WEIGHT_FILES:
            raise
        cached = try_to_load_from_cache(repository, name, revision=revision)
        return Path(cached) if isinstance(cached, str) else None
    except EntryNotFoundError:
        return None
