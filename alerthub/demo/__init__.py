"""`alerthub demo`: the real hub, a toy agent, and local counterparts of all that is outside, told as a story in a terminal."""

from alerthub.demo.stage import run_demo

__all__ = ["run_demo"]
