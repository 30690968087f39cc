from unittest.mock import MagicMock

ProcessWeights = MagicMock()
