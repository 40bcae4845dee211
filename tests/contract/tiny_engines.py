"""The smallest models that the suites of engines work on, and the head of a recipe that runs in seconds."""

LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "initializer_range": 0.1,
}
ECHO = {"model_type": "echo"}
ON_CPU = {"use": "transformers", "device": "cpu"}
HEAD = """\
r1: 1
name: suites
engines: {policy: echo, sampler: echo}
stages:
  base: {train: {use: sft, lr: 0.2, epochs: 4}, model: {scratch: {model_type: echo}}, data: {use: echo}}
"""
