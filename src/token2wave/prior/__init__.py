"""The language prior: what the package knows of English words before it sees your texts."""

from token2wave.prior.language_prior import LanguagePrior, load_prior

__all__ = ["LanguagePrior", "load_prior"]
