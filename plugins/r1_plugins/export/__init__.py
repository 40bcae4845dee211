"""Export a model for others: weights, card, generation config, checked chat template; GGUF and the hub when asked.

    r1 export runs/deepseek-r1/stages/student_distilled my-r1
    r1 export my-adapter my-r1 --base Qwen2.5-7B --dtype bfloat16
    r1 export my-r1 my-gguf --gguf q8_0 --converter ~/llama.cpp

The folder is loaded again and held against its source before it gets its name, so what is there is whole and right.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from r1core.hookspecs import hookimpl

GGUF_TYPES = ("f32", "f16", "bf16", "q8_0", "tq1_0", "tq2_0", "auto")
GB = 10**9


@click.command("export")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--dtype",
    default="as-is",
    show_default=True,
    type=click.Choice(["as-is", "bfloat16", "float16", "float32"]),
    help="Format of the weights.",
)
@click.option("--base", type=click.Path(path_type=Path), help="The model that MODEL, a LoRA adapter, is merged into.")
@click.option("--license", "license_", metavar="ID", help="Its licence, such as apache-2.0; else that of the base.")
@click.option("--chat-template", type=click.Path(path_type=Path), help="A Jinja file in place of the model's own.")
@click.option(
    "--allow-lost-thinking", is_flag=True, help="Export a template that drops the thinking of the last answer."
)
@click.option(
    "--max-shard-gb", default=5.0, show_default=True, type=click.FloatRange(min=0, min_open=True), help="Of one file."
)
@click.option("--force", is_flag=True, help="Overwrite OUT although it is no earlier export.")
@click.option(
    "--gguf", is_flag=False, flag_value="f16", type=click.Choice(GGUF_TYPES), help="Also a GGUF (f16) and a Modelfile."
)
@click.option("--converter", type=click.Path(path_type=Path), help="convert_hf_to_gguf.py, or llama.cpp's folder.")
@click.option(
    "--converter-timeout-s",
    default=3600.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Then it is ended.",
)
@click.option(
    "--push-to-hub", metavar="NAME", help="Upload it as NAME (owner/model), private; sent nowhere without this."
)
@click.option("--public", is_flag=True, help="With --push-to-hub: for everyone to see.")
def export(
    model: Path,
    out: Path,
    dtype: str,
    base: Path | None,
    license_: str | None,
    chat_template: Path | None,
    allow_lost_thinking: bool,
    max_shard_gb: float,
    force: bool,
    gguf: str | None,
    converter: Path | None,
    converter_timeout_s: float,
    push_to_hub: str | None,
    public: bool,
) -> None:
    """Export a model for others to use.

    MODEL is a stage's folder in a run, a Hugging Face folder, or a LoRA adapter's; OUT a new folder.
    """
    from r1_plugins.export.command import Asked, carry_out

    carry_out(
        Asked(
            model=model,
            out=out,
            dtype=None if dtype == "as-is" else dtype,
            base=base,
            license=license_,
            template=chat_template,
            lost_thinking=allow_lost_thinking,
            shard_bytes=int(max_shard_gb * GB),
            force=force,
            gguf=gguf,
            converter=converter,
            converter_timeout_s=converter_timeout_s,
            hub=push_to_hub,
            public=public,
        )
    )


@hookimpl
def r1_commands() -> Iterable[click.Command]:
    """The command `export`."""
    return [export]
