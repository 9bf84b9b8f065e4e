"""`alignscope explore`: a page in the browser on which one or two models score what is typed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alignscope.cli import options as shared
from alignscope.cli.terminal import tell


def explore(
    models: Annotated[list[str], typer.Argument(help="names, local directories or hub ids; one or two")],
    images: Annotated[
        Path | None, typer.Option(help="folder of images to choose from; without it: the world")
    ] = None,
    regions: shared.Regions = None,
    size: Annotated[
        int, typer.Option(help="scenes of the world's test split to choose from", min=1, max=200)
    ] = 12,
    host: Annotated[
        str, typer.Option(help="address to listen at; any but a loopback lets other machines in")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen at; 0: any that is free", min=0, max=65535)] = 0,
    browser: Annotated[bool, typer.Option(help="open the page in the browser of this machine")] = False,
    layers: shared.Layers = "all",
    device: shared.Device = "cpu",
    dtype: shared.Dtype = "float32",
    activation: shared.Activation = None,
    tokenizer: shared.Tokenizer = None,
    match_index: shared.MatchIndex = None,
    scoring: shared.Scoring = None,
) -> None:
    """Type captions of an image in the browser: score, heat of words and image, and what a swapped word changes.

    The page asks this program alone and works offline. The printed address holds a token: who has it may ask.
    Ctrl-C ends it.
    """
    import webbrowser

    from alignscope.attribution.options import Options, layers_of
    from alignscope.data.regionfiles import open_regions
    from alignscope.models.zoo import open_models
    from alignscope.studies.exploring.explore import Explorer
    from alignscope.studies.exploring.gallery import folder_gallery, world_gallery
    from alignscope.studies.exploring.server import ExploreServer, is_loopback

    explorer = Explorer(
        open_models(
            models,
            device=device,
            dtype=dtype,
            activation=activation,
            tokenizer=tokenizer,
            match_index=match_index,
            scoring=scoring,
        ),
        world_gallery(size) if images is None else folder_gallery(images),
        regions=None if regions is None else open_regions(regions),
        options=Options(layers=layers_of(layers), variant="leave-one-out"),
    )
    server = ExploreServer(explorer, host=host, port=port)
    if not is_loopback(host):
        tell(
            f"warning: {host} lets other machines in, unencrypted: whoever sees the address can use the model",
            err=True,
        )
    tell(f"explore: {server.address}\nCtrl-C ends it")
    if browser:
        webbrowser.open(server.address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        tell("ended")
    finally:
        server.server_close()
