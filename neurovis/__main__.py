"""``python -m neurovis``: the command, for ``torchrun -m neurovis train EXPERIMENT.yaml``."""

from __future__ import annotations

from neurovis.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
