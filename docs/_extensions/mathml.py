"""Write formulas as MathML, which browsers show by themselves: no script, no font, no network.

Sphinx offers MathJax, which is fetched when a page is read, or images, which take LaTeX. docutils
brings a converter from LaTeX to MathML; this hands Sphinx's math nodes to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator

_log = logging.getLogger(__name__)
_STYLE = "overflow: auto hidden; padding: 0.5em 0"  # a narrow screen scrolls it sideways


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer under the name that `html_math_renderer` takes."""
    app.add_html_math_renderer(
        "mathml", inline_renderers=(_inline, None), block_renderers=(_block, None)
    )
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _inline(translator: HTML5Translator, node: nodes.math) -> None:
    _write(translator, node, as_block=False)


def _block(translator: HTML5Translator, node: nodes.math_block) -> None:
    # Not of class math, whose vertical overflow themes let scroll.
    translator.body.append(f'<div class="formula" style="{_STYLE}">')
    _write(translator, node, as_block=True)


def _write(translator: HTML5Translator, node: nodes.Element, *, as_block: bool) -> None:
    try:
        translator.body.append(tex2mathml(node.astext(), as_block=as_block))
    except MathError as error:
        _log.warning("formula %r: %s", node.astext(), error, location=node)
    if as_block:
        translator.body.append("</div>\n")
    raise nodes.SkipNode
