"""What a job's process needs around it."""

from __future__ import annotations

import os
import pwd
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from promet.core.errors import UsageError

PACKAGE = Path(__file__).parents[1]
# The source tree around the package, or the copy of it that a wheel brings inside of the package.
AROUND = PACKAGE.parents[1]
SOURCE = AROUND if (AROUND / "workflow/Snakefile").exists() else PACKAGE / "tree"
# What promet needs of the source tree beside the package itself.
PARTS = (
    "Snakefile",
    "workflow/Snakefile",
    "workflow/rules",
    "workflow/report",
    "config/config.yaml",
    "envs/bin/promet",
    "profiles/default",
)
CACHES = ("XDG_CACHE_HOME", "CUDA_CACHE_PATH", "NUMBA_CACHE_DIR")


def require_source(*parts: str) -> None:
    """Refuse what needs the source tree where there is only a part of it.

    Raises:
        UsageError: it names what is missing.
    """
    gone = [part for part in parts or PARTS if not (SOURCE / part).exists()]
    if gone:
        raise UsageError(
            "E_NO_SOURCE",
            f"Beside this installation of the package there is no {', no '.join(gone)}",
            "the whole source tree around it, or what a wheel of promet installs",
            "Install it again, from a wheel or with make env in the source tree",
        )


def rule_files() -> list[str]:
    """Names of the files of rules that go with this package."""
    return sorted(path.name for path in (SOURCE / "workflow/rules").glob("*.smk"))


def require_same_rules(paths: Mapping[str, str | os.PathLike[str]]) -> None:
    """Refuse rules of another version of promet, which may call commands that this one does not have.

    Args:
        paths: where the workflow's files of rules are, by name.

    Raises:
        UsageError: ``E_WORKFLOW_OTHER``.
    """
    others = [
        name
        for name, path in paths.items()
        # Snakemake leaves the last line end out when it takes a file from git.
        if Path(path).read_bytes().rstrip() != (SOURCE / "workflow/rules" / name).read_bytes().rstrip()
    ]
    if others:
        raise UsageError(
            "E_WORKFLOW_OTHER",
            f"The rules in {', '.join(others)} are not those of the promet that is installed here",
            "workflow and package of one version",
            "Install the package of the tag that workflow/Snakefile names, or name the tag of the package (promet --version)",
        )


def own_commands_first() -> None:
    """Let jobs find promet, whichever software environment they run in.

    First in PATH comes ``envs/bin/promet``, which runs this source tree with the first ``python3`` in PATH: that of a
    rule's own environment (conda, module) or, behind it, that of this process, so that none has to be activated. A
    site that wraps promet in a container names the folder of its wrapper in ``PROMET_BIN``.
    """
    folders = [os.environ.get("PROMET_BIN") or str(SOURCE / "envs/bin"), str(Path(sys.executable).parent)]
    # Silent stand-ins for accounting commands that a login node may lack, behind everything else.
    last = str(SOURCE / "profiles/slurm/bin")
    paths = os.environ.get("PATH", "").split(os.pathsep)
    rest = [path for path in paths if path not in (*folders, last)]
    os.environ["PATH"] = os.pathsep.join([*folders, *rest, last])
    somebody()
    _caches_on_local_disk()


def user_name() -> str:
    """Name of the user; of a user id that no list of users holds, as in containers, what the environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return os.environ.get("LOGNAME") or os.environ.get("USER") or f"uid-{os.getuid()}"


def user_number() -> str:
    """The user as SLURM's commands take it, whether or not there is a name."""
    return str(os.getuid())


def somebody() -> None:
    """Give a user id without a name a name and a home: libraries ask for both, and end when there is none."""
    name = user_name()
    for variable in ("LOGNAME", "USER"):
        os.environ.setdefault(variable, name)
    if os.path.expanduser("~") in ("~", "/") and not os.access(os.path.expanduser("~"), os.W_OK):
        os.environ["HOME"] = tempfile.gettempdir()


def _caches_on_local_disk() -> None:
    """Keep the libraries' caches in the temporary folder of the node, off a home that is shared, full or read-only.

    Leaves alone what the user has set. A folder of somebody else is not used: some caches hold code.
    """
    folder = Path(tempfile.gettempdir(), f"promet-caches-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        mine = not folder.is_symlink() and folder.stat().st_uid == os.getuid()
    except OSError:
        mine = False
    for name in CACHES:
        value = os.environ.get(name)
        if value is None or Path(value).name == folder.name:  # inherited from the node that submitted
            os.environ.pop(name, None)
            if mine:
                os.environ[name] = str(folder)
