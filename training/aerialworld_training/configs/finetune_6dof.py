"""As `finetune_tokyo`, with the moved past sampled more finely for vehicles that turn and climb."""

_base_ = ["finetune_tokyo.py"]

model = dict(kind="aerial", warp_samples=2)
