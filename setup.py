"""The native core; everything else is in pyproject.toml.

Without a compiler the core is left out with a warning, and all goes through numpy and torch.
"""

import glob
import sysconfig

from setuptools import Extension, setup

FOLDER = "src/token2wave/core"
SOURCES = sorted(glob.glob(f"{FOLDER}/*.c"))
HEADERS = sorted(glob.glob(f"{FOLDER}/*.h"))

# The stable interface does not exist for Python without its global lock, which then goes without the core.
HAS_STABLE_INTERFACE = not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    ext_modules=[
        Extension(
            "token2wave.core._core",
            SOURCES,
            depends=HEADERS,
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
    if HAS_STABLE_INTERFACE
    else [],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if HAS_STABLE_INTERFACE else {},
)
