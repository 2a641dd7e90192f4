"""TF-IDF with a linear support vector machine, as ``token2wave train --baseline`` trains it."""

from sklearn.svm import LinearSVC

from systems.tfidf_features import BIAS, FEATURES, Tfidf


class TfidfSvc(Tfidf):
    """The recipe of :mod:`token2wave.training.baseline`."""

    name = "TF-IDF + LinearSVC"
    description = f"scikit-learn's {FEATURES} and LinearSVC(C=1, random_state=seed)."
    bias = BIAS

    def classifier(self, seed: int) -> LinearSVC:
        """Make the support vector machine."""
        return LinearSVC(random_state=seed)


SYSTEM = TfidfSvc()
