"""TF-IDF with logistic regression."""

from sklearn.linear_model import LogisticRegression

from systems.tfidf_features import BIAS, FEATURES, Tfidf

ITERATIONS = 1000  # at most; it converges long before


class TfidfLogistic(Tfidf):
    """Logistic regression with L2 regularisation."""

    name = "TF-IDF + logistic regression"
    description = f"scikit-learn's {FEATURES} and LogisticRegression(C=1, max_iter={ITERATIONS})."
    bias = (
        f"{BIAS} Its regularisation, C=1, is the default and strong for these features: a larger C takes "
        "longer and is often more accurate."
    )

    def classifier(self, seed: int) -> LogisticRegression:
        """Make the logistic regression."""
        return LogisticRegression(max_iter=ITERATIONS, random_state=seed)


SYSTEM = TfidfLogistic()
