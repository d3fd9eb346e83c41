"""One map over subjects and runs: in this process, in processes of this machine, or as a Slurm array.

Comes in: a function and the arguments of each call. Goes out: what the calls return, in the order of
the arguments whatever finishes first, so that nothing depends on how many work at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pydantic

from neurovis.config import Config
from neurovis.errors import NeurovisError, missing_package
from neurovis.progress import progress

__all__ = ["Workers"]


class Workers(Config):
    """Who does the work; never part of a fingerprint.

    Parameters
    ----------
    n_jobs : int
        Calls at a time on this machine; on a cluster, cores asked for each of its jobs.
    cluster : {"none", "slurm", "local"}
        ``slurm``: one array job through submitit, this process waits for it; ``local``: the same way
        on this machine, to try it.
    partition : str
        Of the cluster; empty for its default.
    minutes, memory_gb : int
        Asked for each job of the cluster.
    """

    n_jobs: int = pydantic.Field(1, ge=1)
    cluster: Literal["none", "slurm", "local"] = "none"
    partition: str = ""
    minutes: int = pydantic.Field(240, ge=1)
    memory_gb: int = pydantic.Field(16, ge=1)

    def map(
        self,
        function: Callable[..., Any],
        tasks: Sequence[tuple],
        folder: Path,
        desc: str = "",
        quiet: bool = False,
    ) -> Iterator[Any]:
        """Results of ``function(*task)``, in order.

        Parameters
        ----------
        function : callable
            Of a module, so that another process can import it.
        tasks : sequence of tuple
        folder : Path
            Where a cluster's logs go; seen by all its machines.
        desc : str
        quiet : bool

        Raises
        ------
        NeurovisError
            If submitit is missing, or a job of the cluster died; its log is named.
        """
        if self.cluster != "none":
            made = self._submitted(function, tasks, folder)
        elif self.n_jobs == 1 or len(tasks) < 2:
            return (function(*task) for task in tasks)
        else:
            from joblib import Parallel, delayed

            made = Parallel(n_jobs=min(self.n_jobs, len(tasks)), return_as="generator")(
                delayed(function)(*task) for task in tasks
            )
        return progress(made, desc, total=len(tasks), quiet=quiet)

    def inside(self, n_tasks: int) -> Workers:
        """Who does the work within each of so many tasks: what this machine has left."""
        left = self.n_jobs if self.cluster != "none" else self.n_jobs // max(1, n_tasks)
        return Workers(n_jobs=max(1, left))

    def _submitted(
        self, function: Callable[..., Any], tasks: Sequence[tuple], folder: Path
    ) -> Iterator[Any]:
        try:
            import submitit
        except ImportError:
            raise missing_package("submitit", "slurm") from None
        executor = submitit.AutoExecutor(folder=folder / "%j", cluster=self.cluster)
        executor.update_parameters(
            name="neurovis", timeout_min=self.minutes, mem_gb=self.memory_gb,
            cpus_per_task=self.n_jobs,
        )  # fmt: skip
        if self.partition:
            executor.update_parameters(slurm_partition=self.partition)
        jobs = executor.map_array(function, *zip(*tasks, strict=True)) if tasks else []
        try:
            for job in jobs:
                try:
                    yield job.result()
                except NeurovisError:
                    raise
                except Exception as error:  # submitit wraps whatever happened in the job
                    lines = [line.strip() for line in str(error).split("\n")]
                    said = next((x for x in reversed(lines) if "Error: " in x), lines[0])[:200]
                    raise NeurovisError(
                        f"{self.cluster} job {job.job_id} failed: {said}; its log is "
                        f"{job.paths.stderr}, run the same command again to go on."
                    ) from error
        finally:
            for job in jobs:
                if not job.done():
                    job.cancel()
