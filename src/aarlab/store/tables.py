"""The tables of a lab. Times are Unix seconds; JSON is text."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, Table, Text, UniqueConstraint

metadata = MetaData()

meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

researchers = Table(
    "researchers", metadata,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("direction", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("token_hash", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("state", Text, nullable=False, default=""),
    Column("best_open_pgr", Float),
    Column("trials", Integer, nullable=False, default=0),
    Column("heartbeat", Float),
)  # fmt: skip

submissions = Table(
    "submissions", metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("researcher", Text, ForeignKey("researchers.name"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("bundle_hash", Text, nullable=False),
    Column("normal_hash", Text, nullable=False, index=True),
    Column("created", Float, nullable=False),
    Column("finished", Float),
    Column("parent", Integer, ForeignKey("submissions.id")),
    Column("track", Text, nullable=False),
    Column("claimed_pgr", Float),
    Column("answer", Text),
    Column("record", Float),
    Column("reason", Text),
    Column("note", Text, nullable=False),
    Column("repeat_of", Integer, ForeignKey("submissions.id")),
    Column("ranked", Boolean, nullable=False),
    Column("remark", Text, nullable=False),
    sqlite_autoincrement=True,
)  # fmt: skip

evaluations = Table(
    "evaluations", metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("submission", Integer, ForeignKey("submissions.id"), nullable=False),
    Column("problem", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("status", Text, nullable=False, index=True),
    Column("created", Float, nullable=False),
    Column("reason", Text),
    Column("lease", Text),
    Column("failures", Integer, nullable=False, default=0),
    Column("finished", Float),
    Column("outcome", Text),
    UniqueConstraint("submission", "problem", "task", "purpose"),
    sqlite_autoincrement=True,
)  # fmt: skip

scores = Table(
    "scores", metadata,
    Column("evaluation", Integer, ForeignKey("evaluations.id"), primary_key=True),
    Column("seed_index", Integer, primary_key=True),
    Column("accuracy", Float, nullable=False),
    Column("pgr", Float, nullable=False),
    Column("items", Integer, nullable=False),
    Column("cpu_seconds", Float, nullable=False),
    Column("wall_seconds", Float, nullable=False),
)  # fmt: skip

answers = Table(
    "answers", metadata,
    Column("submission", Integer, ForeignKey("submissions.id"), primary_key=True),
    Column("researcher", Text, nullable=False),
    Column("number", Integer, unique=True),  # NULL while only reserved; 1, 2, ... in the order they were given
    Column("text", Text),
    Column("record", Float),
)  # fmt: skip

posts = Table(
    "posts", metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("researcher", Text, ForeignKey("researchers.name"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("parent", Integer, ForeignKey("posts.id")),
    Column("submission", Integer, ForeignKey("submissions.id")),
    sqlite_autoincrement=True,
)  # fmt: skip

ledger = Table(
    "ledger", metadata,
    Column("number", Integer, primary_key=True),
    Column("time", Float, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("mac", Text, nullable=False),
)  # fmt: skip

idempotency = Table(
    "idempotency", metadata,
    Column("researcher", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request", Text, nullable=False),  # SHA-256 of what was asked
    Column("reply", Text, nullable=False),
)  # fmt: skip

practice = Table(
    "practice", metadata,
    Column("number", Integer, primary_key=True),  # 1, 2, ... in the order the answers were given
    Column("researcher", Text, ForeignKey("researchers.name"), nullable=False),
    Column("list_hash", Text, nullable=False, unique=True),
    Column("predictions", Text, nullable=False),  # one digit per item
    Column("answer", Float, nullable=False),
    Column("time", Float, nullable=False),
)  # fmt: skip

findings = Table(
    "findings", metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("submission", Integer, ForeignKey("submissions.id"), nullable=False, index=True),
    Column("evaluation", Integer, ForeignKey("evaluations.id"), nullable=False),
    Column("audit", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("value", Float),
    Column("low", Float),
    Column("high", Float),
    Column("items", Integer, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("details", Text, nullable=False),  # JSON
    UniqueConstraint("evaluation", "audit"),
)  # fmt: skip

verdicts = Table(
    "verdicts", metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("submission", Integer, ForeignKey("submissions.id"), nullable=False, index=True),
    Column("evaluation", Integer, ForeignKey("evaluations.id")),
    Column("outcome", Text, nullable=False),
    Column("declared", Text, nullable=False),
    Column("track", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("row", Text, nullable=False),
    Column("channels", Text, nullable=False),  # JSON
    Column("time", Float, nullable=False),
    Column("by", Text, nullable=False),  # "lab" or "operator"
    Column("level", Text, nullable=False),
    Column("cpu_seconds", Float, nullable=False),
)  # fmt: skip

events = Table(
    "events", metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("researcher", Text, ForeignKey("researchers.name"), nullable=False),
    Column("key", Text, nullable=False),
    Column("session", Integer, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),  # JSON
    Column("time", Float, nullable=False),
    Column("submission", Integer, ForeignKey("submissions.id")),
    Column("post", Integer, ForeignKey("posts.id")),
    Column("log", Text, nullable=False),
    UniqueConstraint("researcher", "key"),
    sqlite_autoincrement=True,
)  # fmt: skip

spending = Table(
    "spending", metadata,
    Column("researcher", Text, ForeignKey("researchers.name"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("dollars", Float, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("time", Float, nullable=False),
    Column("model", Text, nullable=False),
    Column("input_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("cache_read_tokens", Integer, nullable=False),
    Column("cache_write_tokens", Integer, nullable=False),
    Column("reasoning_tokens", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
)  # fmt: skip

accounts = Table(
    "accounts", metadata,
    Column("name", Text, ForeignKey("researchers.name"), primary_key=True),
    Column("llm_dollars", Float, nullable=False),
    Column("compute_dollars", Float, nullable=False),
    Column("minutes", Float, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("input_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("cache_read_tokens", Integer, nullable=False),
    Column("cache_write_tokens", Integer, nullable=False),
    Column("reasoning_tokens", Integer, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("lost_calls", Integer, nullable=False),
    Column("llm_seconds", Float, nullable=False),
)  # fmt: skip

ideas = Table(
    "ideas", metadata,
    Column("kind", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("by", Text, primary_key=True),
    Column("family", Text, nullable=False),
)  # fmt: skip

POST_INDEXES = (
    Index("posts_by_parent", posts.c.parent),
    Index("posts_by_submission", posts.c.submission),
    Index("posts_by_researcher", posts.c.researcher),
)
"""A forum of 50,000 posts is else read whole for the answers to one, the posts about a submission, or one's own."""

Index("evaluations_by_submission", evaluations.c.submission)
Index("events_in_order", events.c.researcher, events.c.id)
Index("events_by_submission", events.c.submission, sqlite_where=events.c.submission.is_not(None))
Index("spending_outstanding", spending.c.researcher, sqlite_where=spending.c.state == "reserved")
