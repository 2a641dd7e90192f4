"""The native core; everything else is in pyproject.toml.

Without a compiler the core is left out with a warning, and all goes through numpy and torch.
"""

from setuptools import Extension, setup

FOLDER = "src/token2wave/native"
SOURCES = ("module.c", "text.c", "network.c", "dense.c", "fixed_point.c", "threads.c")

setup(
    ext_modules=[
        Extension(
            "token2wave.native._core",
            [f"{FOLDER}/{name}" for name in SOURCES],
            depends=[f"{FOLDER}/{name}.h" for name in ("text", "network", "dense", "fixed_point", "threads")],
            # Without -fno-math-errno and -fno-trapping-math roots and comparisons are not vectorised.
            extra_compile_args=["-std=c11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"],
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
