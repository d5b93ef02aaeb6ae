"""modelscope's own classes of OFA, imported without what visual entailment does not use."""

from __future__ import annotations

from audit.models.ofa.standins import stand_ins

with stand_ins():
    from modelscope.models.multi_modal import OfaForAllTasks
    from modelscope.models.multi_modal.ofa import OFAModel, OFATokenizer
    from modelscope.models.multi_modal.ofa.configuration_ofa import OFAConfig

    # Not OfaPreprocessor, which only chooses this one: its module imports all pipelines and data
    # sets.
    from modelscope.preprocessors.ofa import OfaVisualEntailmentPreprocessor
    from modelscope.preprocessors.ofa.utils.collate import collate_tokens
    from modelscope.utils.config import Config

    # torchvision's operators would import torch's compiler if it were not late here too.
    from torchvision.transforms import ToTensor

__all__ = [
    "Config",
    "OFAConfig",
    "OFAModel",
    "OFATokenizer",
    "OfaForAllTasks",
    "OfaVisualEntailmentPreprocessor",
    "ToTensor",
    "collate_tokens",
]
