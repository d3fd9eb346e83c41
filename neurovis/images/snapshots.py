"""Folders of weights: one's own, or a repository's in the Hugging Face cache; safetensors alone.

Comes in: a path or ``ORG/REPO``. Goes out: the folder, looked through before anything is loaded, and
modules of transformers from it. Nothing is downloaded here: gigabytes are fetched by the command that
the error names. Pickles are never executed; `to_safetensors` reads their tensors and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from neurovis.errors import NeurovisError, missing_package
from neurovis.images.weights import load_errors, read_weights
from neurovis.store import save_tensors, sha256

PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def need_packages() -> None:
    """Refuse to go on without the packages of the extra ``generate``."""
    for package in ("transformers", "accelerate"):
        if importlib.util.find_spec(package) is None:
            raise missing_package(package, "generate")


def download(repository: str, patterns: Iterable[str] = ()) -> str:
    """The command that fetches a repository, or what of it matches some patterns."""
    include = " ".join(f'"{pattern}"' for pattern in patterns)
    return f"hf download {repository}" + (f" --include {include}" if include else "")


def find(what: str, source: str, patterns: Iterable[str] = ()) -> Path:
    """Folder of some weights.

    Parameters
    ----------
    what : str
        Who asks, for errors.
    source : str
        A folder, or ``ORG/REPO`` of the Hugging Face hub.
    patterns : iterable of str
        What of the repository is needed, for the command that fetches it.

    Raises
    ------
    NeurovisError
        If the folder is not there, or the repository not in the cache, with what gets it.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    path = Path(source).expanduser()
    if path.is_dir():
        return path
    try:
        return Path(snapshot_download(source, local_files_only=True))
    except HFValidationError:
        raise NeurovisError(
            f"{what}: {source}: no such folder of weights; correct the path, or give ORG/REPO of the "
            "Hugging Face hub."
        ) from None
    except LocalEntryNotFoundError:
        raise NeurovisError(
            f"{what}: the weights of {source} are not in the Hugging Face cache; where there is a "
            f"network run `{download(source, patterns)}`, or give a folder that holds them."
        ) from None


def check(what: str, folder: Path, part: str, get: str = "") -> list[Path]:
    """Safetensors of one part of a folder.

    Parameters
    ----------
    what : str
        Who asks, for errors.
    folder : path
    part : str
        A folder in it, or a file.
    get : str
        The command that fetches it.

    Raises
    ------
    NeurovisError
        If there are none, or pickles instead of them.
    """
    where = folder / part
    found = [where] if where.is_file() else sorted(where.glob("*.safetensors"))
    if found:
        return found
    near = where if where.is_dir() else where.parent
    if any(p.suffix in PICKLES for p in near.glob("*")):
        raise NeurovisError(
            f"{what}: {part}: expected safetensors, found pickles alone, which are not loaded; take "
            'their tensors out with: python -c "from neurovis.images.snapshots import to_safetensors; '
            f"to_safetensors('{folder.name}')\" in the folder that holds {folder.name}."
        )
    how = f"fetch it where there is a network: `{get}`" if get else "give the whole folder"
    raise NeurovisError(f"{what}: {part}: its weights are missing in {folder}; {how}.")


def variants(parts: dict[str, list[Path]], half: bool) -> dict[str, str | None]:
    """``fp16`` for parts whose files in 16 bit are to be read, None for the others.

    Parameters
    ----------
    parts : dict of list of Path
        Safetensors of each part.
    half : bool
        Whether the weights are to be in 16 bit: then such files are read where they are there; or else
        only if something is there in no other form.
    """
    small = {part: any(".fp16." in p.name for p in files) for part, files in parts.items()}
    whole = {part: any(".fp16." not in p.name for p in files) for part, files in parts.items()}
    half = half or any(small[part] and not whole[part] for part in parts)
    return {part: "fp16" if half and small[part] else None for part in parts}


def hash_files(folders: Iterable[tuple[str, Path]]) -> str:
    """SHA-256 over named files; one of the Hugging Face cache carries its own in its name.

    Parameters
    ----------
    folders : iterable of (str, Path)
        What each file is called, wherever it lies, and the file.
    """
    digest = hashlib.sha256()
    for name, path in sorted(folders):
        real = path.resolve().name
        known = len(real) == 64 and all(c in "0123456789abcdef" for c in real)
        digest.update(f"{name} {real if known else sha256(path)}\n".encode())
    return digest.hexdigest()


def load(what: str, cls: Any, folder: Path, **options: Any) -> Any:
    """``cls.from_pretrained`` from a folder alone: no network, no pickle, no code of the folder.

    Raises
    ------
    NeurovisError
        If the folder does not hold what the class asks for.
    """
    try:
        with quiet():
            return cls.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, **options
            )
    except (*load_errors(), ImportError) as error:
        raise unfit(what, folder, error) from error


def unfit(what: str, folder: Path, error: Exception) -> NeurovisError:
    """Error for weights that do not load."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return NeurovisError(
        f"{what}: {folder}: expected the whole weights of this model, found something that does not "
        f"load ({reason}); fetch the folder anew, or give that of the right model."
    )


def to_safetensors(folder: str | Path) -> list[Path]:
    """Write the tensors of pickled weights as safetensors beside them; nothing in them is executed.

    Parameters
    ----------
    folder : path
        Of a diffusers or transformers model, with its parts in folders of their own.

    Returns
    -------
    list of Path
        The files written; those that were there already are left alone.

    Raises
    ------
    NeurovisError
        If there are no pickles, or one holds more than tensors.
    """
    folder = Path(folder)
    pickles = sorted(p for p in folder.rglob("*model*") if p.suffix in PICKLES)
    if not pickles:
        raise NeurovisError(f"{folder}: expected pickled weights, found none; give their folder.")
    written = []
    for path in pickles:
        # transformers and diffusers call the two by different names
        name = path.stem.replace("pytorch_model", "model") if path.stem[0] == "p" else path.stem
        target = path.with_name(f"{name}.safetensors")
        if target.exists():
            continue
        try:
            state = read_weights(path)
        except load_errors() as error:
            raise unfit("to_safetensors", path, error) from error
        save_tensors(target, state, format="pt")
        written.append(target)
    return written


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No bars and no hints of the libraries' own while weights load; errors are raised all the same."""
    import diffusers
    import transformers

    both = [diffusers.utils.logging, transformers.utils.logging]
    before = [one.get_verbosity() for one in both]
    try:
        for one in both:
            one.set_verbosity_error()
            one.disable_progress_bar()
        yield
    finally:
        for one, level in zip(both, before):
            one.set_verbosity(level)
            one.enable_progress_bar()
