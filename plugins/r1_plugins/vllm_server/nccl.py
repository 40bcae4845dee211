"""`transfer: native`: vLLM's own weight transfer over NCCL, spoken with torch alone, so that a trainer needs no vLLM.

Each server has a communicator of its own with this process as rank 0 and the server's workers behind it: one that dies
or joins again concerns no other. The id is made here and travels over HTTP; vLLM opens with an all-reduce of one
element, then each bucket is one broadcast of bytes, as its packed form has it (vllm.distributed.weight_transfer).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from r1_plugins.vllm_server.servers import WHERE, Line, Server
from r1_plugins.vllm_server.transfer import Bucket
from r1core.endpoints import EndpointError
from r1core.errors import SetupError

if TYPE_CHECKING:
    import torch

POLL_S = 0.001
DEBUG = "look for its reason with NCCL_DEBUG=INFO, here and where the server runs"
MOST_BYTES = 2**31 - 1
"""Of one broadcast through torch's NCCL."""


@dataclass(frozen=True)
class Parcel:
    """A bucket as one row of bytes on the device, and what lies in it."""

    flat: torch.Tensor
    told: dict[str, Any]


class Nccl:
    """The way from GPU to GPU."""

    def __init__(self, bucket_bytes: int) -> None:
        self._bucket_bytes = bucket_bytes
        self._comms: dict[int, Any] = {}

    async def open(self, line: Line) -> None:
        """Make a communicator with the server's workers; an older one of a server that was started again is left."""
        import torch

        if not torch.cuda.is_available():
            raise SetupError(
                "transfer native goes from GPU to GPU, and this process has none",
                where=WHERE,
                fix="say transfer: files, and a folder",
            )
        workers = int((await line.control.get("/get_world_size"))["world_size"])
        with contextlib.suppress(EndpointError):
            await line.control.post("/shutdown_weight_transfer_engine", {})
        unique = _nccl().unique_id()
        device = torch.cuda.current_device()
        joined = asyncio.get_running_loop().create_future()
        join = threading.Thread(target=_join, args=(joined, unique, workers + 1, device), daemon=True)
        join.start()  # a thread that may be left: it waits for all workers, who may never come
        init = {"init_info": init_info(unique, workers, self._bucket_bytes)}
        told = asyncio.create_task(line.control.post("/init_weight_transfer_engine", init))
        await told
        try:
            self._comms[id(line.server)] = await asyncio.wait_for(joined, line.server.endpoint.timeout_s)
        except TimeoutError:
            where = line.server.endpoint.origin + "/init_weight_transfer_engine"
            raise EndpointError.told("its workers did not join over NCCL", where=where, fix=DEBUG) from None

    def prepare(self, bucket: Bucket, *, version: str) -> Parcel:
        """Lay them side by side."""
        import torch

        flat = torch.cat([tensor.view(-1).view(torch.uint8) for _, tensor in bucket])
        if flat.numel() > MOST_BYTES:
            name, tensor = max(bucket, key=lambda entry: entry[1].nbytes)
            raise SetupError(
                f"weight {name} has {tensor.nbytes / 2**30:.1f} GiB, more than one broadcast takes (2 GiB)",
                where=WHERE,
                fix="say transfer: files, and a folder",
            )
        torch.cuda.current_stream().synchronize()
        return Parcel(flat, update_info(bucket))

    async def send(self, line: Line, parcel: Parcel) -> None:
        """Broadcast it while the server receives. Raises EndpointError; SetupError when it left in the middle."""
        import torch

        comm = self._comms[id(line.server)]
        told = asyncio.create_task(line.control.post("/update_weights", {"update_info": parcel.told}))
        stream: Any = torch.cuda.Stream(parcel.flat.device)  # type: ignore[no-untyped-call]
        with torch.cuda.device(parcel.flat.device):
            _nccl().broadcast([parcel.flat], root=0, streams=[stream], comms=[comm])
        while not stream.query():
            if told.done() and told.exception() is not None:
                raise _broken(line.server) from told.exception()
            await asyncio.sleep(POLL_S)
        await told


def init_info(unique: bytes, workers: int, bucket_bytes: int) -> dict[str, Any]:
    """What the server's workers need to join: `NCCLWeightTransferInitInfo`. A bucket is at most what vLLM takes as one
    buffer, so both sides cut the bytes alike."""
    return {
        "rank_offset": 1,
        "world_size": workers + 1,
        "nccl_unique_id_b64": base64.b64encode(unique).decode("ascii"),
        "packed": True,
        "packed_buffer_size_bytes": bucket_bytes,
        "packed_num_buffers": 2,
    }


def update_info(bucket: Bucket) -> dict[str, Any]:
    """What lies in a bucket: `NCCLWeightTransferUpdateInfo`."""
    return {
        "names": [name for name, _ in bucket],
        "dtype_names": [str(tensor.dtype).removeprefix("torch.") for _, tensor in bucket],
        "shapes": [list(tensor.shape) for _, tensor in bucket],
    }


def _nccl() -> Any:
    import torch

    return torch.cuda.nccl


def _join(joined: asyncio.Future[Any], unique: bytes, size: int, device: int) -> None:
    import torch

    loop = joined.get_loop()
    try:
        with torch.cuda.device(device):
            comm = _nccl().init_rank(size, unique, 0)
            one = torch.zeros(1, device="cuda")
            _nccl().all_reduce([one], comms=[comm])
            torch.cuda.current_stream().synchronize()
    except RuntimeError as error:
        _settle(loop, joined, failure=SetupError(f"NCCL could not be set up: {error}", where=WHERE, fix=DEBUG))
    else:
        _settle(loop, joined, comm=comm)


def _settle(
    loop: asyncio.AbstractEventLoop, joined: asyncio.Future[Any], *, comm: Any = None, failure: SetupError | None = None
) -> None:
    def settle() -> None:
        if joined.done():
            return
        if failure is None:
            joined.set_result(comm)
        else:
            joined.set_exception(failure)

    with contextlib.suppress(RuntimeError):  # nobody waits any more, the loop is closed
        loop.call_soon_threadsafe(settle)


def _broken(server: Server) -> SetupError:
    return SetupError(
        f"{server.endpoint.origin} left in the middle of a broadcast, which NCCL cannot take back",
        where=WHERE,
        fix="start the server again; the same command goes on",
    )
