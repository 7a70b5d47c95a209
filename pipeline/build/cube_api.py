"""The public functions of this room: areas, plan, build, verify, open_cube. `import slidecube` exports them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.areas.area import AreaOfInterest, area_files, load_area
from pipeline.errors import AreaError, CubeError
from pipeline.progress import Progress, no_progress

if TYPE_CHECKING:
    import xarray as xr

    from pipeline.build.plan import BuildPlan
    from pipeline.build.run import Published
    from pipeline.cube.verify import Verdict

log = logging.getLogger(__name__)

Chunks = Mapping[str, int] | Literal["auto", "shards"] | None


def areas() -> dict[str, AreaOfInterest]:
    """The areas that can be named, by name: those of `SLIDECUBE_AOI_DIR` and the shipped ones.

    A file that is wrong is logged and left out.

        >>> slidecube.areas()["hokkaido"].title
        'Hokkaido Eastern Iburi earthquake, Japan, 2018'
    """
    found = {}
    for name, path in area_files().items():
        try:
            found[name] = load_area(path)
        except AreaError as error:
            log.warning("%s", error)
    return found


def plan(
    area: str | Path | AreaOfInterest, *, catalogue: Path | None = None, pairs: bool = True
) -> BuildPlan:
    """What a build would do: search the archives and compare with the cube. Changes nothing but the saved search.

        >>> plan = slidecube.plan("sandbox", pairs=False)
        >>> plan.grid.epsg, plan.grid.resolution_m, plan.changes
        (32654, 10.0, True)

    Args:
        area: name of an area, path of an area file, or an area.
        catalogue: a saved search to replay, instead of searching.
        pairs: whether new interferometric pairs are planned.

    Raises:
        AreaError: there is no such area, or its file is wrong.
        ArchiveError: an archive refused or failed, or has no pass over the area.
        CubeError: the cube on the disk has another grid.
    """
    from pipeline.build.run import find_catalogue, make_plan

    wanted = load_area(area) if not isinstance(area, AreaOfInterest) else area
    return make_plan(wanted, find_catalogue(wanted, catalogue), pairs)


def build(
    area: str | Path | AreaOfInterest,
    *,
    catalogue: Path | None = None,
    pairs: bool = True,
    progress: Progress = no_progress,
) -> Published:
    """Bring the cube of an area up to date: make the missing layers and publish a version, if any is missing.

        >>> made = slidecube.build("sandbox", pairs=False)
        >>> made.version, made.new, made.failed
        (1, True, ())

    Args:
        area: name of an area, path of an area file, or an area.
        catalogue: a saved search to replay, instead of searching.
        pairs: whether new interferometric pairs are made, which takes hours; existing pairs are kept.
        progress: called after each layer with its label, the number of finished layers and of all.

    Raises:
        AreaError: there is no such area, or its file is wrong.
        ArchiveError, CubeError: as the steps do. A layer that fails does not stop the others; `failed` names it.
    """
    from pipeline.build import run

    wanted = load_area(area) if not isinstance(area, AreaOfInterest) else area
    return run.build(wanted, catalogue, progress, pairs=pairs)


def verify(cube: str | Path) -> Verdict:
    """Check a cube against its manifest: schema, grid, every shard, every file.

        >>> slidecube.verify("sandbox").sound
        True

    Args:
        cube: name of an area, whose newest version is checked, or path of a cube.

    Raises:
        CubeError: there is no cube.
    """
    from pipeline.cube.addresses import named_cube
    from pipeline.cube.verify import verify_cube

    return verify_cube(named_cube(cube))


def open_cube(cube: str | Path, *, chunks: Chunks = "auto") -> xr.Dataset:
    """Open a cube lazily: one of ours, or one in the form published with the paper.

        >>> cube = slidecube.open_cube("sandbox")
        >>> cube.vv.dims, str(cube.vv.dtype)
        (('timestep', 'y', 'x'), 'float32')
        >>> change = cube.slidecube.log_ratio("vv")
        >>> change.dims, change.units
        (('y', 'x'), 'dB')

    Args:
        cube: name of an area, whose newest version is opened, or path of a cube or of one version.
        chunks: "shards": data as dask arrays, a chunk for each shard, so that no shard is read twice; "auto": the same
            where dask is installed; None: data are read when they are used, without dask, which is faster for small
            windows; or pixels and steps by dimension, as in {"timestep": 4, "y": 2048, "x": 2048}.

    Returns:
        Dataset with dims (timestep, y, x), timepair, and with look geometry track; see `pipeline.cube.read.open_cube`.
        Coordinates are in memory; encodings can be written again, whatever the chunks.

    Raises:
        CubeError: there is no cube, it holds no variable on (y, x), or dask is asked for and not installed.
    """
    from pipeline.cube.addresses import named_cube
    from pipeline.cube.read import open_cube as opened

    if chunks is None or chunks == "auto":
        return opened(named_cube(cube), dask=chunks == "auto")
    if find_spec("dask") is None:
        raise CubeError(
            "Chunks need the package dask, which is not installed.",
            "Install the extra: pip install 'slidecube[dask]', or leave out `chunks`.",
        )
    made = opened(named_cube(cube), dask=chunks == "shards")
    if chunks == "shards":
        return made
    return made.assign(
        {
            name: one.chunk({dim: chunks[str(dim)] for dim in one.dims if dim in chunks})
            for name, one in made.data_vars.items()
        }
    )  # coordinates stay in memory
