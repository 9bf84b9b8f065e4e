"""Wrong captions worked out by hand, their invariants on real captions, and NegCLIP's own table."""

import re
from collections import Counter
from pathlib import Path

import pandas
import pytest

from alignscope.errors import BadData, BadInput
from alignscope.language.replacements import Candidates, candidates
from alignscope.records import Caption, Foil, Word
from alignscope.training.negatives import NegativeRow, foil_candidates, hard_negatives, read_negatives

CLASSES = {
    **dict.fromkeys(["dog", "dogs", "cat", "ball", "mat", "tennis", "man", "horse", "ß", "TV"], "object"),
    **dict.fromkeys(["tub", "sink", "mirror", "remote"], "object"),
    **dict.fromkeys(["red", "small", "blue", "wooden"], "attribute"),
    **dict.fromkeys(["under", "above", "next", "to", "on", "riding", "standing", "near"], "relation"),
}
NONE = Candidates({})
REAL = Path(__file__).parents[2].parent / "shared" / "data" / "negclip" / "valid_neg_clip.tsv"
KINDS = (
    "swap_object",
    "swap_attribute",
    "swap_relation",
    "replace_object",
    "replace_attribute",
    "replace_relation",
)
HEADER = "\ttitle\tfilepath\tneg_caption\tneg_image\n"


def tagged(text: str) -> Caption:
    words = re.finditer(r"\w+", text)
    known = {**CLASSES, **{word.upper(): kind for word, kind in CLASSES.items()}}
    known |= {word.capitalize(): kind for word, kind in CLASSES.items()}
    return Caption(text, tuple(Word(m[0], *m.span(), known.get(m[0], "other")) for m in words))


def made(text: str, kind: str, available: Candidates = NONE, *, each: int = 50) -> set[str]:
    found = hard_negatives(tagged(text), available, kinds=[kind], seed=0, each=each)
    return {foil.text for foil in found}


@pytest.mark.parametrize(
    ("kind", "text", "wanted"),
    [
        ("swap_object", "A red dog under the small cat.", {"A red cat under the small dog."}),
        ("swap_object", "a tennis ball on a mat", {"a mat on a tennis ball"}),
        ("swap_object", "Dogs on a mat", {"Mat on a dogs"}),
        ("swap_object", "a dog and a cat", set()),  # true as it was
        ("swap_object", "a dog next to a cat", set()),
        ("swap_object", "a dog standing near a cat", set()),
        ("swap_object", "a tub, sink, and mirror", set()),
        ("swap_object", "a red dog and a red cat", set()),
        ("swap_object", "a red dog and a cat", {"a red cat and a dog"}),
        ("swap_object", "a small dog next to a cat", {"a small cat next to a dog"}),
        ("swap_object", "a dog under a dog", set()),  # the caption itself
        ("swap_object", "a dog", set()),
        (
            "swap_object",
            "a dog near a cat on a mat",
            {"a mat near a cat on a dog", "a dog near a mat on a cat"},
        ),
        ("swap_attribute", "A red dog under the small cat", {"A small dog under the red cat"}),
        ("swap_attribute", "Red dog on a blue mat", {"Blue dog on a red mat"}),
        ("swap_attribute", "a small red dog", set()),  # of one thing
        ("swap_attribute", "a small red dog on a blue mat", {"a blue dog on a small red mat"}),
        ("swap_attribute", "a red dog and a red cat", set()),
        ("swap_relation", "A red dog under the small cat", {"The small cat under a red dog"}),
        ("swap_relation", "two dogs are on a mat", {"a mat are on two dogs"}),
        ("swap_relation", "a man riding a horse", {"a horse riding a man"}),
        ("swap_relation", "a dog next to a cat", set()),
        ("swap_relation", "a dog standing next to a cat", set()),
        ("swap_relation", "a dog and a cat", set()),
        ("swap_relation", "A DOG ON A MAT", {"A MAT ON A DOG"}),
        ("swap_relation", "TV remote on a mat", {"A mat on TV remote"}),
        ("swap_relation", "a mat on a TV", {"a TV on a mat"}),
        ("swap_relation", "ß on a mat", {"a mat on ß"}),
    ],
)
def test_swaps_by_hand(kind: str, text: str, wanted: set[str]) -> None:
    assert made(text, kind) == wanted


def test_replacements_by_hand() -> None:
    available = Candidates(
        {"object": ("cat", "dog", "horse"), "attribute": ("blue", "red"), "relation": ("above", "on", "to")}
    )
    assert made("A dog on a red mat", "replace_object", available) == {
        "A cat on a red mat", "A horse on a red mat", "A dog on a red cat", "A dog on a red horse",
    }  # fmt: skip
    assert made("Red dog", "replace_attribute", available) == {"Blue dog"}
    assert made("A DOG", "replace_object", available) == {"A CAT", "A HORSE"}
    # a preposition of several words goes as one, and what the caption says is never drawn
    assert made("a dog next to a cat", "replace_relation", available) == {
        "a dog above a cat",
        "a dog on a cat",
    }
    assert made("a tennis ball", "replace_object", Candidates({"object": ("ball", "mat")})) == {"a mat"}
    assert made("a dog", "replace_relation", available) == set()
    assert made("a dog", "replace_object", Candidates({"object": ("dog",)})) == set()


