"""Found by Snakemake under this name: ``snakemake --logger promet`` shows a run as ``promet run`` does."""

from promet.workflow.progress import LogHandler

__all__ = ["LogHandler"]
