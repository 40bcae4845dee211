"""The judge of recipes/judge_server.py at work in this process: no model has cases that hold for all others."""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import Iterator

from r1core.recipe.shipped import shipped_folder


@contextlib.contextmanager
def judging() -> Iterator[str]:
    """Its URL, until the block ends."""
    spec = importlib.util.spec_from_file_location("judge_server", shipped_folder() / "judge_server.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.Server(("127.0.0.1", 0), module.Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()
