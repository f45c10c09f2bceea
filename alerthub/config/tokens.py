"""The own tokens of people: whoever shows one is that person, so no two may be the same."""

from __future__ import annotations

from collections.abc import Iterator

from alerthub.config.model import ConfigModel
from alerthub.config.reader import Document
from alerthub.errors import Problem
from alerthub.hashing import hashed
from alerthub.settings import revealed


def tokens_of(model: ConfigModel) -> dict[str, str]:
    """Names by the SHA-256 of their token: what is kept of it while the hub runs."""
    return {hashed(token): person.name for person in model.people if (token := revealed(person.api_token))}


def check_tokens(document: Document, model: ConfigModel) -> Iterator[Problem]:
    """One that is somebody else's too, or everybody's, would make one of them speak with the other's voice."""
    shared = revealed(model.server.api_token)
    owners = {hashed(shared): "server.api_token"} if shared else {}
    for index, person in enumerate(model.people):
        token = revealed(person.api_token)
        if token and hashed(token) in owners:
            yield document.problem(("people", index), f"the api_token of {person.name} is also that of {owners[hashed(token)]}; "
                                   "give each person a token of their own")
        elif token:
            owners[hashed(token)] = person.name
