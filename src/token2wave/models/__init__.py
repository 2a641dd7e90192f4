"""Wave Networks: their shape as data, and the network itself."""

from token2wave.models.batch import Batch, make_batch
from token2wave.models.config import ParameterCount, WaveConfig
from token2wave.models.network import WaveNetwork
from token2wave.models.prediction import predict_logits

__all__ = ["Batch", "ParameterCount", "WaveConfig", "WaveNetwork", "make_batch", "predict_logits"]
