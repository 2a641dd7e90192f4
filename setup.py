"""The native core; everything else is in pyproject.toml.

Without a compiler the core is left out with a warning, and numpy and torch compute. ``TOKEN2WAVE_PURE=1`` in
the environment leaves it out, too: the wheel is then one of pure Python, for every platform.
"""

import glob
import os
import sys
import sysconfig

from setuptools import Extension, setup

FOLDER = "src/token2wave/core"
SOURCES = sorted(glob.glob(f"{FOLDER}/*.c"))
HEADERS = sorted(glob.glob(f"{FOLDER}/*.h"))

# The stable interface does not exist for Python without its global lock, and the core needs gcc or clang.
HAS_CORE = (
    not sysconfig.get_config_var("Py_GIL_DISABLED")
    and sys.platform != "win32"
    and os.environ.get("TOKEN2WAVE_PURE") != "1"
)

setup(
    ext_modules=[
        Extension(
            "token2wave.core._core",
            SOURCES,
            depends=HEADERS,
            libraries=["m"],
            # Without the -fno-... roots and comparisons are not vectorised; without -ffp-contract=fast, which
            # -std=c11 turns off, products and sums are not fused.
            extra_compile_args=[
                "-std=c11",
                "-O3",
                "-fno-math-errno",
                "-fno-trapping-math",
                "-ffp-contract=fast",
                "-Wno-psabi",
            ],
            py_limited_api=True,
            optional=True,
        )
    ]
    if HAS_CORE
    else [],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if HAS_CORE else {},
)
