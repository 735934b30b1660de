"""Code of the notebooks, which recipes and studies use too: pictures, exercises, and the training of the four further systems."""

import sys
from pathlib import Path

import lazy_loader

# A notebook says `import course` and then `course.plots.curves`: a module is loaded when it is first used.
MODULES = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=MODULES)

if "google.colab" in sys.modules:
    from course.colab import show_drawings

    show_drawings()
