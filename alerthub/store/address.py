"""The address of a database as people write it, and as the toolkit reads it. Of PostgreSQL it may name several hosts: the one
that takes writes is found at each connection."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

DRIVER = "postgresql+psycopg://"
SEVERAL = re.compile(r"(?P<who>[^:/?@]*(?::[^@]*)?@)?(?P<hosts>[^/?@]*,[^/?@]*)(?P<path>/[^?]*)?(?:\?(?P<query>.*))?", re.DOTALL)
HOST = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>\d*))?")
PORT = "5432"
WRITABLE = "target_session_attrs"       # libpq's word: which of the hosts will do


def normal_url(url: str) -> str:
    """`postgresql://…` means psycopg 3, and may name several hosts as libpq's own addresses do; `sqlite:///relative.db` stays
    as it is."""
    for prefix in (DRIVER, "postgresql://", "postgres://"):
        if url.startswith(prefix):
            return DRIVER + of_several(url.removeprefix(prefix))
    return url


def of_several(rest: str) -> str:
    """`a:1,b:2/name` as the toolkit has it. Only a host that takes writes is of use, so that is asked for unless something is."""
    found = SEVERAL.fullmatch(rest)
    places = [HOST.fullmatch(place) for place in found["hosts"].split(",")] if found else []
    if found is None or not all(places):
        return rest
    hosts = ",".join(place["host"].strip("[]") for place in places if place)
    ports = ",".join(place["port"] or PORT for place in places if place)
    query = [found["query"]] if found["query"] else []
    attrs = [] if WRITABLE in (found["query"] or "") else [f"{WRITABLE}=read-write"]
    return f"{found['who'] or ''}{found['path'] or '/'}?" + "&".join([f"host={hosts}", f"port={ports}", *query, *attrs])


def password_of(url: str) -> str:
    """The password in a database address; empty without one. ValueError, which never repeats it, for what is no address."""
    try:
        return str(make_url(normal_url(url)).password or "")
    except (ArgumentError, ValueError):
        raise ValueError("not a database address") from None


class Hosts:
    """Whom to ask first: the host that was found last. One that is gone without a word would cost each connection its whole
    patience. For any thread."""

    def __init__(self) -> None:
        self.last = ("", "")

    def arranged(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a connection with that one first, where they name it and others."""
        hosts, ports = (str(parameters.get(name) or "").split(",") for name in ("host", "port"))
        places, last = list(zip(hosts, ports, strict=False)), self.last
        if len(hosts) != len(ports) or len(hosts) == 1 or last not in places:
            return dict(parameters)
        places.sort(key=lambda place: place != last)
        host, port = (",".join(column) for column in zip(*places, strict=True))
        return {**parameters, "host": host, "port": port}

    def found(self, host: str, port: int) -> None:
        self.last = host, str(port)
