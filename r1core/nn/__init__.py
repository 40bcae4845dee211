"""The one torch room: batches of tokens, log-probabilities in chunks, decoding. Imported only by plugins."""

from r1core.nn.alignment import END, comparable, matching, starts
from r1core.nn.batch import Batch, collate, first_counted, graded, micro_batches, shares
from r1core.nn.decode import Decoded, Decoder, end_token_ids
from r1core.nn.divergence import divergence, on_support
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
from r1core.nn.live import Drawn, LiveDecoder
from r1core.nn.lm_head import LMHead
from r1core.nn.loading import SCORE, load_lm, load_score_model, no_progress_bars
from r1core.nn.lora import Part, add_adapters, parts
from r1core.nn.measure import CONVENTIONS, Convention, Kind, Measure, Tail
from r1core.nn.moved import Proof, refuse_frozen
from r1core.nn.open_batch import Unread
from r1core.nn.packing import pack
from r1core.nn.text import ChatText, load_tokenizer
from r1core.nn.tokens import TokenReader
from r1core.nn.typing_out import Stops, Writer
from r1core.nn.view import TokenView

__all__ = [
    "CONVENTIONS",
    "END",
    "SCORE",
    "Batch",
    "ChatText",
    "Convention",
    "Decoded",
    "Decoder",
    "Drawn",
    "Kind",
    "LMHead",
    "LiveDecoder",
    "Measure",
    "Part",
    "Proof",
    "Stops",
    "Tail",
    "TokenReader",
    "TokenView",
    "Unread",
    "Writer",
    "add_adapters",
    "as_exported",
    "checkpoint_gradients",
    "collate",
    "comparable",
    "compute_in_half",
    "copy_tokenizer",
    "create_model",
    "divergence",
    "end_token_ids",
    "first_counted",
    "graded",
    "load_lm",
    "load_score_model",
    "load_tokenizer",
    "matching",
    "micro_batches",
    "no_progress_bars",
    "on_support",
    "open_model",
    "pack",
    "parts",
    "recomputing",
    "refuse_frozen",
    "save_model",
    "shares",
    "starts",
    "trained",
    "unsupported_layers",
]
