"""The plan for a machine: what the tutorials advise comes out or is bettered, memory is never exceeded, and every
refusal says why."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import CorralError
from corral.planner import catalog
from corral.planner.architecture import Architecture, Weights
from corral.planner.cards import Card, imagine
from corral.planner.choice import Machine, Plan, Wishes, choose, rank, refusals, wishes_for
from corral.planner.memory import MIB, Backend, Generation

GIB = 1 << 30


def plan(*names: str, model: str = "", **wishes: object) -> Plan:
    cards = tuple(imagine(name) for name in names)
    return choose(Machine(cards), wishes_for(models=(model,) if model else (), wishes=Wishes((), **wishes)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("card", "model", "quantizations", "context"),
    [
        ("GTX 1080", "r1-7b", ("Q4_K_M", "Q6_K"), 16384),
        ("RTX 2070", "r1-7b", ("Q4_K_M", "Q6_K"), 16384),
        ("RTX 3080", "r1-14b", ("Q4_K_S",), 4096),
        ("2080 Ti", "r1-14b", ("Q4_K_S", "Q4_K_M"), 8192),
        ("RTX 3060", "r1-14b", ("Q4_K_M",), 16384),
        ("V100 16GB", "r1-32b", ("Q3_K_S", "IQ3_M"), 4096),
        ("4060 Ti", "r1-32b", ("Q3_K_S", "IQ3_M"), 4096),
        ("RTX 3080 20GB", "r1-32b", ("Q4_K_S",), 4096),
        ("2080 Ti 22GB", "r1-32b", ("Q4_K_M",), 8192),
        ("RTX 3090", "r1-32b", ("Q4_K_M",), 16384),
        ("RTX 4090", "r1-32b", ("Q4_K_M",), 16384),
        ("7900 XTX", "r1-32b", ("Q4_K_M",), 16384),
        ("RTX 5090", "r1-32b", ("Q4_K_M", "Q6_K"), 16384),
        ("A100 40GB", "r1-32b", ("Q8_0",), 16384),
        ("L20", "r1-70b", ("Q4_K_M",), 16384),
    ],
)
def test_one_card_gets_what_the_tutorials_advise(
    card: str, model: str, quantizations: tuple[str, ...], context: int
) -> None:
    found = plan(card)
    assert found.entry.name == model
    assert found.quantization in quantizations
    assert found.load.context >= context
    assert found.wholly_on_gpu


def test_a_16_gb_card_gets_the_14b_with_a_long_context_when_a_short_one_will_not_do() -> None:
    found = plan("V100 16GB", min_context=8192)
    assert (found.entry.name, found.load.context) == ("r1-14b", 16384)
    assert "min_context above" in " ".join(plan("V100 16GB").reasons)


def test_a_4090_holds_16k_of_the_32b_and_64k_of_the_14b_with_a_cache_of_8_bits() -> None:
    large = plan("RTX 4090")
    assert (large.load.context, large.load.kv_type, large.load.flash) == (16384, "q8_0", True)
    assert any("q8_0" in reason and "f16" in reason for reason in large.reasons)
    small = plan("RTX 4090", model="r1-14b", quantization="Q4_K_M", max_context=65536)
    assert (small.load.context, small.load.kv_type) == (65536, "f16")


def test_two_3090_hold_the_70b_half_each() -> None:
    found = plan("RTX 3090", "RTX 3090")
    assert found.entry.name == "r1-70b"
    assert found.memory.placement.blocks == (41, 39)
    assert len(found.cards) == 2


def test_unequal_cards_share_by_free_memory() -> None:
    found = plan("RTX 3090", "RTX 2070")
    large, small = found.memory.placement.blocks
    assert large / small == pytest.approx(imagine("RTX 3090").free / imagine("RTX 2070").free, rel=0.15)


def test_a_small_model_stays_on_one_of_several_cards() -> None:
    found = plan("RTX 3090", "RTX 3090", model="r1-7b", quantization="Q4_K_M")
    assert len(found.cards) == 1


def test_cards_of_two_makers_are_not_mixed() -> None:
    assert {card.backend for card in plan("RTX 3060", "7900 XTX").cards} == {Backend.ROCM}


def test_low_memory_leaves_layers_on_the_cpu_only_when_asked() -> None:
    with pytest.raises(CorralError) as refused:
        plan("RTX 3080", model="r1-32b")
    assert "offload: true" in refused.value.remedy
    found = plan("RTX 3080", model="r1-32b", offload=True)
    assert 20 <= (found.load.gpu_layers or 0) < 65
    assert "tokens/s" in found.reasons[0]
    assert found.memory.host > 8 * GIB
    assert found.tokens_per_s is not None
    assert found.tokens_per_s[1] < plan("RTX 4090", model="r1-32b").tokens_per_s[0]  # type: ignore[index]


def test_without_a_gpu_a_small_model_runs_on_the_cpu_only_when_allowed() -> None:
    with pytest.raises(CorralError, match=r"no GPU.*cpu: true"):
        plan()
    found = plan(cpu=True)
    assert (found.entry.name, found.load.gpu_layers, found.wholly_on_gpu) == ("r1-1.5b", 0, False)
    with pytest.raises(CorralError, match="host's memory"):
        choose(Machine((), memory=512 * MIB), wishes_for(wishes=Wishes((), cpu=True)))


def test_four_bits_of_cache_only_when_asked_for() -> None:
    assert plan("RTX 3080").load.kv_type == "q8_0"
    found = plan("RTX 3080", kv_types=("f16", "q8_0", "q4_0"))
    assert found.load.kv_type == "q4_0"
    assert rank(found, wishes_for()) > rank(plan("RTX 3080"), wishes_for())


def test_a_card_without_flash_attention_keeps_a_16_bit_cache() -> None:
    old = Card("GTX 970", 4 * GIB, 4 * GIB, 224, Backend.CUDA, 5.2)
    found = choose(Machine((old,)), wishes_for())
    assert (found.load.flash, found.load.kv_type) == (False, "f16")
    assert any("flash attention" in reason for reason in found.reasons)


def test_a_refusal_names_the_terms_and_what_lacks() -> None:
    wishes = wishes_for()
    machine = Machine((imagine("RTX 4090"),))
    found = refusals(machine, wishes, choose(machine, wishes))
    assert {refusal.model for refusal in found} == {"r1-70b", "r1-32b"}
    for refusal in found:
        assert "weights" in refusal.reason
        assert "more than the 24064 that are free" in refusal.reason


def test_impossible_wishes_say_which_to_relax() -> None:
    with pytest.raises(CorralError) as refused:
        plan("RTX 3080", model="r1-14b", min_context=16384, quantization="Q4_K_M")
    assert "min_context: 2048" in refused.value.remedy
    assert "another quantization" in refused.value.remedy
    with pytest.raises(CorralError, match=r"min_context 200000 is more than the 131072"):
        plan("L20", model="r1-14b", min_context=200000, max_context=200000)
    with pytest.raises(CorralError, match="Raise max_context"):
        plan("L20", min_context=8192, max_context=4096)
    with pytest.raises(CorralError, match="Q2_K"):
        plan("L20", model="r1-14b", quantization="Q2_K")


def test_unknown_names_bring_the_nearest() -> None:
    with pytest.raises(CorralError, match=r"Perhaps .*r1-14b"):
        wishes_for(models=("r1-14",))
    with pytest.raises(CorralError, match="Known here: deepseek-r1"):
        wishes_for(family="deepseek-r2")
    with pytest.raises(CorralError, match="GeForce RTX 4070 Ti"):
        imagine("RTX 4070 Tii")
    with pytest.raises(CorralError, match="--vram"):
        imagine("Matrox Millennium")


def test_a_card_that_nobody_knows_is_planned_by_its_memory() -> None:
    card = imagine("Matrox Millennium", 24 * 1024)
    found = choose(Machine((card,)), wishes_for())
    assert found.entry.name == "r1-32b"
    assert found.tokens_per_s is None


def test_the_8b_of_the_library_is_another_model_than_the_llama_distill() -> None:
    assert catalog.find("deepseek-r1:8b").name == "r1-0528-8b"
    assert catalog.find("deepseek-r1:8b-llama-distill-q4_K_M").name == "r1-8b"
    assert not {"r1-8b", "r1-0528-8b"} & {entry.name for entry in catalog.family("deepseek-r1")}


cards = st.builds(
    Card,
    st.just("card"),
    st.just(200 * GIB),
    st.integers(0, 100_000).map(lambda mib: mib * MIB),
    st.none(),
    st.sampled_from((Backend.CUDA, Backend.VULKAN)),
    st.sampled_from((None, 5.2, 7.5, 8.9, 12.0)),
)
wished = st.builds(
    Wishes,
    st.just(()),
    st.just(""),
    st.sampled_from((2048, 4096, 8192)),
    st.sampled_from((8192, 16384, 65536)),
    st.sampled_from((("f16",), ("f16", "q8_0"), ("q8_0",), ("f16", "q8_0", "q4_0"))),
    st.sampled_from((0, 512, 1024, 4096)),
    st.integers(1, 4),
    st.sampled_from((256, 512, 2048)),
    st.booleans(),
)


@given(st.lists(cards, min_size=1, max_size=3), wished, st.sampled_from(tuple(Generation)))
def test_no_plan_exceeds_free_memory_less_the_reserve_and_every_refusal_has_a_reason(
    found: list[Card], wishes: Wishes, generation: Generation
) -> None:
    machine, wishes = Machine(tuple(found), generation), wishes_for(wishes=wishes)
    try:
        made = choose(machine, wishes)
    except CorralError:
        assert all(refusal.reason for refusal in refusals(machine, wishes))
        return
    assert made.load.context >= wishes.min_context
    assert made.load.context <= wishes.max_context
    for card, use in zip(made.cards, made.memory.devices, strict=True):
        assert use.total == 0 or use.total <= card.free - wishes.reserve_mib * MIB
    if made.wholly_on_gpu:
        for refusal in refusals(machine, wishes, made):
            assert int(refusal.reason.partition(" in reserve: ")[2].split()[0]) > 0


@given(cards, wished, st.integers(0, 20_000), st.integers(1, 2))
def test_more_memory_never_gives_a_smaller_model_or_a_worse_quantization_or_a_shorter_context(
    card: Card, wishes: Wishes, more_mib: int, count: int
) -> None:
    wishes = replace(wishes_for(wishes=wishes), offload=False)
    try:
        small = choose(Machine((card,) * count), wishes)
    except CorralError:
        return
    larger = replace(card, free=card.free + more_mib * MIB)
    assert rank(choose(Machine((larger,) * count), wishes), wishes) >= rank(small, wishes)


# --- models outside the catalog -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Outside:
    """A model that the catalog lacks, of a catalog model's shape."""

    name: str
    like: str = "r1-14b"
    approximate: str = ""
    kind: str = "Q8_0"
    title: str = "outside"
    parameters: float = 1.0
    at_least: str = ""

    @property
    def architecture(self) -> Architecture:
        return replace(catalog.catalog()[self.like].architecture, approximate=self.approximate)

    @property
    def quantizations(self) -> dict[str, str]:
        return {self.kind: self.name}

    def weights(self, quantization_name: str) -> Weights:
        return catalog.catalog()[self.like].weights(quantization_name)


