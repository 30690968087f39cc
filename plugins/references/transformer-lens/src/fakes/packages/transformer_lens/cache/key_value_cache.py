from unittest.mock import MagicMock

TransformerLensKeyValueCache = MagicMock()
