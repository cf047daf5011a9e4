"""The fine-tuned student (extra `[train]`): a language model with low-rank adapters. See docs/lora.md."""

from aarlab.w2s.students.lora.config import CONFIGURATIONS, LoraConfig, configuration
from aarlab.w2s.students.lora.student import LoraHead, LoraStudent

__all__ = ["CONFIGURATIONS", "LoraConfig", "LoraHead", "LoraStudent", "configuration"]