def test_of_several_models_the_first_that_fits_is_taken_whatever_their_size() -> None:
    big, small = Outside("big:tag", "r1-32b"), Outside("small:tag", "r1-7b")
    wishes = wishes_for(models=("big:tag", "small:tag", "r1-14b"), wishes=Wishes((), others=(big, small)))
    found = choose(Machine((imagine("RTX 3060"),)), wishes)
    assert (found.entry.name, found.quantization, found.reference) == ("small:tag", "Q8_0", "small:tag")
    assert "first of those asked for" in found.reasons[0]
    assert [refusal.model for refusal in refusals(Machine((imagine("RTX 3060"),)), wishes, found)] == ["big:tag"]
    first = replace(wishes, models=("r1-14b", "small:tag"))
    assert choose(Machine((imagine("RTX 3060"),)), first).entry.name == "r1-14b"


def test_a_file_has_its_one_quantization_and_takes_what_context_there_is_room_for() -> None:
    """Of a catalog's model better than four bits is taken only for all of max_context."""
    wishes = wishes_for(models=("some:tag",), wishes=Wishes((), others=(Outside("some:tag"),)))
    card = imagine("mine", 17_000)
    found = choose(Machine((card,)), wishes)
    assert found.quantization == "Q8_0"
    assert 4096 <= found.load.context < 16384
    with pytest.raises(CorralError, match="nothing fits: even some:tag at Q8_0"):
        choose(Machine((imagine("mine", 16_000),)), wishes)


