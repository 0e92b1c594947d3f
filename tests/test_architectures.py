"""Full-size architectures: what is found in them without weights; those that are small enough run with random ones."""

from __future__ import annotations

import open_clip
import pytest
import timm
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

from pipeline.classifiers.families import TimmClassifier, _labels
from pipeline.editing.attention import CrossAttentionInjection, SelfAttentionInjection, controlled
from pipeline.scoring.clip import OpenClipScorer
from tests import architectures

pytestmark = pytest.mark.slow

PHOTOS = [Image.effect_noise((240, 300), 90).convert("RGB")]


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def filled(architecture: str) -> torch.nn.Module:
    """A timm model with random weights, faster than its own initialisation makes them."""
    with torch.device("meta"):
        network = timm.create_model(architecture)
    network = network.to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.fill_(1) if "running_var" in name else value.uniform_(-0.05, 0.05, generator=generator)
    return network


@pytest.mark.parametrize(
    ("changes", "numbers", "layers"), [({}, 859_520_964, 16), (architectures.BK_SDM_SMALL, 482_346_884, 9)]
)
def test_every_attention_layer_of_stable_diffusion_is_under_control(
    changes: dict[str, object], numbers: int, layers: int
) -> None:
    with torch.device("meta"):
        unet = architectures.sd1_unet(**changes)
    assert parameters(unet) == numbers
    before = dict(unet.attn_processors)
    with controlled(unet):
        found = list(unet.attn_processors.values())
    assert sum(isinstance(processor, SelfAttentionInjection) for processor in found) == layers
    assert sum(isinstance(processor, CrossAttentionInjection) for processor in found) == layers
    assert len(found) == 2 * layers
    assert unet.attn_processors == before


@pytest.mark.parametrize(
    ("make", "layers", "rank"), [(architectures.llama_7b, 32, 4096 * 8 * 4), (architectures.smollm2, 24, 2048 * 8 * 4)]
)
def test_the_adapter_finds_its_projections(make: object, layers: int, rank: int) -> None:
    with torch.device("meta"):
        model = make()  # type: ignore[operator]
        config = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
        adapted = get_peft_model(model, config)
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    assert len(trained) == 2 * 2 * layers
    assert sum(processor.numel() for processor in trained) == layers * rank


@pytest.mark.parametrize(
    ("architecture", "width", "millions"),
    [("resnet50", 2048, 25.6), ("densenet121", 1024, 8.0), ("vgg16", 4096, 138.4)],
)
def test_the_papers_classifiers_run_at_full_size(architecture: str, width: int, millions: float) -> None:
    network = filled(f"{architecture}.tv_in1k")
    assert parameters(network) / 1e6 == pytest.approx(millions, abs=0.1)
    labels = _labels(network.pretrained_cfg, 1000, architecture)
    preprocess = create_transform(**resolve_model_data_config(network), is_training=False)
    classifier = TimmClassifier(network, architecture, labels, preprocess)
    features, (weight, bias) = classifier.features(PHOTOS), classifier.head()
    assert features.shape == (1, width)
    assert weight.shape == (1000, width)
    predicted = torch.tensor([prediction.probabilities.tolist() for prediction in classifier.predict(PHOTOS)])
    torch.testing.assert_close(predicted, (features @ weight.T + bias).softmax(-1), atol=1e-5, rtol=1e-4)
    assert any("dogsled" in label for label in labels)


def test_clip_runs_at_full_size() -> None:
    torch.manual_seed(0)
    model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32", load_weights=False)
    scorer = OpenClipScorer(model.eval(), preprocess, open_clip.get_tokenizer("ViT-B-32"), "cpu")
    (scores,) = scorer.score(Image.new("RGB", (99, 80)), "a photo of a dog", [(PHOTOS[0], "a photo of a cat")])
    assert parameters(model) == 151_277_313
    assert -1 <= scores.directional_similarity <= 1
    assert scores.image_similarity < 1
