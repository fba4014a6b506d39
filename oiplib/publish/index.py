"""An extension of Sphinx: the site's search doesn't find code that is folded on its pages."""

from __future__ import annotations

from typing import Any


def setup(app: Any) -> dict[str, bool]:
    """What Sphinx calls when it loads the extension."""
    app.connect("builder-inited", _leave_out_folded)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _leave_out_folded(app: Any) -> None:
    """Give the index pages of which folded code is taken out; the pages themselves keep it."""
    builder = app.builder
    if not hasattr(builder, "index_page"):
        return  # it makes no pages to search
    index_whole = builder.index_page

    def index_page(name: str, page: Any, title: str) -> None:
        index_whole(name, _without_folded(page), title)

    builder.index_page = index_page


def _without_folded(page: Any) -> Any:
    """A copy of a page without the inputs of notebook cells that are folded."""
    if not any(page.findall(_is_folded)):
        return page
    shown = page.deepcopy()
    for part in list(shown.findall(_is_folded)):
        part.parent.remove(part)
    return shown


def _is_folded(part: Any) -> bool:
    """Whether a part of a page is the input of a cell whose input is hidden."""
    if "cell_input" not in _classes(part):
        return False
    return "above-input" in _classes(part.parent)  # what MyST-NB puts around folded code


def _classes(part: Any) -> list[str]:
    return list(getattr(part, "attributes", {}).get("classes", ()))
