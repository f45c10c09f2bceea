"""People as the rules know them."""

from __future__ import annotations

from alerthub.domain.person import Person, emails_of


def test_everybody_is_named_with_the_address_or_nothing() -> None:
    ayse = Person("ayse", accounts=frozenset({("slack", "U012AB3CD"), ("email", "ayse@example.com")}))
    mehmet = Person("mehmet", accounts=frozenset({("telegram", "5")}))
    assert emails_of([ayse, mehmet]) == {"ayse": "ayse@example.com", "mehmet": ""}
