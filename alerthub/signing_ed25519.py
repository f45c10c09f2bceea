"""The hub's private key for permits (Ed25519). The library is an extra, `alerthub[ed25519]`; nothing else needs it."""

from __future__ import annotations

try:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    IS_INSTALLED = True
except ImportError:
    IS_INSTALLED = False

MAKE_ONE = "make one: openssl genpkey -algorithm ed25519 -out permit.pem"


def read_private(pem: str) -> Ed25519PrivateKey:
    """The key of a PEM text (PKCS#8). Raises ValueError, without the key in it, for everything else."""
    if not IS_INSTALLED:
        raise ValueError("a key for Ed25519 needs one more library; install alerthub[ed25519], or use secret_file")
    try:
        key = load_pem_private_key(pem.encode(), None)
    except TypeError:       # as the library says it
        raise ValueError("the key is locked with a password; write it without one: openssl pkey -in locked.pem "
                         "-out permit.pem") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"not a private key as PEM (PKCS#8); {MAKE_ONE}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"a private key, but not one for Ed25519; {MAKE_ONE}")
    return key
