from unittest.mock import MagicMock

TransformerBridge = MagicMock()
