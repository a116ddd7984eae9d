"""How good synthetic images are: fidelity with its floor, similarity, memorisation, and the extractors behind them.

The parts take uint8 tensors ``(N, C, H, W)`` and know nothing of generators. The function ``memorisation`` is imported
from its module, whose name it shares.
"""

from augment.metrics.extractors import Extractor, load_extractor
from augment.metrics.fidelity import Fidelity, score_fidelity
from augment.metrics.memorisation import Memorisation, nearest
from augment.metrics.similarity import ms_ssim_levels, ms_ssim_reduced, psnr, ssim, ssim_diversity

__all__ = [
    "Extractor",
    "Fidelity",
    "Memorisation",
    "load_extractor",
    "ms_ssim_levels",
    "ms_ssim_reduced",
    "nearest",
    "psnr",
    "score_fidelity",
    "ssim",
    "ssim_diversity",
]