def test_what_no_formula_covers_is_put_to_the_engine_before_it_is_refused() -> None:
    odd = Outside("odd:tag", approximate="multi-head latent attention (MLA)")
    wishes = wishes_for(models=("odd:tag", "r1-7b"), wishes=Wishes((), max_context=4096, others=(odd,)))
    estimate = choose(Machine((imagine("RTX 4090"),)), wishes)
    assert any("no formula covers qwen2 exactly (multi-head" in reason for reason in estimate.reasons)
    assert any("what it takes is an estimate" in reason for reason in estimate.reasons)
    # With this card the estimate alone does not fit.
    (use,) = estimate.memory.devices
    card = replace(imagine("RTX 4090"), free=use.total + 1024 * MIB - 1, total=24 << 30)
    wishes = replace(wishes, kv_types=("f16",))
    assert choose(Machine((card,)), wishes).entry.name == "r1-7b"
    assert choose(Machine((card,), engine=True), wishes).entry.name == "odd:tag"
    told = Machine((card,), engine=True, corrections={"odd:tag": 10 * MIB})
    assert choose(told, wishes).entry.name == "r1-7b"
    less = choose(replace(told, corrections={"odd:tag": -10 * MIB}), wishes)
    assert less.entry.name == "odd:tag"
    assert any("the engine has told what it takes" in reason for reason in less.reasons)
    assert less.memory.devices[0].total == use.total - 10 * MIB


