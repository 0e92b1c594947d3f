"""From a picture to its caption, and from a caption to variations by factor, with the gates that they have to pass.

`captioning` describes, `perturbation` varies, `gates` judge, `adapter` trains the LoRA; `factors` lists what may vary.
Knows no editor, no classifier and no store.
"""
