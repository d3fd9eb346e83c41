"""Getting what a manifest names from its owners, and saying what of it is there.

Comes in: a manifest, a root. Goes out: whole files. `sources` lists them, `plan` chooses, `download` gets
one, `state` remembers, `run` is the command, `look` says what is there without a network.
"""

from neurovis.fetch.look import Look, look
from neurovis.fetch.run import Outcome, amount, fetch
from neurovis.fetch.web import Where, tokens

__all__ = ["Look", "Outcome", "Where", "amount", "fetch", "look", "tokens"]
