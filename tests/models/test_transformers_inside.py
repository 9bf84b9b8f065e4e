"""Inside captioners of patches and regions: against transformers' own eager maps and plain recomputations."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from captioner_twins import CAPTIONERS, PIECES, VISION, WIDTH, captioner, close, picture
from trainable_captioners import captioner as own
from trainable_captioners import sights

from alignscope.errors import BadInput, LengthMismatch, Unsupported
from alignscope.models.captioners.autoregressive import AutoregressiveCaptioner
from alignscope.models.captioners.captioner_loading import open_captioner
from alignscope.models.captioners.decoding import mask_of
from alignscope.models.captioners.inside import Inside, Open, SeenInside
from alignscope.models.captioners.transformers_inside import sites_of

Twin = Callable[[str], Path]
PICTURES = [picture(0), picture(1), picture(2)]
TEXTS = ["a red dog", "the cat near a kitchen", ""]
PATCHES = 16
OWN_TEXTS = ["a red cat", "dog", ""]


@pytest.fixture(params=CAPTIONERS)
def made(request: pytest.FixtureRequest, twin: Twin) -> AutoregressiveCaptioner:
    return open_captioner(twin(request.param))


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """A BLIP whose tower has more layers, other heads and another width than its decoder; far from flat."""
    return saved(
        tmp_path, "blip", vision={"num_hidden_layers": 3, "num_attention_heads": 4, "hidden_size": 24}
    )


def saved(directory: Path, kind: str, *, vision: dict[str, int]) -> Path:
    _, parts = captioner(kind)
    text = {**WIDTH, "vocab_size": len(PIECES), "max_position_embeddings": 48, "pad_token_id": 0}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == "blip":
            text |= {"encoder_hidden_size": vision["hidden_size"], "bos_token_id": 3, "sep_token_id": 3}
            config = transformers.BlipConfig(text_config=text, vision_config={**VISION, **vision})
            model = transformers.BlipForConditionalGeneration(config)
        else:
            tower, decoder = (getattr(transformers, f"{each}Config") for each in kind.split("-"))
            config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
                tower(**{**VISION, **vision}), decoder(**text, is_decoder=True, add_cross_attention=True)
            )
            config.decoder_start_token_id, config.pad_token_id = 2, 0
            model = transformers.VisionEncoderDecoderModel(config)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(directory)
    for part in parts:
        part.save_pretrained(directory)
    return directory


def eager_of(made: AutoregressiveCaptioner, directory: Path):
    """The checkpoint opened by transformers alone, which computes its maps and states itself."""
    kind = type(made.model)
    return kind.from_pretrained(directory, attn_implementation="eager").eval()


def theirs(model, values, rows):
    """Maps among patches, maps of tokens to tokens and to patches, and states, by `output_attentions`."""
    asked = {"output_attentions": True, "output_hidden_states": True, "use_cache": False}
    with torch.no_grad():
        if isinstance(model, transformers.GitForCausalLM):
            found = model.git(input_ids=rows, pixel_values=values, **asked)
            whole, states = torch.cat(found.attentions), found.last_hidden_state[0]
            size = PATCHES + 1
            words = whole[..., size:, size:], whole[..., size:, :size]
            return whole[..., :size, :size], *words, states[:size], states[size:]
        tower = model.vision_model if hasattr(model, "vision_model") else model.encoder
        seen = tower(pixel_values=values, output_attentions=True)
        states = seen.last_hidden_state
        if hasattr(model, "text_decoder"):
            found = model.text_decoder(input_ids=rows, encoder_hidden_states=states, **asked)
        else:
            looked = model.enc_to_dec_proj(states) if hasattr(model, "enc_to_dec_proj") else states
            found = model.decoder(input_ids=rows, encoder_hidden_states=looked, **asked)
        across = torch.cat(found.cross_attentions)
        return (
            torch.cat(seen.attentions),
            torch.cat(found.attentions),
            across,
            states[0],
            found.hidden_states[-1][0],
        )


def blocks(found: Inside, tokens: int):
    """What `theirs` gives, cut out of one map."""
    maps, states = found.attention, found.states
    image, words = slice(tokens, None), slice(None, tokens)
    return (
        maps[..., image, image],
        maps[..., words, words],
        maps[..., words, image],
        states[image],
        states[words],
    )


def compared(made: AutoregressiveCaptioner, directory: Path) -> None:
    model, prompt = eager_of(made, directory), list(made.speller._prefix)
    bare = made.inside(PICTURES)
    for number, found in enumerate(made.inside(PICTURES, texts=TEXTS)):
        row = torch.tensor([prompt + made.vocabulary.ids([TEXTS[number]])[0].tolist()])
        values = made.features([PICTURES[number]]).values
        wanted = theirs(model, values, row)
        for got, want in zip(blocks(found, row.shape[1]), wanted, strict=True):
            some = got[tuple(slice(size) for size in want.shape)]
            close(some.nan_to_num(0), want, atol=2e-6)
        close(bare[number].attention, wanted[0], atol=2e-6)
        close(bare[number].states, wanted[3], atol=2e-6)


def test_attention_and_states_equal_transformers_own(made, twin):
    compared(made, twin(made.name.removeprefix("tiny-random-")))


@pytest.mark.parametrize("kind", ["ViT-Bert", "DeiT-Bert"])
def test_other_towers_and_decoders_equal_transformers_own(kind, tmp_path):
    """Here with a decoder of another width, to which states of the tower are projected."""
    directory = saved(tmp_path, kind, vision={"hidden_size": 24, "num_hidden_layers": 1})
    made = open_captioner(directory)
    specials = {"ViT-Bert": 1, "DeiT-Bert": 2}[kind]
    assert made.inside(PICTURES)[0].kinds == ("special",) * specials + ("patch",) * PATCHES
    compared(made, directory)


def test_layers_heads_and_widths_that_one_lacks_are_not_numbers(uneven):
    made = open_captioner(uneven)
    compared(made, uneven)
    (found,) = made.inside(PICTURES[:1], texts=TEXTS[:1])
    seen, words, across, states, spoken = blocks(found, 5)
    assert found.attention.shape == (3, 4, 22, 22)
    assert not seen.isnan().any()
    assert words[2].isnan().all()
    assert words[:, 2:].isnan().all()
    assert across[2].isnan().all()
    assert across[:, 2:].isnan().all()
    assert not across[:2, :2].isnan().any()
    assert not states.isnan().any()
    assert spoken[:, 16:].isnan().all()
    assert not spoken[:, :16].isnan().any()


def test_positions_are_named(made):
    bare, found = made.inside(PICTURES[:1])[0], made.inside(PICTURES[:1], texts=TEXTS[:1])[0]
    assert bare.kinds == ("special", *["patch"] * PATCHES)
    assert bare.units == (-1, *range(PATCHES))
    pieces = made.vocabulary.ids(TEXTS[:1]).shape[1] - 1
    spoken = ["special"] * len(made.speller._prefix) + ["caption"] * pieces + ["special"]
    assert found.kinds == (*spoken, *bare.kinds)
    assert [unit for unit, kind in zip(found.units, found.kinds, strict=True) if kind == "caption"] == [
        *range(pieces)
    ]
    assert found.attention.dtype == found.states.dtype == torch.float32


def test_each_attention_sums_to_one_and_captions_look_back_alone(made):
    for text, found in zip(TEXTS, made.inside(PICTURES, texts=TEXTS), strict=True):
        tokens = len(made.speller._prefix) + made.vocabulary.ids([text]).shape[1]
        seen, words, across, _, _ = blocks(found, tokens)
        below = found.attention[..., tokens:, :tokens]
        assert below.isnan().all()  # patches do not look at captions
        later = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
        assert torch.equal(words.isnan(), later.expand_as(words))
        sums = [seen.sum(-1)]
        own_words, to_patches = words.nansum(-1), across.sum(-1)
        sums += [own_words + to_patches] if made.name.endswith("git") else [own_words, to_patches]
        for each in sums:
            close(each, torch.ones_like(each))


def test_neither_batch_nor_caption_changes_what_is_seen(made):
    together = made.inside(PICTURES)
    for image, found in zip(PICTURES, together, strict=True):
        (alone,) = made.inside([image])
        assert torch.equal(alone.attention, found.attention)
        assert torch.equal(alone.states, found.states)
        for with_words in made.inside([image] * 3, texts=TEXTS):
            size = len(found.kinds)
            close(with_words.attention[..., -size:, -size:], found.attention, atol=1e-6)
            close(with_words.states[-size:], found.states, atol=1e-6)
    assert not torch.equal(together[0].attention, together[1].attention)
    assert made.inside([]) == []


def condition(made: AutoregressiveCaptioner):
    """Whatever `inside` touches for a while."""
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in made.model.modules()]
    configs = [m.config for m in made.model.modules() if hasattr(m, "config")]
    return hooks, [c._attn_implementation for c in configs], [m.training for m in made.model.modules()]


def test_the_model_is_as_it_was_also_after_an_error(made):
    made.model.train()
    next(module for module in made.model.modules() if isinstance(module, torch.nn.LayerNorm)).eval()
    before, print_of = condition(made), made.fingerprint
    found = made.inside(PICTURES[:1], texts=TEXTS[:1])
    assert condition(made) == before
    with made.evaluating():
        text = made.write(PICTURES[:1])

    def fails(module, inputs):
        raise RuntimeError("on purpose")

    hook = sites_of(made.model).head.register_forward_pre_hook(fails)
    during = condition(made)
    with pytest.raises(RuntimeError, match="on purpose"):
        made.inside(PICTURES[:1], texts=TEXTS[:1])
    assert condition(made) == during
    hook.remove()
    assert condition(made) == before
    assert made.fingerprint == print_of
    assert made.write(PICTURES[:1]) == text
    again = made.inside(PICTURES[:1], texts=TEXTS[:1])
    assert torch.equal(again[0].states, found[0].states)


def test_wrong_sights_and_texts_are_told(made):
    with pytest.raises(Unsupported, match=r"image 1 is ndarray, \w+ takes a PIL image"):
        made.inside([PICTURES[0], sights("transformer")[0]])
    with pytest.raises(LengthMismatch, match="1 texts for 2 images"):
        made.inside(PICTURES[:2], texts=["a"])
    with pytest.raises(BadInput, match=r"text 1 has 10\d tokens, wanted 1 to 47"):
        made.inside(PICTURES[:2], texts=["a", "cat " * 100 + "!"])


def likelier_end(made: AutoregressiveCaptioner, by: float) -> None:
    """Logits of the end are raised, so that captions of the twin end."""
    decoder = next(
        part
        for name in ("text_decoder", "decoder", "output")
        if (part := getattr(made.model, name, None)) is not None
    )
    head = decoder if isinstance(decoder, torch.nn.Linear) else decoder.get_output_embeddings()
    raised = torch.arange(len(made.vocabulary)) == made.vocabulary.end
    head.register_forward_hook(lambda module, inputs, logits: logits + by * raised)


@pytest.mark.parametrize(("by", "longest"), [(0.0, 3), (3.0, 9), (30.0, 4)])
def test_confidence_is_the_geometric_mean_of_token_probabilities(made, by, longest):
    """Greedy word by word by `logprob` alone; a caption that is cut loses its last token and keeps its probability."""
    likelier_end(made, by)
    lengths = set()
    for image, got in zip(PICTURES, made.write(PICTURES, max_length=longest), strict=True):
        batch, ids = made.features([image]), []
        while len(ids) < longest - 1 and made.vocabulary.end not in ids:
            every = torch.tensor([[*ids, token] for token in range(len(made.vocabulary))])
            with torch.no_grad():
                ids.append(int(made.logprob(batch, every)[:, len(ids)].argmax()))
        with torch.no_grad():
            chances = made.logprob(batch, torch.tensor([ids]))[0].exp().tolist()
        assert got.confidence == pytest.approx(math.prod(chances) ** (1 / len(ids)), rel=1e-4)
        kept = ids[: longest - 2]
        assert got.text == made.vocabulary.texts(torch.tensor([[*kept, made.vocabulary.end]]))[0]
        lengths.add(len(ids))
    if by == 0:
        assert lengths == {longest - 1}
    if by == 30:
        assert lengths == {1}
        assert got.text == ""


@pytest.mark.parametrize("kind", ["blip", "git"])
def test_a_wide_beam_finds_the_likeliest_of_all_short_captions(kind, twin):
    """Every caption of at most two tokens, the second of which may be the end, by its mean log-probability."""
    made = open_captioner(twin(kind))
    size, end = len(made.vocabulary), made.vocabulary.end
    words = [word for word in range(size) if word != end]
    every = torch.tensor([[end, end], *([first, second] for first in words for second in range(size))])
    for image, got in zip(PICTURES, made.write(PICTURES, beams=size, max_length=3), strict=True):
        with torch.no_grad():
            logprobs = made.logprob(made.features([image]), every)
        means = logprobs.sum(-1) / mask_of(every, end).sum(-1)
        assert got.confidence == pytest.approx(means.max().exp().item(), rel=1e-4)


def plain_maps(attention, query, key, keep):
    """softmax(query key / sqrt(dim)), head by head and row by row."""
    q, k = attention.query(query)[0], attention.key(key)[0]
    dim = q.shape[-1] // attention.heads
    found = torch.zeros(attention.heads, len(q), len(k), dtype=q.dtype)
    for head in range(attention.heads):
        part = slice(head * dim, (head + 1) * dim)
        for row in range(len(q)):
            logits = [
                (q[row, part] @ k[column, part]).item() / dim**0.5 if keep(row, column) else -math.inf
                for column in range(len(k))
            ]
            found[head, row] = torch.tensor(logits, dtype=q.dtype).softmax(-1)
    return found


def test_our_transformer_equals_its_plain_recomputation():
    made, images = own("transformer", scale=0.7, dtype=torch.float64), sights("transformer")
    model = made.model.eval()
    bare = made.inside(images)
    for image, text, only, found in zip(
        images, OWN_TEXTS, bare, made.inside(images, texts=OWN_TEXTS), strict=True
    ):
        with torch.no_grad():
            states = model.see(torch.from_numpy(image)[None].double()).relu()
            seen, words, across = [], [], []
            there = torch.ones(1, len(image), dtype=torch.bool)
            for layer in model.encoder:
                x = layer.norms[0](states)
                seen.append(plain_maps(layer.attention, x, x, lambda row, column: True))
                states = layer(states, there)
            states = model.norms[0](states)
            row = torch.tensor([[model.start, *made.vocabulary.ids([text])[0].tolist()]])
            spoken = made.speller.begin(made.features([image]))
            entering = []
            hook = model.logit.register_forward_pre_hook(
                lambda module, inputs, to=entering: to.append(inputs[0])
            )
            layers = [
                layer.register_forward_pre_hook(
                    lambda layer, inputs, w=words, a=across, s=states: w.append((layer, inputs[0]))
                )
                for layer in model.decoder
            ]
            model.advance(row, spoken)
            for each in (hook, *layers):
                each.remove()
            own_maps, looks = [], []
            for layer, entered in words:
                x = layer.norms[0](entered)
                maps = plain_maps(layer.words, x, x, lambda row, column: column <= row)
                own_maps.append(maps)
                values = layer.words.value(x)[0]
                dim = values.shape[-1] // layer.words.heads
                heads = [maps[h] @ values[:, h * dim : (h + 1) * dim] for h in range(layer.words.heads)]
                after = entered + layer.words.out(torch.cat(heads, dim=-1))[None]
                looks.append(plain_maps(layer.image, layer.norms[1](after), states, lambda row, column: True))
        tokens = row.shape[1]
        wanted = torch.stack(seen), torch.stack(own_maps), torch.stack(looks), states[0], entering[0][0]
        for got, want in zip(blocks(found, tokens), wanted, strict=True):
            close(got.nan_to_num(0), want.float())
        close(only.attention, wanted[0].float())
        close(only.states, wanted[3].float())
        assert only.kinds == ("region",) * len(image)
        assert found.kinds == ("special", *["caption"] * (tokens - 2), "special", *only.kinds)
        assert found.units == (-1, *range(tokens - 2), -1, *range(len(image)))


def test_our_transformer_alone_and_together_is_the_same():
    made, images = own("transformer"), sights("transformer")
    for image, found in zip(images, made.inside(images), strict=True):
        (alone,) = made.inside([image])
        assert torch.equal(alone.attention, found.attention)
        assert torch.equal(alone.states, found.states)
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in made.model.modules()]
    assert sum(hooks) == 0
    with pytest.raises(Unsupported, match="image 1 is Image, TransformerCaptioner takes regions"):
        made.inside([images[0], PICTURES[0]])


def test_what_has_no_inside_says_what_does(twin, made):
    assert isinstance(made, SeenInside)
    assert isinstance(made.speller, Open)
    assert not isinstance(own("attention-lstm").speller, Open)
    with pytest.raises(Unsupported, match="AttentionLstmCaptioner gives no attention among what it sees"):
        own("attention-lstm").inside(sights("attention-lstm"))
