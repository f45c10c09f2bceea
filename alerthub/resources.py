"""Where the folders that travel with the program are: inside the installed package, or beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

from alerthub.errors import AlerthubError

PACKAGE = Path(__file__).parent
DATA = "_data"      # pyproject.toml puts the folders here in the wheel


def folder(name: str, package: Path = PACKAGE) -> Path:
    """The folder `migrations` or `runbooks`. The wheel carries it in the package; a checkout has it beside the package.

    Raises AlerthubError, naming both places, when it is in neither.
    """
    places = (package / DATA / name, package.parent / name)
    for place in places:
        if place.is_dir():
            return place
    raise AlerthubError(f"the folder {name} is neither {places[0]} nor {places[1]}; install the package again")
