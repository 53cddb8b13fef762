"""The two native artefacts and their flags; everything else is in pyproject.toml.

diskpaxos._core   the extension: native/core.pyx over native/{format,protocol,io,host}/*.c
diskpaxos/_guard  a tiny executable that ends what `diskpaxos run` started (native/guard/*.c)

Environment:
  DISKPAXOS_WERROR=1    compiler warnings are errors (continuous integration)
  DISKPAXOS_SANITIZE=1  with AddressSanitizer and UndefinedBehaviorSanitizer; Python must
                        then be started with LD_PRELOAD="$(cc -print-file-name=libasan.so)"
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOMS = ("format", "protocol", "io", "host")


def switched_on(name: str) -> bool:
    """Whether an environment switch is set to something that means yes."""
    return os.environ.get(name, "") not in ("", "0")


COMPILE = [
    "-std=c11",
    "-O2",
    "-g",
    "-Wall",
    "-Wextra",
    "-pthread",
    "-fno-strict-aliasing",  # blocks are looked at as bytes and as structures
    # Assertions stay in: a lock manager that has met the impossible must stop, not go on.
    "-UNDEBUG",
]
LINK = ["-pthread"]
if switched_on("DISKPAXOS_WERROR"):
    COMPILE.append("-Werror")
if switched_on("DISKPAXOS_SANITIZE"):
    SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
    COMPILE += SANITIZE
    LINK += SANITIZE


def files(pattern: str, *rooms: str) -> list[str]:
    """Files below native/; sorted, so that builds do not depend on the directory's order."""
    return sorted(str(path) for room in rooms for path in Path("native", room).glob(pattern))


class BuildNative(build_ext):
    """Builds the guard executable beside the extension, in the tree or in the wheel."""

    def finalize_options(self) -> None:
        """Build anew when the flags are unusual: what lies there may be of other flags."""
        super().finalize_options()
        if switched_on("DISKPAXOS_WERROR") or switched_on("DISKPAXOS_SANITIZE"):
            self.force = True

    def run(self) -> None:
        """Build the extension, then the guard (and copy it into the tree when editable)."""
        super().run()
        in_build = Path(self.build_lib, "diskpaxos", "_guard")
        self.build_guard(in_build)
        if self.inplace:
            self.copy_file(str(in_build), "diskpaxos/_guard")

    def build_guard(self, target: Path) -> None:
        """Compile and link the executable."""
        objects = self.compiler.compile(
            files("*.c", "guard"),
            output_dir=self.build_temp,
            extra_postargs=COMPILE,
            depends=files("*.h", "guard"),
        )
        self.mkpath(str(target.parent))
        self.compiler.link_executable(objects, target.name, output_dir=str(target.parent), extra_postargs=LINK)

    def get_outputs(self) -> list[str]:
        """The guard is installed like the extension."""
        return [*super().get_outputs(), str(Path(self.build_lib, "diskpaxos", "_guard"))]


core = Extension(
    "diskpaxos._core",
    sources=["native/core.pyx", *files("*.c", *ROOMS)],
    depends=[*files("*.h", *ROOMS), *files("*.pyx", "."), *files("*.pxd", ".")],
    include_dirs=["native"],
    extra_compile_args=COMPILE,
    extra_link_args=LINK,
)

setup(
    ext_modules=cythonize([core], build_dir="build/cython", include_path=["native"]),
    cmdclass={"build_ext": BuildNative},
)
