r"""The protocol of a remote sandbox: SandboxFusion's `POST /run_code`, and how a program or a call goes by it.

    {"code": "print(input())", "language": "python", "stdin": "1\n", "run_timeout": 4.0, "memory_limit_MB": 512}
    {"status": "Success" | "Failed" | "SandboxError", "message": "",
     "run_result": {"status": "Finished" | "TimeLimitExceeded" | "Error", "return_code": 0, "stdout": "1\n"}}

Other keys of the reply are not read. A function is called by a program of ours, which gets answer and input by stdin
and says what the call gave in one line with a nonce: there is no private pipe, but no expected output either.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from r1_plugins.code.inside.wire import decode, encode
from r1_plugins.code.pipes import CellError, failure_of

PATH = "/run_code"
_MODULES = ("wire", "calling")
_CALLER = """
import json, sys, types
job = json.loads(sys.stdin.read())
sys.modules["inside"] = types.ModuleType("inside")
sys.modules["inside"].__path__ = []
for name, source in job["modules"].items():
    module = sys.modules["inside." + name] = types.ModuleType("inside." + name)
    module.__package__ = "inside"
    exec(compile(source, name + ".py", "exec"), module.__dict__)
calling, wire = sys.modules["inside.calling"], sys.modules["inside.wire"]
function, reply = calling.load(job["code"], job["entry_point"])
if function is not None:
    reply = calling.called(function, [wire.decode(argument) for argument in job["arguments"]])
print("\\n" + job["nonce"] + " " + json.dumps(reply), flush=True)
"""


class SandboxTroubleError(Exception):
    """The sandbox said that it failed itself."""


def request(code: str, stdin: str, *, timeout_s: float, memory_mib: int) -> dict[str, Any]:
    """The body that runs a program."""
    return {
        "code": code.encode("utf-8", "replace").decode(),  # half a surrogate is no text that servers take
        "language": "python",
        "stdin": stdin,
        "run_timeout": timeout_s,
        "memory_limit_MB": memory_mib,
    }


def caller(code: str, entry_point: str, arguments: tuple[Any, ...], nonce: str) -> tuple[str, str]:
    """(program, stdin) that call a function once."""
    folder = Path(__file__).parent / "inside"
    job = {
        "modules": {name: (folder / f"{name}.py").read_text(encoding="utf-8") for name in _MODULES},
        "code": code,
        "entry_point": entry_point,
        "arguments": [encode(argument) for argument in arguments],
        "nonce": nonce,
    }
    return _CALLER, json.dumps(job)


def printed(reply: Any) -> str:
    """What the program printed. Raises CellError with the reason for which it failed, SandboxTroubleError where the
    sandbox did, ValueError for what is no reply."""
    if not isinstance(reply, dict) or reply.get("status") not in ("Success", "Failed", "SandboxError"):
        raise ValueError("a reply without a status")
    if reply["status"] == "SandboxError":
        raise SandboxTroubleError(str(reply.get("message", ""))[:200])
    result = reply.get("run_result")
    if not isinstance(result, dict) or result.get("status") not in ("Finished", "TimeLimitExceeded"):
        raise ValueError("a reply without a run_result that is finished")
    if result["status"] == "TimeLimitExceeded":
        raise CellError("timeout")
    code, stdout = result.get("return_code"), result.get("stdout")
    if not isinstance(code, int) or not isinstance(stdout, str):
        raise ValueError("a run_result without return_code and stdout")
    if code:
        raise CellError(signal.Signals(-code).name if -code in {*signal.Signals} else "exit_code")
    return stdout


def returned(stdout: str, nonce: str) -> Any:
    """What the function returned. Raises CellError."""
    lines = [line for line in stdout.split("\n") if line.startswith(f"{nonce} ")]
    if len(lines) != 1:
        raise CellError("garbled" if lines else "exited")
    try:
        reply = json.loads(lines[0].removeprefix(f"{nonce} "))
        if "value" in reply:
            return decode(reply["value"])
    except (ValueError, TypeError, RecursionError) as error:
        raise CellError("garbled") from error
    raise CellError(failure_of(reply))
