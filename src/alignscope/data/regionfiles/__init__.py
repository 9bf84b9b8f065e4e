"""Files of region features, in the formats they are published in and in one safe format.

`open_regions` reads any of them by image, `table.FORMATS` lists them.
"""

from __future__ import annotations

from alignscope.data.regionfiles.digests import digest, sha_of_regions
from alignscope.data.regionfiles.regionfile import RegionFile
from alignscope.data.regionfiles.table import open_regions

__all__ = ["RegionFile", "digest", "open_regions", "sha_of_regions"]
