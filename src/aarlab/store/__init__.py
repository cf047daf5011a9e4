"""The only code that speaks SQL: one SQLite file per lab, and the machine's count of answers per label set."""

from aarlab.store.database import Store
from aarlab.store.rows import Rows

__all__ = ["Rows", "Store"]