def test_words_of_a_foil_are_where_they_say() -> None:
    available = Candidates({"relation": ("in front of",)})
    [swapped, replaced] = hard_negatives(
        tagged("A red dog under the small cat."), available, kinds=["swap_relation", "replace_relation"], seed=0
    )  # fmt: skip
    assert swapped == Foil(
        "The small cat under a red dog.",
        "swap_relation",
        (
            Word("The", 0, 3, "other"), Word("small", 4, 9, "attribute"), Word("cat", 10, 13, "object"),
            Word("under", 14, 19, "relation"),
            Word("a", 20, 21, "other"), Word("red", 22, 25, "attribute"), Word("dog", 26, 29, "object"),
        ),
    )  # fmt: skip
    assert replaced.text == "A red dog in front of the small cat."
    assert replaced.words[3] == Word("in front of", 10, 21, "relation")
    assert replaced.words[4] == Word("the", 22, 25, "other")


def test_a_foil_comes_once_and_company_changes_nothing() -> None:
    caption = tagged("a dog under a cat")  # without attributes both swaps give the same text
    found = hard_negatives(caption, NONE, kinds=["swap_object", "swap_relation"], seed=0)
    assert [(foil.text, foil.kind) for foil in found] == [("a cat under a dog", "swap_object")]
    many = Candidates({"object": tuple(f"thing{i}" for i in range(50))})
    first = hard_negatives(caption, many, kinds=["replace_object"], seed=0, each=5)
    assert first == hard_negatives(caption, many, kinds=["replace_object"], seed=0, each=5)
    assert first != hard_negatives(caption, many, kinds=["replace_object"], seed=1, each=5)
    beside = hard_negatives(caption, many, kinds=["swap_object", "replace_object"], seed=0, each=5)
    assert len(beside) == 6
    assert len({foil.text for foil in first}) == 5


def test_words_that_share_characters_do_no_harm() -> None:
    words = (
        Word("hot dog", 2, 9, "object"), Word("dog", 6, 9, "object"),
        Word("on", 10, 12, "relation"), Word("mat", 15, 18, "object"),
    )  # fmt: skip
    [foil] = hard_negatives(Caption("a hot dog on a mat", words), NONE, kinds=["swap_object"], seed=0)
    assert foil.text == "a mat on a hot dog"
    assert all(foil.text[word.start : word.end] == word.text for word in foil.words)


@pytest.mark.parametrize("caption", [Caption(""), Caption("untagged text"), tagged("and the of")])
def test_captions_with_nothing_to_change(caption: Caption) -> None:
    available = Candidates({"object": ("dog",), "relation": ("on",)})
    assert hard_negatives(caption, available, kinds=KINDS, seed=0) == []


def test_unknown_kinds_and_numbers() -> None:
    with pytest.raises(BadInput, match=r"got kinds swap_verbs.*replace_object"):
        hard_negatives(tagged("a dog"), NONE, kinds=["swap_verbs", "swap_object"], seed=0)
    with pytest.raises(BadInput, match="each=0"):
        hard_negatives(tagged("a dog"), NONE, kinds=["swap_object"], seed=0, each=0)


def test_a_table_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_text(
        "\ufeff" + HEADER + "0\tA dog. \ta/1.jpg\t['A cat.', 'A cat.', 'A dog.', '']\t[7, 9, 0]\n"
        '7\t"A ""big"" cat"\t2.jpg\t"[""it\'s""]"\t[]\n'
        "8\ta mat\t3.jpg\t__import__('os')\t[0, '7']\n"
        "9\t\t4.jpg\t[]\t[]\n"
        "x\ta\tb\t[]\t[]\n"
        "10\ta\n"
        "7\tagain\t5.jpg\t[]\t[]\n",
        encoding="utf-8",
    )
    found = read_negatives(path)
    assert found.rows == (
        NegativeRow(0, "a/1.jpg", "A dog.", ("A cat.",), (7,)),
        NegativeRow(7, "2.jpg", 'A "big" cat', ("it's",), ()),
        NegativeRow(8, "3.jpg", "a mat", (), (0,)),
    )
    said = [(one.item, one.what, one.action) for one in found.problems]
    assert said == [
        ("table.tsv:4", "neg_caption is not a Python list", "handled"),
        ("table.tsv:4", "1 of neg_image are not int", "handled"),
        ("table.tsv:5", "no caption or no image", "unscored"),
        ("table.tsv:6", "5 fields of which the first is ['x'], wanted 5 and a row number", "unscored"),
        ("table.tsv:7", "2 fields of which the first is ['10'], wanted 5 and a row number", "unscored"),
        ("7", "a second row of this number", "unscored"),
        ("0", "2 of neg_image are no other usable row", "handled"),
    ]


def test_more_columns_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "macco.tsv"
    path.write_text(HEADER[:-1] + "\tobject_list\n0\ta dog\t1.jpg\t[]\t[]\t['dog']\n", encoding="utf-8")
    assert read_negatives(path).rows == (NegativeRow(0, "1.jpg", "a dog", (), ()),)


