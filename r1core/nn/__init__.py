"""The one torch room: batches of tokens, log-probabilities in chunks, decoding. Imported only by plugins."""

from r1core.nn.batch import Batch, collate, first_counted, micro_batches
from r1core.nn.decode import Decoded, Decoder, end_token_ids
from r1core.nn.forward import unsupported_layers
from r1core.nn.text import ChatText, load_tokenizer
from r1core.nn.tokens import TokenReader
from r1core.nn.view import TokenView

__all__ = [
    "Batch",
    "ChatText",
    "Decoded",
    "Decoder",
    "TokenReader",
    "TokenView",
    "collate",
    "end_token_ids",
    "first_counted",
    "load_tokenizer",
    "micro_batches",
    "unsupported_layers",
]
