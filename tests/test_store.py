"""The database: transactions that hold, rows that come back as they went in, a schema that can grow."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from aarlab.errors import Infrastructure, InputError
from aarlab.records import Answer, Post, ResearcherRow, Score, Submission
from aarlab.store import Store, migrations


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "lab.db")
    with store.write() as rows:
        rows.add_researcher(ResearcherRow("ada", "search", "simplicity", token_hash="t"))
    return store


def submission(normal: str = "n", **more: object) -> Submission:
    return Submission(0, "ada", "m", "queued", "b", normal, 1.0, **more)  # type: ignore[arg-type]


def test_rows_come_back_as_they_went_in(store: Store) -> None:
    """What is read equals what was written, numbers assigned."""
    with store.write() as rows:
        first = rows.add_submission(submission(claimed_pgr=0.25, note="why"))
        post = rows.add_post(Post(0, "ada", "insight", "title", "body", 2.0, submission=first.id))
        rows.set_meta("ladder", {"step": 0.005})
    with store.read() as rows:
        assert rows.submission(first.id) == first
        assert rows.post(post.id) == post
        assert rows.meta("ladder") == {"step": 0.005}
        assert rows.meta("nothing", 3) == 3
        assert [r.name for r in rows.researchers()] == ["ada"]


def test_a_failed_transaction_writes_nothing(store: Store) -> None:
    """An exception anywhere undoes the whole transaction."""

    def half() -> None:
        with store.write() as rows:
            rows.add_submission(submission())
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        half()
    with store.read() as rows:
        assert rows.submissions() == []


def test_numbers_are_never_used_again(store: Store) -> None:
    """A number once given to a submission is not given to another, even after the row is gone."""
    with store.write() as rows:
        first = rows.add_submission(submission())
        rows.c.execute(text("DELETE FROM submissions"))
        second = rows.add_submission(submission())
    assert second.id > first.id


def test_writers_take_turns(store: Store) -> None:
    """Read-modify-write in one transaction loses no update with many threads."""

    def add() -> None:
        for _ in range(20):
            with store.write() as rows:
                rows.set_meta("n", rows.meta("n", 0) + 1)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    with store.read() as rows:
        assert rows.meta("n") == 160


def test_an_evaluation_is_claimed_once(store: Store) -> None:
    """Many claimers, each evaluation goes to one of them; only the holder of the lease can end it."""
    with store.write() as rows:
        for i in range(20):
            number = rows.add_submission(submission(str(i))).id
            assert rows.add_evaluation(number, "p", "feedback", "feedback", 1.0)
            assert not rows.add_evaluation(number, "p", "feedback", "feedback", 1.0)
    taken: list[int] = []

    def claim(name: str) -> None:
        while True:
            with store.write() as rows:
                found = rows.claim(name)
            if found is None:
                return
            taken.append(found.id)

    threads = [threading.Thread(target=claim, args=(f"w{i}",)) for i in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(taken) == len(set(taken)) == 20
    with store.write() as rows:
        first = rows.evaluation(taken[0])
        assert first is not None
        assert first.lease is not None
        assert not rows.finish(first.id, "somebody else", status="scored")
        assert rows.finish(first.id, first.lease, status="scored")
        assert not rows.finish(first.id, first.lease, status="scored")
        assert len(rows.requeue_running()) == 19


def test_a_long_queue_holds_up_nobody_else(store: Store) -> None:
    """Everybody's first evaluation is claimed before anybody's second, whoever filled the queue first."""
    with store.write() as rows:
        rows.add_researcher(ResearcherRow("bea", "search", "", token_hash="u"))
        for who, i in [("ada", 0), ("ada", 1), ("ada", 2), ("bea", 3), ("bea", 4)]:
            number = rows.add_submission(replace(submission(str(i)), researcher=who)).id
            rows.add_evaluation(number, "p", "feedback", "feedback", 1.0)
        claimed = [rows.claim(f"w{i}") for i in range(5)]
        assert [e.submission for e in claimed if e] == [1, 4, 2, 5, 3]


def test_answers_are_reserved_given_and_released(store: Store) -> None:
    """A reserved answer counts as taken; releasing gives it back unless it was given."""
    with store.write() as rows:
        one, two = (rows.add_submission(submission(str(i))).id for i in range(2))
        rows.reserve_answer(one, "ada")
        rows.reserve_answer(two, "ada")
        assert rows.answers_taken() == {"ada": 2}
        rows.give_answer(one, 1, Answer("new record 0.7", 0.7))
        rows.release_answer(one)
        rows.release_answer(two)
        assert rows.answers_taken() == {"ada": 1}
        assert rows.ladder_state() == (1, 0.7)
        assert rows.answers_given() == [(1, one, Answer("new record 0.7", 0.7))]


def test_scores_carry_what_they_belong_to(store: Store) -> None:
    """A score row is read together with its submission, task and purpose."""
    with store.write() as rows:
        number = rows.add_submission(submission()).id
        rows.add_evaluation(number, "p", "record-a", "record", 1.0)
        score = Score(number, "record-a", 0, 0.75, 0.5, 100, 1.5, 2.0, 1, "p", "record")
        rows.add_scores([score])
        assert rows.scores() == [score]
        assert rows.scores(2) == []
        assert rows.measured() == [(number, "record", 0.5, 1.5)]


def test_search_takes_the_words_as_they_are(store: Store) -> None:
    """Wildcards and quotes in a search are plain characters; `since` and `limit` select the newest, oldest first."""
    with store.write() as rows:
        for i, title in enumerate(["100% sure", "a_b", "it's", "aXb"]):
            rows.add_post(Post(0, "ada", "insight" if i % 2 else "result", title, "", float(i)))
        assert [p.title for p in rows.posts(search="0%")] == ["100% sure"]
        assert [p.title for p in rows.posts(search="A_B")] == ["a_b"]
        assert [p.title for p in rows.posts(search="' OR 1=1 --")] == []
        assert [p.id for p in rows.posts(limit=2)] == [3, 4]
        assert [p.id for p in rows.posts(since=3)] == [4]
        assert [p.id for p in rows.posts(kind="result")] == [1, 3]


@pytest.mark.parametrize(
    ("search", "kind", "found"),
    [("seeds", None, [1, 2]), ("SEEDS", "result", [1]), ("é", None, [3]), ("É", None, []), ("", "insight", [2])],
)
def test_a_list_of_posts_and_a_page_of_them_find_the_same(
    store: Store, search: str, kind: str | None, found: list[int]
) -> None:
    """In title or body, and ASCII letters in either case; other letters as they are written."""
    with store.write() as rows:
        for i, (title, body) in enumerate([("More Seeds", ""), ("why", "seeds differ"), ("café", "")]):
            rows.add_post(Post(0, "ada", "insight" if i == 1 else "result", title, body, float(i)))
        assert [p.id for p in rows.posts(search, kind)] == found
        assert rows.matching_posts(search, kind) == found[::-1]


def plans(store: Store) -> list[str]:
    """How SQLite looks for the posts that a thread, a submission's page and a researcher's ask for."""
    with store.read() as rows:
        asked = [f"SELECT * FROM posts WHERE {key} = 1" for key in ("parent", "submission", "researcher")]
        return [str(rows.c.exec_driver_sql(f"EXPLAIN QUERY PLAN {q}").one()[3]) for q in asked]


def test_posts_are_found_without_reading_the_forum(store: Store, tmp_path: Path) -> None:
    """Also in a lab that an older version made."""
    with store.write() as rows:
        for index in ("parent", "submission", "researcher"):
            rows.c.exec_driver_sql(f"DROP INDEX posts_by_{index}")
        rows.c.exec_driver_sql("UPDATE schema_version SET version = 4")
    assert all("SCAN" in plan for plan in plans(store))
    store.close()
    again = Store(tmp_path / "lab.db")
    assert all("USING INDEX posts_by_" in plan for plan in plans(again))
    assert (tmp_path / "lab.schema-4.db").is_file()
    again.close()


def test_schema_grows_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old database gets the new steps once, in order; one from the future is refused."""
    path = tmp_path / "lab.db"
    Store(path).close()
    more = [*migrations.STEPS, lambda c: c.execute(text("ALTER TABLE posts ADD COLUMN mood TEXT"))]
    monkeypatch.setattr(migrations, "STEPS", more)
    for _ in range(2):
        Store(path).close()
    db = sqlite3.connect(path)
    assert db.execute("SELECT version FROM schema_version").fetchall() == [(len(more),)]
    assert "mood" in [r[1] for r in db.execute("PRAGMA table_info(posts)")]
    db.close()
    monkeypatch.setattr(migrations, "STEPS", migrations.STEPS[:1])
    with pytest.raises(InputError, match="newer aarlab"):
        Store(path)


