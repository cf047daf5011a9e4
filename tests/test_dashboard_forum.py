"""The forum's pages, and markdown of researchers that must stay words."""

from __future__ import annotations

import sqlite3
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aarlab.dashboard import forum
from aarlab.dashboard.downloads import as_csv
from aarlab.dashboard.lab import WatchedLab
from aarlab.dashboard.words import SHOWN, markdown
from aarlab.errors import InputError, UnknownName
from aarlab.records import Post
from dashboard_pages import check_page, check_quoted, parts, shown
from recorded_lab import make


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A lab with hostile posts; no test writes to it."""
    lab = WatchedLab(make(tmp_path_factory.mktemp("labs") / "recorded", submissions=60, posts=60, hostile=True))
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    return make(tmp_path_factory.mktemp("labs") / "bare", researchers=3, submissions=12, posts=0, events=False)


@pytest.fixture
def lab(empty):
    """A lab without posts; `write` below adds some, which go again."""
    found = WatchedLab(empty)
    yield found
    with sqlite3.connect(empty / "lab.db") as c:
        c.execute("DELETE FROM posts")
    found.close()


def write(lab, *posts):
    """Rows as they come, also those that the door would not let in: (number, parent, changed fields)."""
    with sqlite3.connect(lab.folder / "lab.db") as c:  # which checks no foreign keys
        for number, parent, more in posts:
            row = {"researcher": "ada", "kind": "result", "title": f"title {number}", "body": f"body {number}",
                   "created": 1e9 + number, "submission": None, **more}  # fmt: skip
            c.execute(
                "INSERT INTO posts (id, parent, researcher, kind, title, body, created, submission) VALUES "
                "(:id, :parent, :researcher, :kind, :title, :body, :created, :submission)",
                {"id": number, "parent": parent, **row},
            )
    lab.look()


def listing(lab, **query):
    return forum.page(lab.snapshot(), lab.store, query)


def tree(lab, number, **query):
    return forum.thread(lab.snapshot(), lab.store, number, query)


def numbers(page):
    return [p["id"] for p in page["posts"]]


# The list


def test_the_thread_with_the_newest_answer_comes_first(lab):
    """However deep the answer lies; and all answers of a thread are counted."""
    write(lab, (1, None, {}), (2, None, {}), (3, 1, {}), (4, None, {}), (5, 3, {"researcher": "bea"}))
    page = listing(lab)
    assert numbers(page) == [1, 4, 2]
    assert [p["answers"] for p in page["posts"]] == [2, 0, 0]
    assert (page["posts"][0]["newest"], page["posts"][0]["newest_by"]) == (1e9 + 5, "bea")
    assert page["total"] == 3


def test_a_search_finds_answers_too(lab):
    write(lab, (1, None, {"body": "about Ridge"}), (2, 1, {"title": "RIDGE"}), (3, None, {}), (4, 3, {"body": "100%"}))
    assert numbers(listing(lab, search="ridge")) == [2, 1]
    assert numbers(listing(lab, search="%")) == [4]  # plain text, not a pattern
    assert listing(lab, search="nowhere")["posts"] == []


def test_filters_by_kind_and_by_name(lab):
    write(lab, (1, None, {"kind": "insight"}), (2, None, {"researcher": "bea"}), (3, 2, {"kind": "insight"}))
    assert numbers(listing(lab, kind="insight")) == [3, 1]
    assert numbers(listing(lab, by="bea")) == [2]
    assert numbers(listing(lab, by="ada", kind="insight", search="title 3")) == [3]
    with pytest.raises(InputError, match="no kind of posts 'gossip'"):
        listing(lab, kind="gossip")


def test_pages_of_fifty(lab):
    """Each thread stands on one page; beyond the last page is the last; filters stay in the links."""
    write(lab, *((n, None, {}) for n in range(1, 121)))
    pages = [listing(lab, page=str(n)) for n in (1, 2, 3)]
    assert [len(p["posts"]) for p in pages] == [50, 50, 20]
    assert [n for p in pages for n in numbers(p)] == list(range(120, 0, -1))
    assert numbers(listing(lab, page="99")) == numbers(pages[2])
    html = shown(lab, "forum", listing(lab, kind="result", page="2"))
    assert "?kind=result&amp;page=3" in html
    assert "?kind=result&amp;page=1" in html


@pytest.mark.parametrize("page", ["0", "-1", "x", "1.5", "²", "9" * 30])
def test_a_page_that_cannot_be(lab, page):
    with pytest.raises(InputError, match="it is a number from 1"):
        listing(lab, page=page)


def test_the_newest_page_alone_is_live(lab):
    """Live updates know nothing of searches and pages, so that elsewhere they find nothing to replace."""
    write(lab, *((n, None, {}) for n in range(1, 61)))
    made = parts(lab, "forum", listing(lab))
    assert made["part_threads"].startswith('<div id="part_threads">')
    assert 'id="part_threads"' in shown(lab, "forum", listing(lab))
    for query in ({"page": "2"}, {"search": "title"}, {"by": "ada"}):
        assert 'id="part_threads"' not in shown(lab, "forum", listing(lab, **query))


def test_a_lab_without_posts_says_so(lab):
    html = shown(lab, "forum", listing(lab))
    assert "Nobody has posted yet" in html
    assert "No post matches" in shown(lab, "forum", listing(lab, search="x"))


def test_scores_beside_citations_are_the_labs(lab):
    """A verified submission with its PGR and interval, another one with its status, one that is gone as unknown."""
    found = lab.snapshot()
    good = found.entries[0].submission.id
    bad = next(s.id for s in found.submissions.values() if s.status in ("failed", "timed_out", "refused"))
    write(lab, (1, None, {"submission": good}), (2, None, {"submission": bad}), (3, None, {"submission": 99_999}))
    cites = {p["id"]: p["cites"] for p in listing(lab)["posts"]}
    assert cites[1]["pgr"]["mean"] == found.entries[0].pgr.mean
    assert cites[2]["pgr"] is None
    assert cites[2]["status"] == found.submissions[bad].status.replace("_", " ")
    assert cites[3]["status"] == "unknown"
    check_page(shown(lab, "forum", listing(lab)))


def test_people_are_marked(lab):
    write(lab, (1, None, {"researcher": "operator"}), (2, None, {}))
    assert {p["id"]: p["person"] for p in listing(lab)["posts"]} == {1: True, 2: False}
    assert "a person" in shown(lab, "posts", tree(lab, 1))
    assert 'class="quoted person"' in shown(lab, "posts", tree(lab, 1))
    assert 'class="quoted person"' not in shown(lab, "posts", tree(lab, 2))


def test_a_table_of_posts_as_csv(recorded):
    """Formulas of a spreadsheet are words there, too."""
    text = as_csv(listing(recorded)["posts"])
    assert text.count("\r\n") == 1 + len(listing(recorded)["posts"])
    assert ",=HYPERLINK" not in text
    assert ',"=HYPERLINK' not in text


# One thread


def test_answers_stand_below_what_they_answer(lab):
    """In reading order, indented by depth, no deeper than four steps."""
    chain = [(n, n - 1, {}) for n in range(2, 8)]
    write(lab, (1, None, {}), *chain, (8, 1, {}), (9, 2, {}))
    found = tree(lab, 1)
    assert [a["id"] for a in found["answers"]] == [2, 3, 4, 5, 6, 7, 9, 8]
    assert [a["depth"] for a in found["answers"]] == [1, 2, 3, 4, 4, 4, 2, 1]
    assert found["post"]["body"] == "body 1"
    assert found["total"] == 8


def test_the_way_up_from_an_answer(lab):
    write(lab, (1, None, {}), (2, 1, {}), (3, 2, {}), (4, 3, {}))
    found = tree(lab, 3)
    assert [a["id"] for a in found["above"]] == [1, 2]
    assert [a["id"] for a in found["answers"]] == [4]


def test_answers_come_to_an_open_thread(lab):
    """The part that live updates replace is what the page shows, with the answers of now."""
    write(lab, (1, None, {}))
    before = shown(lab, "posts", tree(lab, 1))
    assert "Nobody has answered" in before
    write(lab, (2, 1, {}), (3, 2, {}))
    part = parts(lab, "posts", tree(lab, 1))["part_answers"]
    assert part.startswith('<section id="part_answers">')
    assert part in shown(lab, "posts", tree(lab, 1))
    assert [f'id="post-{n}"' in part for n in (1, 2, 3)] == [False, True, True]
    assert 'answers <a href="#post-2">' in part


def test_a_circle_of_answers_is_one_thread(lab):
    """Which only a damaged database can hold."""
    write(lab, (1, None, {}), (2, 4, {}), (3, 2, {}), (4, 3, {}), (5, 5, {}), (6, 4, {}))
    assert sorted(len(tree(lab, n)["answers"]) for n in range(1, 7)) == [0, 0, 0, 3, 3, 3]
    assert listing(lab)["total"] == 3
    assert sum(1 + p["answers"] for p in listing(lab)["posts"]) == 6
    for n in range(1, 7):
        check_page(shown(lab, "posts", tree(lab, n)))


def test_a_post_whose_parent_is_gone_begins_a_thread(lab):
    write(lab, (7, 3, {}), (8, 7, {}))
    assert numbers(listing(lab)) == [7]
    found = tree(lab, 7)
    assert found["above"] == []
    assert [a["id"] for a in found["answers"]] == [8]
    assert "answers post 3, which is not in this lab" in shown(lab, "posts", found)


def test_many_answers_come_in_pages(lab):
    write(lab, (1, None, {}), *((n, 1, {}) for n in range(2, 123)))
    pages = [tree(lab, 1, page=str(n)) for n in (1, 2, 3)]
    assert [a["id"] for p in pages for a in p["answers"]] == list(range(2, 123))
    assert "page=2" in shown(lab, "posts", pages[0])


def test_a_long_thread_does_not_nest_calls(lab):
    """Ten thousand answers, each to the one before."""
    write(lab, (1, None, {}), *((n, n - 1, {}) for n in range(2, 10_001)))
    assert tree(lab, 1)["total"] == 9999
    assert len(tree(lab, 10_000)["above"]) == 1 + forum.ABOVE
    assert listing(lab)["posts"][0]["answers"] == 9999


def test_a_long_body_is_cut_and_its_whole_is_a_download(lab):
    write(lab, (1, None, {"body": "long " * 200_000}), (2, 1, {"body": "b" * 9000}))
    began = time.process_time()
    found = tree(lab, 1)
    html = shown(lab, "posts", found)
    assert time.process_time() - began < 10
    assert len(html) < 100_000
    assert "Cut after 20,000 of 1,000,000 characters" in html
    assert "forum/2?format=json" in html
    assert len(found["post"]["body"]) == 1_000_000
    assert tree(lab, 2)["post"]["body"] == "b" * 9000


def test_an_unknown_post(lab):
    with pytest.raises(UnknownName, match="there is no post 77 in this lab"):
        tree(lab, 77)


def test_only_operators_get_a_form(lab):
    """A message to everyone, with the token against forged requests."""
    write(lab, (1, None, {}))
    for here, page in (("forum", listing(lab)), ("posts", tree(lab, 1))):
        html = shown(lab, here, page)
        assert 'action="/labs/bare/message"' in html
        assert 'name="csrf" value="c5rf"' in html
        assert 'name="to" value="everyone"' in html
        assert "/message" not in shown(lab, here, page, role="viewer")


# Hostile text

HOSTILE = [
    "<script>alert(1)</script>", "<SCRIPT SRC=//x.invalid/a.js></SCRIPT>", "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>", "<svg onload=alert(1)><animate onbegin=alert(2)></svg>", "<svg/onload=alert(1)>",
    "<style>*{display:none}</style>", "<base href='//x.invalid/'>", "<meta http-equiv=refresh content='0;url=//x'>",
    "<iframe srcdoc='<script>alert(1)</script>'>", "<a href='javascript:alert(1)' onclick=alert(2)>x</a>",
    "<form action=/labs/x/stop method=post><button>go</button></form>", "<math><mi//xlink:href='data:x,y'>",
    "<details open ontoggle=alert(1)>", "<!-- --><!doctype x><?php ?><![CDATA[ x ]]>", "</div></main></body><script>",
    "[a](javascript:alert(1))", "[a](JaVaScRiPt:alert(1))", "[a](java\tscript:alert(1))",
    "[a](java&#9;script:alert(1))",
    "[a](&#106;avascript:alert(1))", "[a](&#x6A;avascript&colon;alert(1))", "[a](<javascript:alert(1)>)",
    "[a](\x01javascript:alert(1))", "[a]( javascript:alert(1))", "[a](vbscript:x)", "[a](data:text/html,<script>)",
    "[a](DATA:text/html;base64,PHNjcmlwdD4=)", "[a](file:///etc/passwd)", "[a](//x.invalid)", "[a](/labs/x)", "[a](#x)",
    "[a](\\\\x.invalid)", "[a](mailto:a@b.c)", "<javascript:alert(1)>", "<data:text/html,x>", "<a@b.c>",
    "[a][b]\n\n[b]: javascript:alert(1)", "[b]: http://x.invalid 'hidden'", "![p](http://x.invalid/p.png)",
    "![p][q]\n\n[q]: http://x.invalid/p.png", "[![p](http://x.invalid/p.png)](javascript:alert(1))",
    "[a](http://x.invalid 'onmouseover=alert(1)')", '[a](http://x.invalid"onmouseover="alert(1))',
    "`<script>alert(1)</script>`", "```html\n<script>alert(1)</script>\n```", "    <script>alert(1)</script>",
    "# <img src=x onerror=alert(1)>", "| a | b |\n|---|---|\n| <b onclick=x> | [x](javascript:y) |",
    "***[**a](javascript:x)**", "> - 1. > `<x", "&lt;script&gt;alert(1)&lt;/script&gt;", "{{ 7 * 7 }}{% raw %}",
    "<a href=\"http://x.invalid\" style=\"position:fixed\" class=tip id=main>x</a>", "\x00<\x00script\x00>", "\x1b[2J",
    "[a](http://x.invalid/&quot;&gt;&lt;script&gt;)", "<http://x.invalid/\"onclick=\"x>", "<https://x.invalid/<script>>",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_markdown_becomes_words(text):
    check_quoted(markdown(text))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_in_every_place_of_a_page(lab, text):
    """As title, body, answer, and in the address: in the list and in the thread."""
    write(lab, (1, None, {"title": text, "body": text}), (2, 1, {"title": text, "body": text}))
    check_page(shown(lab, "forum", listing(lab)))
    check_page(shown(lab, "forum", listing(lab, search=text[:200], by=text[:200])))
    check_page(shown(lab, "posts", tree(lab, 1)))


def test_every_hostile_post_of_a_recorded_lab(recorded):
    """Each page holds nothing but what pages hold, and nothing turns the direction of reading."""
    check_page(shown(recorded, "forum", listing(recorded)))
    with recorded.store.read() as rows:
        posts = rows.posts()
    assert any("<script" in p.body for p in posts)
    for post in posts:
        found = check_page(shown(recorded, "posts", tree(recorded, post.id)))
        assert not hidden(found.text)


def hidden(text):
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") and c not in "\n\t"}


TURNED = "a\u202egnp.exe\u202c \u2066x\u2069 \u200b\u200f\ufeff\u00ad\u2028"


@pytest.mark.parametrize(
    "text",
    [TURNED, f"`{TURNED}`", f"# {TURNED}", f"[{TURNED}](http://x.invalid/{TURNED})", f"    {TURNED}",
     "&#x202e;abc&#8238;", "&rlm;&lrm;&zwj;&ZeroWidthSpace;&shy;&NoBreak;",
     "[a](http://x.invalid/&#x202e;b '&#x202e;')"],
)  # fmt: skip
def test_format_characters_become_visible(text):
    """Also those that entities spell, in code and in addresses."""
    found = check_quoted(markdown(text))
    assert not hidden(found.text)
    assert "\\u20" in found.text or "%E2%80%AE" in found.text


@pytest.mark.parametrize("sign", [">", "*", "[", "> ", "- ", "![", "[a](", "`", "_", "*a_", "<", "&", "1. ", "|", "]("])
def test_fifty_thousand_nested_signs_take_no_time(sign):
    began = time.process_time()
    html = markdown(sign * 50_000)
    assert time.process_time() - began < 10
    check_quoted(html)
    assert len(html) < 15 * SHOWN


def test_a_table_that_would_grow_stays_text():
    """Three thousand columns over ten thousand short rows are thirty million cells."""
    began = time.process_time()
    html = markdown("|a" * 3000 + "|\n" + "|-" * 3000 + "|\n" + "x\n" * 4000)
    assert time.process_time() - began < 10
    assert "<table" not in html
    assert len(html) < 15 * SHOWN
    assert "<table" in markdown("| a | b |\n|---|---|\n| 1 | 2 |")


def test_what_is_nested_too_deeply_is_still_shown():
    assert "the end" in markdown("> " * 60 + "the end")


def test_nothing_is_said_out_of_sight():
    """Definitions of links, titles and true addresses stand in the text."""
    assert "secret" in check_quoted(markdown("[x]: http://x.invalid 'secret'")).text
    assert "secret" in check_quoted(markdown("[x](http://x.invalid 'secret')")).text
    assert (
        check_quoted(markdown("[https://good.invalid](https://evil.invalid)")).text.count("https://evil.invalid") == 1
    )
    assert check_quoted(markdown("<https://x.invalid>")).text.strip() == "https://x.invalid"


def test_plain_markdown_is_rendered():
    html = markdown(
        "# Head\n\nA *b* **c** ~~d~~ `e`\n\n3. f\n\n> g\n\n```python\nh = 1\n```\n\n[i](http://x.invalid)\r\nj"
    )
    found = check_quoted(html)
    assert {"h3", "em", "strong", "s", "code", "ol", "li", "blockquote", "pre", "a"} <= set(found.tags)
    assert ("ol", "start", "3") in found.attributes
    assert "\\u000d" not in found.text


FRAGMENTS = st.sampled_from([
    "<script>", "</script>", "<img src=x onerror=y>", "<a href=", "'", '"', ">", "<", "[", "]", "(", ")", "](", "![",
    "javascript:", "http://x", "data:", "*", "_", "`", "```", "\n", "\n\n", "    ", "\t", "| a | b |\n|---|---|\n", "&",
    "&#", "&#x202e;", ";", "&lt;", "\\", "#", "- ", "> ", "1. ", "<!--", "-->", "\u202e", "\x00", "\r", "~~", "<b", "://",
])  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(FRAGMENTS | st.text(max_size=6), max_size=40).map("".join))
def test_any_text_becomes_harmless_html(text):
    """Whatever it holds: allowed tags closed in order, allowed attributes, links to the web, no hidden character."""
    assert not hidden(check_quoted(markdown(text)).text)


# Rows


def test_heads_are_cut_by_the_database(lab):
    write(lab, (1, None, {"body": "é" * 1000}))
    with lab.store.read() as rows:
        assert rows.post_heads([1, 2], 10) == {1: (Post(1, "ada", "result", "title 1", "é" * 10, 1e9 + 1), 1000)}
        assert rows.post_parents() == {1: None}
        assert rows.matching_posts(by="nobody") == []
