"""Draw what each metric sees of a good, a half-good and a collapsed prediction.

    python tools/pictures            # writes docs/metrics/pictures/*.svg

Run it again after a change of a metric, a data set or a view, and commit what changed.
"""

from __future__ import annotations

from pathlib import Path

import cells
import perturbations
from svg import Panel, draw

from reconeval.metrics import METRICS, score

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "metrics" / "pictures"


def main() -> None:
    """Write one picture per metric."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for module in (cells, perturbations):
        pairs = module.predictions()
        for name, view in module.VIEWS.items():
            panels = []
            for kind, pair in pairs.items():
                found = score(METRICS[name], pair)
                text = "no value" if found.reason else f"{found.value:.3g}"
                panels.append(Panel(kind, text, view.layers(pair)))
            title = f"What {name} sees of a good, a half-good and a collapsed prediction"
            picture = draw(title, panels, view.labels, ticks=view.ticks or None)
            (FOLDER / f"{name}.svg").write_text(picture, encoding="utf-8")
            print(f"{name}.svg {len(picture) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
