"""scikit-learn and SciPy on lazygrad's arrays, by their Array API dispatch: they give tensors, and NumPy's numbers."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.cluster.vq
import scipy.differentiate
import scipy.fft
import scipy.integrate
import scipy.ndimage
import scipy.signal
import scipy.special
import scipy.stats
from scipy.optimize import elementwise
from sklearn import config_context, metrics
from sklearn import preprocessing as pre
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.metrics import pairwise
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import cross_val_predict, train_test_split
from sklearn.naive_bayes import GaussianNB

import lazygrad as lg

DATA, CLASSES = load_iris(return_X_y=True)
TARGET = DATA @ np.array([1.0, -2.0, 0.5, 3.0]) + 0.1 * np.sin(np.arange(len(DATA)))

ESTIMATORS = {
    "standard scaler": lambda x, t, y: pre.StandardScaler().fit_transform(x),
    "min-max scaler": lambda x, t, y: pre.MinMaxScaler().fit_transform(x),
    "normalizer": lambda x, t, y: pre.Normalizer().fit_transform(x),
    "kernel centerer": lambda x, t, y: pre.KernelCenterer().fit_transform(x @ x.T),
    "polynomial features": lambda x, t, y: pre.PolynomialFeatures(2).fit_transform(x),
    "label binarizer": lambda x, t, y: pre.LabelBinarizer().fit_transform(t),
    "principal components": lambda x, t, y: PCA(2, svd_solver="full").fit_transform(x),
    "principal components of the covariance": lambda x, t, y: PCA(2, svd_solver="covariance_eigh").fit_transform(x),
    "ridge": lambda x, t, y: Ridge(solver="svd").fit(x, y).predict(x),
    "ridge classifier": lambda x, t, y: RidgeClassifier(solver="svd").fit(x, t).predict(x),
    "discriminant analysis": lambda x, t, y: LinearDiscriminantAnalysis(solver="svd").fit(x, t).predict(x),
    "naive Bayes": lambda x, t, y: GaussianNB().fit(x, t).predict(x),
    "logistic regression": lambda x, t, y: LogisticRegression(max_iter=500).fit(x, t).predict_proba(x),
    "Gaussian mixture": lambda x, t, y: GaussianMixture(3, init_params="random", random_state=0, max_iter=300).fit(x).means_,
    "Nyström": lambda x, t, y: Nystroem(n_components=10, random_state=0).fit_transform(x),
    "split": lambda x, t, y: train_test_split(x, random_state=0)[0],
    "cross validation": lambda x, t, y: cross_val_predict(Ridge(solver="svd"), x, y),
    "confusion matrix": lambda x, t, y: metrics.confusion_matrix(t, (t + 1) % 3),
}
CLASSIFICATION = ("accuracy_score", "zero_one_loss", "balanced_accuracy_score", "cohen_kappa_score", "hamming_loss")
REGRESSION = ("mean_squared_error", "mean_absolute_error", "r2_score", "median_absolute_error", "max_error", "explained_variance_score",
              "mean_pinball_loss", "d2_tweedie_score", "mean_gamma_deviance", "mean_poisson_deviance")
KERNELS = ("cosine_similarity", "euclidean_distances", "rbf_kernel", "polynomial_kernel", "laplacian_kernel", "manhattan_distances", "chi2_kernel")


@pytest.fixture(autouse=True)
def dispatch():
    with config_context(array_api_dispatch=True):
        yield


def tensors():
    return [lg.asarray(a) for a in (DATA, CLASSES, TARGET)]


def same(found, want, tolerance=1e-8):
    assert isinstance(found, type(lg.zeros(1)).__mro__[-2])
    np.testing.assert_allclose(found.value, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators(name):
    want = ESTIMATORS[name](DATA, CLASSES, TARGET)
    iterates = name in ("logistic regression", "Gaussian mixture")            # stop where a change falls below 1e-3, or 1e-4
    same(ESTIMATORS[name](*tensors()), want, 1e-3 if iterates else 1e-8)


@pytest.mark.parametrize("name", CLASSIFICATION + REGRESSION)
def test_scores(name):
    def score(x, t, y):
        return getattr(metrics, name)(*((t, (t + (y > 3)) % 3) if name in CLASSIFICATION else (y * y + 1, y * y * 1.1 + 2)))

    # shares of samples are float32 where the namespace's default float is: 1e-6 is its rounding
    assert score(*tensors()) == pytest.approx(score(DATA, CLASSES, TARGET), rel=1e-6)


@pytest.mark.parametrize("name", KERNELS)
def test_pairwise(name):
    same(getattr(pairwise, name)(lg.asarray(DATA)), getattr(pairwise, name)(DATA))


V = np.random.default_rng(0).random(24) + 0.5
M = V.reshape(6, 4)
FUNCTIONS = {
    **{f"special.{n}": lambda v, m, n=n: getattr(scipy.special, n)(v) for n in ("gammaln", "digamma", "erf", "i0", "i1e", "ndtr", "log_ndtr", "expit", "entr")},
    **{f"special.{n}": lambda v, m, n=n: getattr(scipy.special, n)(v, v[::-1]) for n in ("xlogy", "rel_entr", "gammainc", "gammaincc")},
    **{f"special.{n}": lambda v, m, n=n: getattr(scipy.special, n)(m, axis=1) for n in ("logsumexp", "softmax", "log_softmax")},
    "special.betainc": lambda v, m: scipy.special.betainc(v, v, v / 3),
    **{f"fft.{n}": lambda v, m, n=n: getattr(scipy.fft, n)(m) for n in ("fft", "ifft", "fft2", "rfft", "hfft", "dct", "dst")},
    **{f"stats.{n}": lambda v, m, n=n: getattr(scipy.stats, n)(v) for n in ("skew", "kurtosis", "gmean", "zscore", "entropy", "variation", "sem", "iqr")},
    "stats.pearsonr": lambda v, m: scipy.stats.pearsonr(m[:, 0], m[:, 1]).statistic,
    "stats.ttest_ind": lambda v, m: scipy.stats.ttest_ind(m[:, 0], m[:, 1]).pvalue,
    **{f"signal.{n}": lambda v, m, n=n: getattr(scipy.signal, n)(v, v[:5]) for n in ("convolve", "correlate", "fftconvolve")},
    "signal.hilbert": lambda v, m: scipy.signal.hilbert(v),
    "integrate.trapezoid": lambda v, m: scipy.integrate.trapezoid(v),
    "cluster.kmeans": lambda v, m: scipy.cluster.vq.kmeans(m, m[:2])[0],
    "ndimage.gaussian_filter": lambda v, m: scipy.ndimage.gaussian_filter(m, 1.0),
    "differentiate.derivative": lambda v, m: scipy.differentiate.derivative(lambda z: z ** 3, v).df,
    "optimize.find_root": lambda v, m: elementwise.find_root(lambda z: z * z - 2.0, (v - v, v + 2.0)).x,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_scipy(name):
    same(FUNCTIONS[name](lg.asarray(V), lg.asarray(M)), FUNCTIONS[name](V, M))


def test_a_pipeline_differentiates():
    """What dispatch leaves lazy has derivatives: of the sum of a normalized kernel by its data."""
    x = lg.asarray(DATA[:5])
    (g,) = pairwise.rbf_kernel(x, gamma=0.5).sum().gradient(x)
    h = 1e-6 * np.sin(np.arange(20.0)).reshape(5, 4)
    slope = (pairwise.rbf_kernel(DATA[:5] + h, gamma=0.5).sum() - pairwise.rbf_kernel(DATA[:5] - h, gamma=0.5).sum()) / 2
    assert (g * h).sum().item() == pytest.approx(slope, rel=1e-6)
