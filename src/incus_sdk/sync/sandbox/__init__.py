"""Sandboxes: boxes for code that is not trusted, or must be gone afterwards. **Provisional**: names can still change.

    with Pool(client, "images:debian/13", size=4) as pool:
        with pool.lease() as box:
            print((box.run_code("python", "print(6 * 7)", timeout=30)).stdout)

A `Box` is a hardened container that is used once. A `Pool` has some running already, and copies the next ones from a
template meanwhile. Whose a box is, until when, and for what, is in the keys ``user.sandbox.*`` of the instance itself,
so that several processes can share a pool, and any process finds boxes and prunes them. The kernel is shared with the
machine: only a virtual machine closes that.
"""

from typing import TYPE_CHECKING

from ..._lazy import lazy_names

if TYPE_CHECKING:
    from ...sandbox._allowance import Limits as Limits
    from ...sandbox._network import Network as Network
    from ._box import Box as Box
    from ._finding import connect as connect
    from ._finding import list_boxes as list_boxes
    from ._finding import prune as prune
    from ._leasing import Pool as Pool
else:
    __getattr__, __dir__, __all__ = lazy_names(
        __name__,
        {
            "..sandbox._allowance": "Limits",
            "_box": "Box",
            "_finding": "connect list_boxes prune",
            "_leasing": "Pool",
            "..sandbox._network": "Network",
        },
    )
