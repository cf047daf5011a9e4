"""Researchers with a language model behind them: the host's side. Needs the extra `aarlab[llm]`."""
