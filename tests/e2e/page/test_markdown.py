"""Markdown of answers: drawn as elements, never as markup, in pieces that hold nothing up."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from tests.e2e.page.seen import opened
from tests.support.foreman import Daemon

DRAW = """async (text) => {
  const { rendered } = await import("/static/rendered.js");
  const box = document.createElement("div");
  box.append(...rendered(text));
  for (const button of box.querySelectorAll(".code .row")) button.remove();
  const others = ["tabindex", "title", "target", "role", "aria-label"];
  for (const one of box.querySelectorAll("*")) for (const name of others) one.removeAttribute(name);
  return box.innerHTML;
}"""
PIECES = """async (text) => {
  const { pieces } = await import("/static/pieces.js");
  return [...pieces(text)].map(({ text, markdown }) => [text, markdown]);
}"""
DEPTH = """async (text) => {
  const { rendered } = await import("/static/rendered.js");
  const { pieces } = await import("/static/pieces.js");
  const all = [...pieces(text)];
  const first = all[0];
  const box = document.createElement("div");
  box.append(...rendered(first.markdown));
  const depth = (one) => {
    let most = 0;
    for (let at = one; at !== box; at = at.parentElement) most += 1;
    return most;
  };
  const texts = all.map((piece) => piece.text);
  const size = Math.max(...texts.map((piece) => piece.length));
  return { depth: Math.max(...[...box.querySelectorAll("*")].map(depth)), size, whole: texts.join("") === text };
}"""
PIECE = 10_000  # characters

LINK = 'rel="noopener noreferrer"'


def link(address: str, words: str) -> str:
    return f'<a href="{address}" {LINK}>{words}</a>'


DRAWN = {
    "# One #\n\n### Three\nTwo\n---": "<h3>One</h3><h5>Three</h5><h4>Two</h4>",
    "a\nb\n\nc<br>d": "<p>a\nb</p><p>c\nd</p>",
    "**a** *b* ***c*** _d_ __e__ ~~f~~ `g*h*`": "<p><strong>a</strong> <em>b</em> <em><strong>c</strong></em> "
    "<em>d</em> <strong>e</strong> <del>f</del> <code>g*h*</code></p>",
    "2 * 3 * 4, snake_case_name, ~5, \\*no\\*, a**b": "<p>2 * 3 * 4, snake_case_name, ~5, *no*, a**b</p>",
    "``a`b`` and `open": "<p><code>a`b</code> and `open</p>",
    "&lt;b&gt; &amp; &copy; &#65;": "<p>&lt;b&gt; &amp; &amp;copy; A</p>",
    "- a\n- b\n  - c\n\n1. d\n2. e": "<ul><li><p>a</p></li><li><p>b</p><ul><li><p>c</p></li></ul></li></ul>"
    '<ol start="1"><li><p>d</p></li><li><p>e</p></li></ol>',
    "7) a\n\n8) b": '<ol class="loose" start="7"><li><p>a</p></li><li><p>b</p></li></ol>',
    "- [x] a\n- [ ] b": "<ul><li><p>☑ a</p></li><li><p>☐ b</p></li></ul>",
    "1. a\n   ```py\n   x = 1\n   ```\n2. b": '<ol start="1"><li><p>a</p><div class="code"><pre><code>x = 1</code>'
    "</pre></div></li><li><p>b</p></li></ol>",
    "> a\nb\n>\n> - c": "<blockquote><p>a\nb</p><ul><li><p>c</p></li></ul></blockquote>",
    "~~~\n<b>\n\n# no\n~~~\nend": '<div class="code"><pre><code>&lt;b&gt;\n\n# no</code></pre></div><p>end</p>',
    "```\nnever closed": '<div class="code"><pre><code>never closed</code></pre></div>',
    "a\n\n    b\n      c": '<p>a</p><div class="code"><pre><code>b\n  c</code></pre></div>',
    "***\n\n- - -": "<hr><hr>",
    "t\n|a|b|\n|:-|-:|\n|1|`x\\|y`|\n|2|": '<p>t</p><div class="table-frame"><table><thead><tr><th class="left">a</th>'
    '<th class="right">b</th></tr></thead><tbody><tr><td class="left">1</td><td class="right"><code>x|y</code></td>'
    '</tr><tr><td class="left">2</td><td class="right"></td></tr></tbody></table></div>',
    "[a](http://x.y/z) <https://p.q> https://r.s/t(u). [m](mailto:a@b.c)": f"<p>{link('http://x.y/z', 'a')} "
    f"{link('https://p.q/', 'https://p.q')} {link('https://r.s/t(u)', 'https://r.s/t(u)')}. "
    f"{link('mailto:a@b.c', 'm')}</p>",
    "[**a** https://p.q](https://z)": f"<p>{link('https://z/', '<strong>a</strong> https://p.q')}</p>",
    "![alt](https://x.y/p.png)": f"<p>{link('https://x.y/p.png', 'Image: alt')}</p>",
}
KEPT = [  # what is shown as the text that it is
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt:alert(1))",
    "[a](data:text/html,x)",
    "[a](vbscript:x)",
    "[a](file:///etc/passwd)",
    "[a](/jobs)",
    "[a](#/jobs)",
    "![a](javascript:alert(1))",
    "![a](data:image/svg+xml;base64,AAAA)",
    "<javascript:alert(1)>",
]
MANY = 200_000
HOSTILE = {
    "stars": "*" * MANY,
    "quotes": ">" * 10_000,
    "quotes with blanks": "> " * 10_000,
    "lists": "- " * 10_000,
    "lists by lines": "\n".join(" " * n + "- a" for n in range(400)),
    "begun emphasis": "*a " * 60_000,
    "ended emphasis": "*a" * 90_000,
    "brackets": "[" * MANY,
    "links": "[a](" * 50_000,
    "images": "![" * 90_000,
    "ticks": " ".join("`" * n for n in range(600)),
    "blanks": "a" + " " * MANY + "b",
    "heading": "#" + " " * MANY + "#x",
    "fence": "```" + " " * MANY + "\n" + "```\n" * 9000,
    "dashes": "- " * 90_000 + "x",
    "table": "|a" * 30_000 + "\n" + "|-" * 30_000,
    "parentheses": "https://a.b/" + ")" * MANY,
    "lines": "\n" * MANY,
    "one long word": "x" * MANY,
}


def test_markdown_becomes_elements_and_hostile_text_stays_text(page: Page, shared: Daemon) -> None:
    opened(page, shared, "#/new")
    for text, wanted in DRAWN.items():
        assert page.evaluate(DRAW, text) == wanted, text
    for text in KEPT:
        shown = page.evaluate(DRAW, text)
        assert (
            page.evaluate("html => new DOMParser().parseFromString(html, 'text/html').body.textContent", shown) == text
        )
        assert "<a " not in shown and "<img" not in shown and "<script" not in shown, text


def test_what_is_drawn_at_a_time_is_neither_long_nor_deep(page: Page, shared: Daemon) -> None:
    opened(page, shared, "#/new")
    for name, text in HOSTILE.items():
        found: dict[str, Any] = page.evaluate(DEPTH, text)
        assert found["depth"] < 110, name
        assert found["size"] <= PIECE, name
        assert found["whole"], name


def test_long_texts_are_cut_between_blocks_and_nothing_is_lost(page: Page, shared: Daemon) -> None:
    opened(page, shared, "#/new")
    paragraphs = "\n\n".join(f"paragraph {n} " + "word " * 40 for n in range(400))
    for text in (paragraphs, "x" * 35_000, "😀" * 12_000, "line\n" * 9000):
        found = page.evaluate(PIECES, text)
        assert "".join(part for part, _ in found) == text
        assert all(len(part) <= PIECE for part, _ in found)
        assert not any(part.encode("utf-16", "surrogatepass").decode("utf-16", "replace") != part for part, _ in found)
    assert all(part.endswith("\n\n") for part, _ in page.evaluate(PIECES, paragraphs)[:-1])

    code = "".join(f"    x = {n}\n\n" for n in range(2000))
    whole = f"before\n\n```py\n{code}```\n\nafter\n\n" + "end\n\n" * 3000
    assert any(f"```py\n{code}```\n" in part for part, _ in page.evaluate(PIECES, whole))  # one block with one button
    endless = "```py\n" + code * 5 + "```\nafter *it*\n"
    found = page.evaluate(PIECES, endless)
    assert "".join(part for part, _ in found) == endless
    assert all(markdown.startswith("```") for _, markdown in found[:-1])  # it goes on as code
    assert found[-1][1].endswith("after *it*\n")
    expect(page.locator("h1")).to_be_visible()