@pytest.mark.parametrize("literal", ["[" * 100_000, "[1" + "+1" * 50_000 + "]", "['a", "{}", "'abc'", "\x01"])
def test_lists_that_are_none(tmp_path: Path, literal: str) -> None:
    path = tmp_path / "table.tsv"
    path.write_text(HEADER + f"0\ta dog\t1.jpg\t{literal}\t[]\n", encoding="utf-8")
    found = read_negatives(path)
    assert found.rows == (NegativeRow(0, "1.jpg", "a dog", (), ()),)
    assert [one.action for one in found.problems] == ["handled"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"title,filepath\n", "got columns"),
        (b"", "got columns"),
        (b"title\tfilepath\tneg_caption\tneg_image\n", "without a name"),
        (HEADER.encode() + b"0\t\xff\xfe\t1.jpg\t[]\t[]\n", "not a table of tabs in UTF-8"),
        (HEADER.encode() + b"0\t" + b"a" * 200_000 + b"\t1.jpg\t[]\t[]\n", "not a table of tabs"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "table.tsv"
    path.write_bytes(content)
    with pytest.raises(BadData, match=message):
        read_negatives(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="cannot be read"):
        read_negatives(tmp_path / "absent.tsv")


@pytest.mark.skipif(not REAL.exists(), reason="NegCLIP's table is not on this machine")
def test_the_table_of_negclip_equals_pandas() -> None:
    found = read_negatives(REAL)
    table = pandas.read_csv(REAL, sep="\t", index_col=0)
    assert len(found.rows) == len(table) == 4839
    assert found.problems == ()
    for row, (number, wanted) in zip(found.rows, table.iterrows(), strict=True):
        assert (row.number, row.image, row.caption) == (number, wanted.filepath, wanted.title.strip())
        listed = eval(wanted.neg_caption, {"__builtins__": {}})
        assert row.foils == tuple(dict.fromkeys(listed))
        assert list(row.neighbours) == eval(wanted.neg_image, {"__builtins__": {}})


@pytest.mark.skipif(not REAL.exists(), reason="NegCLIP's table is not on this machine")
def test_foils_of_real_captions_keep_their_promises() -> None:
    pytest.importorskip("spacy")
    from alignscope.language.classes import word_classes

    captions = word_classes([row.caption for row in read_negatives(REAL).rows[:300]])
    available = candidates(captions, at_least=2)
    kinds: Counter[str] = Counter()
    for caption in captions:
        foils = hard_negatives(caption, available, kinds=KINDS, seed=0, each=2)
        texts = [foil.text.casefold() for foil in foils]
        assert len(set(texts)) == len(texts)
        assert caption.text.casefold() not in texts
        for foil in foils:
            assert all(foil.text[word.start : word.end] == word.text for word in foil.words)
            if foil.kind.startswith("swap"):  # the same letters in another order
                assert sorted(foil.text.casefold()) == sorted(caption.text.casefold())
                assert len(foil.words) == len(caption.words)
        kinds.update(foil.kind for foil in foils)
    assert kinds.keys() == set(KINDS)
    assert kinds["swap_object"] > 200


def test_candidates_of_foils_by_hand() -> None:
    texts = ("A small red dog next to a tennis ball", "Small wooden ball under a red dog", "a blue dog")
    found = foil_candidates(map(tagged, texts))
    assert found.words == {
        "object": ("ball", "dog", "tennis ball"),  # a whole phrase
        "attribute": ("blue", "red", "small", "wooden"),  # word by word
        "relation": ("next to", "under"),
    }
    assert found.together == {
        "small": {"red", "wooden"}, "red": {"small"}, "wooden": {"small"},
    }  # fmt: skip
    often = foil_candidates(map(tagged, texts), at_least=2)
    assert often.words == {"object": ("dog",), "attribute": ("red", "small"), "relation": ()}
    assert often.together == found.together  # once is enough to know that both can be true


def test_foils_never_take_what_is_said_together() -> None:
    many = tuple(f"colour{number:02}" for number in range(60))
    barred = frozenset(many[:-2])
    available = Candidates({"attribute": (*many, "red", "small")}, {"red": barred, "small": barred})
    wanted = {f"a {new} dog" for new in many[-2:]}
    for seed in range(10):  # though most draws are barred all that may be are found
        caption = tagged("a red dog")
        found = hard_negatives(caption, available, kinds=["replace_attribute"], seed=seed, each=50)
        assert {foil.text for foil in found} == wanted | {"a small dog"}
        [one] = hard_negatives(caption, available, kinds=["replace_attribute"], seed=seed)
        assert one.text in wanted | {"a small dog"}
    both = made("a small red dog", "replace_attribute", available)
    assert both == {f"a {new} red dog" for new in many[-2:]} | {f"a small {new} dog" for new in many[-2:]}
    everything = Candidates({"attribute": many}, {"red": frozenset(many)})
    assert made("a red dog", "replace_attribute", everything) == set()