def test_a_full_disk_is_our_failure(store: Store) -> None:
    """`disk is full` becomes Infrastructure, and the store works again when there is room."""
    with store.write() as rows:
        pages = rows.c.execute(text("PRAGMA page_count")).scalar_one()

    def fill() -> None:
        with store.write() as rows:
            rows.c.execute(text(f"PRAGMA max_page_count={pages}"))
            for _ in range(100):
                rows.add_post(Post(0, "ada", "insight", "t", "x" * 100_000, 1.0))

    with pytest.raises(Infrastructure, match="full"):
        fill()
    store.engine.dispose()
    with store.write() as rows:
        assert rows.posts() == []
        rows.add_post(Post(0, "ada", "insight", "t", "b", 1.0))


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    """A damaged file gives one sentence with its path."""
    path = tmp_path / "lab.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(Infrastructure, match=r"lab\.db"):
        Store(path)


def test_an_older_database_is_brought_up_to_date_and_a_copy_is_kept(tmp_path):
    """What an older version wrote stays readable; the copy has what it had."""
    Store(tmp_path / "lab.db").close()
    with sqlite3.connect(tmp_path / "lab.db") as c:
        for table in ("events", "spending", "accounts", "ideas"):
            c.execute(f"DROP TABLE {table}")
        c.execute("UPDATE schema_version SET version = 3")
        c.execute("INSERT INTO meta VALUES ('kept', '1')")
    store = Store(tmp_path / "lab.db")
    with store.read() as rows:
        assert rows.meta("kept") == 1
        assert rows.last_event() == 0
    store.close()
    with sqlite3.connect(tmp_path / "lab.schema-3.db") as c:
        assert c.execute("SELECT version FROM schema_version").fetchall() == [(3,)]
        assert c.execute("SELECT value FROM meta WHERE key = 'kept'").fetchall() == [("1",)]


def test_a_watcher_notices_what_others_write(tmp_path):
    store, other = Store(tmp_path / "lab.db"), Store(tmp_path / "lab.db")
    version = store.watcher()
    first = version()
    assert version() == first
    with other.write() as rows:
        rows.set_meta("x", 1)
    assert version() != first
    store.close()
    other.close()
