"""What the strength of an edit means: every editor has one axis from bold to careful, and names it here.

`tau` runs from 0 to 1 wherever it is passed, stored or compared; an axis says what an editor makes of it and what
people read. Loads no model library, so that a page can name the axis before any editor is opened.
"""

from pipeline.types import Axis

TAU = Axis(name="tau", symbol="τ", help="share of the steps that keep the photo's own layout")
IMAGE_GUIDANCE = Axis(
    name="image guidance",
    symbol="s_I",  # as InstructPix2Pix (Brooks et al., 2023) writes it; 1.5 is its usual value
    help="how strongly the photo guides its own edit",
    low=1.0,
    high=2.0,
)

AXES: dict[str, Axis] = {"stable-diffusion": TAU, "instruct-pix2pix": IMAGE_GUIDANCE}
"""Family of editors, as in `models.EDITORS` -> its axis."""
