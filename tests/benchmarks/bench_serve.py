"""`r1 serve` under 32 clients against one `model.generate` per request in turn, and under clients that disconnect.

    python tests/benchmarks/bench_serve.py [--requests 2000]

A random model of 3M parameters, 64 tokens; half the requests at the server's own temperature and top-p, half at 1.
Every answer's ids are scored again under their own prompt.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))
from tiny_model import TEMPLATE, write_tokenizer

from r1core.nn import create_model, load_lm

CLIENTS, TOKENS, AHEAD, TOLERANCE = 32, 64, 4.0, 1e-3
SHAPE = {"model_type": "qwen2", "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}
SHAPE |= {"num_key_value_heads": 2, "intermediate_size": 704, "tie_word_embeddings": True}


def body(seed: int, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": " ".join(f"w{(seed + i) % 32}" for i in range(1 + seed % 12))}]
    common = {"model": "tiny", "max_tokens": TOKENS, "logprobs": True}
    settings = {"temperature": 1.0, "top_p": 1.0} if seed % 2 else {}
    return {**common, **settings, "messages": messages, "seed": seed, "return_token_ids": True, **more}


def ask(client: httpx.Client, seed: int, leaves: float) -> dict[str, Any] | None:
    """The answer; None for a client that went away before its end."""
    if random.Random(seed).random() >= leaves:
        reply = client.post("/v1/chat/completions", json=body(seed))
        reply.raise_for_status()
        answer: dict[str, Any] = reply.json()
        return answer
    with client.stream("POST", "/v1/chat/completions", json=body(seed, stream=True)) as stream:
        stream.raise_for_status()
        for count, _ in enumerate(stream.iter_lines()):
            if count > seed % 40:
                break
    return None


@torch.no_grad()
def worst(module: Any, answer: dict[str, Any]) -> float:
    choice, prompt = answer["choices"][0], answer["prompt_token_ids"]
    ids = torch.tensor([prompt + choice["token_ids"]])
    logs = module(ids).logits[0, len(prompt) - 1 : -1].float().log_softmax(-1)
    again = logs.gather(1, ids[0, len(prompt) :, None]).squeeze(1)
    told = torch.tensor([entry["logprob"] for entry in choice["logprobs"]["content"]])
    return float((again - told).abs().max())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=2000)
    count = parser.parse_args().requests
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "tiny"
        folder.mkdir()
        write_tokenizer(folder, template=TEMPLATE)
        create_model(folder, SHAPE, seed=0)
        module = load_lm(folder, dtype=torch.float32).eval()
        print(f"{sum(p.numel() for p in module.parameters()) / 1e6:.1f}M parameters, load {os.getloadavg()[0]:.1f}")
        line = [sys.executable, "-c", "from r1core.cli import main; main()", "serve", str(folder), "--port", "0"]
        server = subprocess.Popen([*line, "--engine", "native"], stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        address = re.search(r"http://[\d.:]+", server.stdout.readline())
        assert address
        limits = httpx.Limits(max_connections=CLIENTS)
        with (
            httpx.Client(base_url=address[0], timeout=120, limits=limits) as client,
            ThreadPoolExecutor(CLIENTS) as pool,
        ):
            first = ask(client, 0, 0.0)
            began_s = time.perf_counter()
            answers = list(pool.map(lambda seed: ask(client, seed, 0.0), range(256)))
            served = sum(len(a["choices"][0]["token_ids"]) for a in answers if a) / (time.perf_counter() - began_s)
            began_s, made = time.perf_counter(), 0
            for answer in answers[:16]:
                assert answer
                prompt = torch.tensor([answer["prompt_token_ids"]])
                made += module.generate(prompt, max_new_tokens=TOKENS, do_sample=True).shape[1] - prompt.shape[1]
            alone = made / (time.perf_counter() - began_s)
            print(f"served {served:.0f} tokens/s, generate in turn {alone:.0f}: {served / alone:.1f} times")
            results = list(pool.map(lambda seed: ask(client, seed, 0.3), range(count)))
            whole = [answer for answer in results if answer]
            time.sleep(1)
            health = client.get("/health").json()
        error = max(worst(module, answer) for answer in [*whole, first] if answer)
        print(f"{count} requests: {len(whole)} whole, {count - len(whole)} left; largest difference {error:.1e}")
        print(json.dumps(health))
        server.terminate()
        code = server.wait(30)
        leaving = sum(random.Random(seed).random() < 0.3 for seed in range(count))
        good = len(whole) == count - leaving and error < TOLERANCE and health["rows"] == 0 and code == 0
        sys.exit(0 if good and health["cancelled_rows"] > 0 and served / alone >= AHEAD else 1)


if __name__ == "__main__":
    main()
