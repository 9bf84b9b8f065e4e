"""Puts `recipes/` into the package as it is built; all else stands in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithRecipes(build_py):
    """The package with the recipes that its commands name, from the root of the repository."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copytree("recipes", Path(self.build_lib, "alignscope", "recipes"), dirs_exist_ok=True)


setup(cmdclass={"build_py": WithRecipes})
