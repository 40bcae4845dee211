"""The one torch room: batches of tokens, log-probabilities in chunks, decoding. Imported only by plugins."""

from r1core.nn.batch import Batch, collate, first_counted, micro_batches, shares
from r1core.nn.decode import Decoded, Decoder, end_token_ids
from r1core.nn.folder import (
    as_exported,
    checkpoint_gradients,
    compute_in_half,
    copy_tokenizer,
    create_model,
    open_model,
    recomputing,
    save_model,
    trained,
)
from r1core.nn.forward import unsupported_layers
from r1core.nn.loading import SCORE, load_lm, load_score_model, no_progress_bars
from r1core.nn.lora import Part, add_adapters, parts
from r1core.nn.moved import Proof, refuse_frozen
from r1core.nn.packing import pack
from r1core.nn.text import ChatText, load_tokenizer
from r1core.nn.tokens import TokenReader
from r1core.nn.view import TokenView

__all__ = [
    "SCORE",
    "Batch",
    "ChatText",
    "Decoded",
    "Decoder",
    "Part",
    "Proof",
    "TokenReader",
    "TokenView",
    "add_adapters",
    "as_exported",
    "checkpoint_gradients",
    "collate",
    "compute_in_half",
    "copy_tokenizer",
    "create_model",
    "end_token_ids",
    "first_counted",
    "load_lm",
    "load_score_model",
    "load_tokenizer",
    "micro_batches",
    "no_progress_bars",
    "open_model",
    "pack",
    "parts",
    "recomputing",
    "refuse_frozen",
    "save_model",
    "shares",
    "trained",
    "unsupported_layers",
]