def test_a_partial_offload_is_pinned_by_its_layers() -> None:
    asked = wishes_for(models=("r1-32b",), wishes=Wishes((), offload=True))
    card = imagine("RTX 3080")
    found = choose(Machine((card,)), asked)
    assert found.load.gpu_layers
    pinned = replace(asked, gpu_layers=found.load.gpu_layers - 3)
    assert choose(Machine((card,)), pinned).load.gpu_layers == found.load.gpu_layers - 3
    with pytest.raises(CorralError, match="do not fit on the GPU"):
        choose(Machine((replace(card, free=card.free - 4096 * MIB),)), pinned)
    assert rank(found, asked) > rank(choose(Machine((card,)), pinned), asked)


@pytest.mark.parametrize(
    ("card", "observed_mib"),
    [
        ("Tesla T4", 105), ("RTX 3060", 152), ("RTX 3090", 265), ("RTX 4090", 456), ("L4", 194), ("A100 40GB", 503),
        ("H100", 527), ("H200", 529), ("RTX 5060 Ti", 137), ("RTX 5090", 523),
    ],
)  # fmt: skip
def test_the_overhead_is_not_less_than_what_people_saw(card: str, observed_mib: int) -> None:
    """Contexts, and where they are known processes at work, from public logs."""
    assert observed_mib + 30 < imagine(card).overhead / MIB < 1.5 * observed_mib + 150
