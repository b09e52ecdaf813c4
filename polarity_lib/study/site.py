"""Executed notebooks -> HTML pages with an index, readable without Jupyter.

By nbconvert: it works without a network, which Jupyter Book 2 does not.
"""

import html
import re
import shutil
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from polarity_lib.study.plan import Settings, notebooks
from polarity_lib.results import ROOT, place, say, write_atomic

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
 body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
 img {{ max-width: 34rem; width: 100%; }}
 figure {{ display: inline-block; margin: 0 1.5rem 1.5rem 0; vertical-align: top; }}
 table {{ border-collapse: collapse; font-size: 14px; }}
 td, th {{ border-bottom: 1px solid #ddd; padding: .3rem .6rem; text-align: left; }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


def site_root() -> Path:
    """Where pages go: POLARITY_SITE, else site/ in the checkout."""
    return place("POLARITY_SITE", ROOT / "site")


def build_site(settings: Settings) -> list[Path]:
    """Write a page per executed notebook and the index; returns the paths, index first."""
    pages = []
    for notebook in notebooks():
        if settings.executed(notebook).exists():
            pages.append(write_page(settings.executed(notebook), site_root() / f"{notebook.stem}.html"))
    figures = []
    for source in sorted(settings.figures.glob("*.png")):
        target = site_root() / "figures" / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        figures.append(target)
    return [write_index(settings.label, pages, figures, settings.claims), *pages]


def write_page(executed_notebook: Path, target: Path) -> Path:
    """One notebook as HTML; left alone while it is newer than its notebook."""
    if target.exists() and target.stat().st_mtime > executed_notebook.stat().st_mtime:
        return target
    from nbconvert import HTMLExporter

    body, _ = HTMLExporter(embed_images=True).from_filename(str(executed_notebook))
    write_atomic(target, body.encode())
    say(f"wrote {target.name}")
    return target


def title_of(page: Path) -> str:
    """The first heading of a page, else its name."""
    found = re.search(r"<h1[^>]*>(.*?)<a class", page.read_text(encoding="utf-8"), re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", "", found.group(1))).strip() if found else page.stem


def write_index(label: str, pages: list[Path], figures: list[Path], claims: Path) -> Path:
    """Links, figures and the claims table on one page."""
    parts = [f"<p>Made by <code>make study</code>, {html.escape(label)}.</p>", "<h2>Notebooks</h2>", "<ul>"]
    parts += [f'<li><a href="{quote(page.name)}">{html.escape(page.stem[:2])} {html.escape(title_of(page))}</a></li>'
              for page in pages]
    parts += ["</ul>", "<h2>Claims</h2>"]
    if claims.exists():
        table = pd.read_csv(claims).dropna(axis=1, how="all")
        parts.append(table.to_html(index=False, na_rep="", float_format=lambda x: f"{x:.3g}", border=0))
    else:
        parts.append("<p>Notebook 90 has not been run yet; it judges the claims.</p>")
    parts += ["<h2>Figures</h2>"]
    for figure in figures:
        name = html.escape(figure.stem)
        parts.append(f'<figure><img src="figures/{quote(figure.name)}" alt="{name}"><figcaption>{name}</figcaption></figure>')
    target = site_root() / "index.html"
    write_atomic(target, PAGE.format(title="What positive and negative samples do", body="\n".join(parts)).encode())
    return target
