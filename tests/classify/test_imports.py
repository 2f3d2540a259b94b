import pkgutil
import subprocess
import sys

import classify

CODE = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
heavy = sorted(name for name in sys.modules if name.split(".")[0] in {"torch", "torchvision", "timm"})
sys.exit(f"imported: {heavy[:3]}" if heavy else 0)
"""


def test_importing_classify_never_imports_torch():
    modules = [f"classify.{module.name}" for module in pkgutil.iter_modules(classify.__path__)]
    assert len(modules) >= 5
    done = subprocess.run([sys.executable, "-c", CODE, *modules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
