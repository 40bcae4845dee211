"""Train stages that several processes work off together: `run_ranks` starts them and listens to them."""

from r1core.ranks.group import own_folder, run_ranks

__all__ = ["own_folder", "run_ranks"]
