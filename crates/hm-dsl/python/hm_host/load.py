"""Runs one of the author's files as a module."""
from __future__ import annotations

import os
import sys
from importlib.util import module_from_spec, spec_from_file_location


def load(path: str) -> None:
    """Run the file, unless another file has imported it already.

    It is a module by the name of its file, so that the author's files can import one another.
    """
    name = os.path.basename(path)[: -len(".py")]
    known = sys.modules.get(name)
    if known is not None:
        if getattr(known, "__file__", None) == path:
            return
        name = f"_hm_pipelines_{name}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded")
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
