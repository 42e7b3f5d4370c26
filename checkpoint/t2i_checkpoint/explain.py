"""One sentence on why two models differ, in the words of the people who train them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from t2i_checkpoint.rebuild import channels_in, published_name, rebuild, size_text
from t2i_checkpoint.rebuild_unet import unet_config
from t2i_checkpoint.recognise import ModelFamily, recognise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from t2i_checkpoint.architecture import Architecture, ArchitectureDifference
    from t2i_checkpoint.renaming import Renaming

    Config = Mapping[str, Any]
    _Fact = Callable[[Config, Config], str | None]

_CHANNELS = {9: " (inpainting)", 5: " (depth)", 8: " (image editing)"}
_MOST_FACTS = 3


def explain_difference(
    stored: Architecture, wanted: Architecture, difference: ArchitectureDifference, renaming: Renaming | None = None
) -> str:
    """Return what the stored model is and what the job asks for.

    `stored` is in the wanted model's terms as far as a renaming goes; `renaming` is that one, to be mentioned.
    """
    preface = "" if renaming is None or renaming.keeps_names else f"{renaming.described}; "
    if recognise(stored) is not ModelFamily.DIFFUSERS_UNET or recognise(wanted) is not ModelFamily.DIFFUSERS_UNET:
        return f"{preface}stored is {describe(stored)}; the job asks for {describe(wanted)}"
    held, asked = unet_config(stored), unet_config(wanted)
    facts: list[str] = []
    if held is not None and asked is not None:
        published = published_name(held), published_name(asked)
        # Between two published models all else follows from which they are.
        tellers = _FACTS[:2] if all(published) and published[0] != published[1] else _FACTS
        facts = [fact for fact in (tell(held, asked) for tell in tellers) if fact]
    if not facts:
        facts = [count_text(difference, wanted)]
    return preface + "; ".join(facts[:_MOST_FACTS])


def explain_renaming(renaming: Renaming) -> str:
    """Say that a renamed checkpoint fits: `LDM names, same shapes: convertible`."""
    described, *left_out = renaming.described.split("; ", 1)
    fits = f"{described}, same shapes" if renaming.keeps_names else f"{described}, same shapes: convertible"
    return "; ".join([fits, *left_out])


def describe(architecture: Architecture) -> str:
    """Return a noun phrase with its article: `an SD 1.x UNet, 860 M, 4 channels in, cross-attention 768`."""
    rebuilt = rebuild(architecture)
    if rebuilt is None:
        return f"another model, {size_text(architecture)}, {len(architecture)} tensors"
    return f"{'an' if rebuilt.described.startswith(('SD', 'a', 'e')) else 'a'} {rebuilt.described}"


def count_text(difference: ArchitectureDifference, wanted: Architecture) -> str:
    """Return how many tensors agree, and the first that does not."""
    text = (
        f"{difference.matched} of {len(wanted)} tensors agree, {len(difference.missing)} are missing, "
        f"{len(difference.unexpected)} unexpected, {len(difference.mismatched)} of another shape"
    )
    if difference.mismatched:
        return f"{text}; {difference.mismatched[0]}"
    first = next(iter(difference.missing + difference.unexpected), None)
    return text if first is None else f"{text}; the first is {first[:120]}"


def _input(held: Config, asked: Config) -> str | None:
    was, wants = held["in_channels"], asked["in_channels"]
    if was == wants:
        return None
    return (
        f"the stored UNet is {channels_in(was)}{_CHANNELS.get(was, '')}, "
        f"the job asks for {wants}{_CHANNELS.get(wants, '')}"
    )


def _context(held: Config, asked: Config) -> str | None:
    was, wants = held.get("cross_attention_dim"), asked.get("cross_attention_dim")
    if was == wants:
        return None
    if was is None or wants is None:
        without, having = ("stored UNet", "job's") if was is None else ("job's UNet", "stored one")
        return f"the {without} has no cross-attention, the {having} has"
    fact = f"cross-attention {was} against {wants}"
    stored_as, asked_as = published_name(held), published_name(asked)
    if stored_as and asked_as:
        fact += f": an {stored_as} checkpoint in an {asked_as} job"
    return fact


def _output(held: Config, asked: Config) -> str | None:
    was, wants = held["out_channels"], asked["out_channels"]
    return None if was == wants else f"{was} channels out against {wants}"


def _width(held: Config, asked: Config) -> str | None:
    was, wants = held["block_out_channels"], asked["block_out_channels"]
    if was == wants:
        return None
    if len(was) != len(wants):
        return f"{len(was)} levels of {_list(was)} channels, the job asks for {len(wants)} of {_list(wants)}"
    if was[0] != wants[0]:
        return f"the first block is {was[0]} channels wide, the job asks for {wants[0]}"
    return f"levels of {_list(was)} channels, the job asks for {_list(wants)}"


def _of(field: str, words: str) -> _Fact:
    def tell(held: Config, asked: Config) -> str | None:
        was, wants = _levelled(held.get(field), asked.get(field))
        return None if was == wants else f"{words} {_list(was)} against {_list(wants)}"

    return tell


def _blocks(held: Config, asked: Config) -> str | None:
    for field, words in (("down_block_types", "down"), ("mid_block_type", "middle"), ("up_block_types", "up")):
        if held[field] != asked[field]:
            return f"{words} blocks {_list(held[field])} against {_list(asked[field])}"
    return None


def _projection(held: Config, asked: Config) -> str | None:
    was, wants = (config.get("use_linear_projection", False) for config in (held, asked))
    if was == wants or not (held.get("cross_attention_dim") and asked.get("cross_attention_dim")):
        return None
    names = {True: "linear layers", False: "1x1 convolutions"}
    return f"attention projects by {names[was]}, the job asks for {names[wants]} (use_linear_projection)"


_FACTS: tuple[_Fact, ...] = (
    _input,
    _context,
    _output,
    _width,
    _of("layers_per_block", "layers per block"),
    _blocks,
    _projection,
    _of("transformer_layers_per_block", "transformer layers per block"),
    _of("addition_embed_type", "additional embedding"),
    _of("class_embed_type", "class embedding"),
    _of("num_class_embeds", "number of classes"),
    _of("time_embedding_dim", "time embedding width"),
    _of("projection_class_embeddings_input_dim", "projected embedding width"),
    _of("resnet_time_scale_shift", "how time enters (resnet_time_scale_shift)"),
    _of("attention_type", "attention type"),
    _of("encoder_hid_dim", "text projection width"),
)


def _levelled(was: object, wants: object) -> tuple[object, object]:
    """Spread one number over all levels where the other side gives one a level."""
    if isinstance(was, list) and isinstance(wants, int):
        return was, [wants] * len(was)
    if isinstance(wants, list) and isinstance(was, int):
        return [was] * len(wants), wants
    return was, wants


def _list(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        items: Iterable[object] = value
        return "/".join(map(str, items))
    return str(value)
