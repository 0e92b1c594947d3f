"""Alignment of captions, checked by hand. Token 90 begins a caption, 91 ends it."""

from __future__ import annotations

import torch

from pipeline.editing.alignment import Alignment, align, blocks, changed_tokens, matches, occurrences

A, DOG, CAT, ON, SNOW, RED = (1,), (2,), (3,), (4,), (5,), (6,)
ZEBRA, ALPACA = (7, 8), (9, 10, 11)
BEGIN, END = (90,), (91,)


def caption(*words: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [BEGIN, *words, END]


def sources(alignment: Alignment) -> list[dict[int, float]]:
    """For each edited token {source token: share}; {} where it keeps its own attention."""
    columns = alignment.matrix.T.tolist()
    result = [{i: round(share, 4) for i, share in enumerate(column) if share} for column in columns]
    assert [not column for column in result] == [bool(own) for own in alignment.own]
    return result


def test_the_same_caption_maps_every_token_to_itself() -> None:
    alignment = align(caption(A, ZEBRA), caption(A, ZEBRA), 8, word_weight=2.0)
    assert torch.equal(alignment.matrix, torch.eye(8))
    assert torch.equal(alignment.weight, torch.ones(8))
    assert not alignment.own.any()


def test_refine_leaves_a_swapped_word_its_own_attention_and_weighs_it() -> None:
    alignment = align(caption(A, DOG, ON, SNOW), caption(A, CAT, ON, SNOW), 8, word_weight=2.0)
    assert sources(alignment) == [{0: 1}, {1: 1}, {}, {3: 1}, {4: 1}, {5: 1}, {6: 1}, {7: 1}]
    assert alignment.weight.tolist() == [1, 1, 2, 1, 1, 1, 1, 1]


def test_replace_gives_a_swapped_word_the_map_of_the_word_it_replaces() -> None:
    alignment = align(caption(A, DOG, ON, SNOW), caption(A, CAT, ON, SNOW), 8, mapping="replace", word_weight=3.0)
    assert torch.equal(alignment.matrix, torch.eye(8))
    assert alignment.weight.tolist() == [1, 1, 3, 1, 1, 1, 1, 1]


def test_replace_splits_one_token_evenly_over_several() -> None:
    alignment = align(caption(A, DOG), caption(A, ALPACA), 7, mapping="replace")
    third = round(1 / 3, 4)
    assert sources(alignment) == [{0: 1}, {1: 1}, {2: third}, {2: third}, {2: third}, {3: 1}, {4: 1}]


def test_replace_keeps_all_attention_when_several_tokens_become_fewer() -> None:
    alignment = align(caption(A, ALPACA, ON), caption(A, ZEBRA, ON), 8, mapping="replace")
    half = {2: 0.5, 3: 0.5, 4: 0.5}
    assert sources(alignment) == [{0: 1}, {1: 1}, half, half, {5: 1}, {6: 1}, {7: 1}, {}]
    assert alignment.matrix[:7].sum(dim=1).tolist() == [1] * 7


def test_replace_pairs_neighbouring_words_of_one_block_one_by_one() -> None:
    alignment = align(caption(RED, DOG), caption(ZEBRA, CAT), 6, mapping="replace")
    assert sources(alignment) == [{0: 1}, {1: 0.5}, {1: 0.5}, {2: 1}, {3: 1}, {4: 1}]


def test_an_inserted_word_is_new_and_moves_the_rest() -> None:
    for mapping in ("refine", "replace"):
        alignment = align(caption(A, DOG), caption(A, RED, DOG), 7, mapping=mapping, word_weight=2.0)
        assert sources(alignment) == [{0: 1}, {1: 1}, {}, {2: 1}, {3: 1}, {4: 1}, {5: 1}]
        assert alignment.weight.tolist() == [1, 1, 2, 1, 1, 1, 1]


def test_a_deleted_word_is_skipped_and_surplus_padding_is_its_own_but_not_new() -> None:
    alignment = align(caption(A, RED, DOG), caption(A, DOG), 7, word_weight=2.0)
    assert sources(alignment) == [{0: 1}, {1: 1}, {3: 1}, {4: 1}, {5: 1}, {6: 1}, {}]
    assert alignment.weight.tolist() == [1] * 7


def test_a_word_of_several_tokens_is_carried_over_whole() -> None:
    alignment = align(caption(A, ZEBRA, ON, SNOW), caption(A, RED, ZEBRA, ON, CAT), 9)
    assert sources(alignment) == [{0: 1}, {1: 1}, {}, {2: 1}, {3: 1}, {4: 1}, {}, {6: 1}, {7: 1}]


def test_words_that_share_a_token_are_different_words() -> None:
    assert matches([(7, 8)], [(7, 9)]) == []


def test_a_full_window_needs_no_padding() -> None:
    alignment = align(caption(A, DOG), caption(A, CAT), 4)
    assert sources(alignment) == [{0: 1}, {1: 1}, {}, {3: 1}]


def test_blocks_cover_both_captions_in_order() -> None:
    result = blocks(caption(A, DOG, ON, SNOW), caption(RED, CAT, ON))
    assert [(list(b.source), list(b.edited), b.equal) for b in result] == [
        ([0], [0], True),
        ([1, 2], [1, 2], False),
        ([3], [3], True),
        ([4], [], False),
        ([5], [4], True),
    ]


def test_matches_are_the_longest_common_part() -> None:
    assert matches([A, DOG, ON, A, SNOW], [A, SNOW, A, DOG, ON]) == [(0, 0), (1, 3), (2, 4)]


def test_auto_replaces_swaps_and_refines_all_else() -> None:
    swap = caption(A, DOG, ON, SNOW), caption(A, ZEBRA, ON, RED)
    insertion = caption(A, DOG), caption(A, RED, CAT)
    for captions, mapping in ((swap, "replace"), (insertion, "refine")):
        auto, chosen = (align(*captions, 9, mapping=kind) for kind in ("auto", mapping))
        assert torch.equal(auto.matrix, chosen.matrix)
        assert torch.equal(auto.own, chosen.own)


def test_changed_tokens_of_both_captions() -> None:
    assert changed_tokens(caption(A, DOG, ON, SNOW), caption(A, ZEBRA, ON, SNOW)) == ([2], [2, 3])
    assert changed_tokens(caption(A, DOG), caption(A, RED, DOG)) == ([], [2])
    assert changed_tokens(caption(A, RED, DOG), caption(A, DOG)) == ([2], [])
    assert changed_tokens(caption(A, DOG), caption(A, DOG)) == ([], [])


def test_occurrences_of_words_in_a_row() -> None:
    words = caption(A, ZEBRA, ON, A, DOG, A, ZEBRA)
    assert occurrences(words, [ZEBRA]) == [2, 3, 8, 9]
    assert occurrences(words, [A, ZEBRA]) == [1, 2, 3, 7, 8, 9]
    assert occurrences(words, [CAT]) == []
