"""What a protocol's text says to those who show a number: selected on test, or as a paper did it.

Comes in: the protocol of a `Score`, parts of it separated by semicolons. Goes out: the sentence that
must stand above the number. The text is all there is: whoever has the score has the flag.
"""

from __future__ import annotations

FLAG = "NOT CLEAN"
PUBLISHED = "as published"


def warning(protocol: str) -> str:
    """What must stand above every number of this protocol; empty where it is clean."""
    for part in protocol.split("; "):
        if part.startswith(FLAG):
            return (
                f"{part}. These numbers reproduce a published procedure and overstate what the decoder "
                "does on new data."
            )
        if part.startswith(PUBLISHED):
            return f"Protocol {part}."
    return ""


def judged(protocol: str) -> str:
    """What judged the epochs under a protocol: ``validation``, ``test``, or nothing (empty)."""
    parts = protocol.split("; ")
    if any(part.startswith(FLAG) for part in parts):
        return "test"
    return "" if any(part.startswith(PUBLISHED) for part in parts) else "validation"


def carried(protocol: str, model: str, notes: list[str]) -> str:
    """A protocol stated for a prediction, with the flag that the prediction itself carries."""
    flag = warning(model)
    if flag and not warning(protocol):
        notes.append(flag)
        return f"{protocol}; {model.partition('; ')[2]}"
    return protocol
